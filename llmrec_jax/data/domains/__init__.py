"""Domain folders: reading and checking records, prepared arrays, splits, the built-in demo shops."""
