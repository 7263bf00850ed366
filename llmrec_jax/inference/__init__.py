"""Inference: the bundle a run leaves, and the `Recommender` that loads it."""
