"""A run: what it is made of, its step, its loop, its checkpoints and metrics."""
