"""Recommenders without training by gradient descent: text k-NN, popularity, item k-NN, EASE. NumPy and SciPy only."""
