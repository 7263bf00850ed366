"""Inference: the bundle that a run exports, and the `Recommender` that loads it."""
