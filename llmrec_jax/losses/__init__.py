"""The losses: `ranking` and `adaptation` are pure functions of arrays, `objective` computes their weighted sum."""
