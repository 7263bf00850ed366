"""Checks of the machine and of a configuration (`doctor`), and hyperparameter search (`sweep`)."""
