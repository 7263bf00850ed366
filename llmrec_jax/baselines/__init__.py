"""Recommenders without training by gradient descent: text k-NN, popularity, item k-NN, EASE, L3AE; NumPy and SciPy."""
