"""The losses: `ranking` and `adaptation` are pure functions of arrays, `objective` weighs them into one number."""
