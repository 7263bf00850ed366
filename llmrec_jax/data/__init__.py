"""The data: records, prepared domains, splits, the joint catalogue, batches. Uses NumPy, Grain and TFDS, not JAX."""
