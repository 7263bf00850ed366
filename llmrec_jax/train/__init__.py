"""Training: setup, step, loop, checkpoints and metrics."""
