"""Shops as numbers: records, prepared domains, splits, the joint catalogue, batches. NumPy, Grain and TFDS only."""
