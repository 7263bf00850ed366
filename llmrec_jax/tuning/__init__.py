"""Before and around a run: what the machine offers it (`doctor`), and the search for its settings (`sweep`)."""
