"""The data: records, prepared domains, splits, the joint catalogue, batches. NumPy, Grain and TFDS only."""
