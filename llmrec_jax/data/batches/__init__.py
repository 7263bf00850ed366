"""Batches: which users and items each holds, packed and padded; a pure function of seed and step."""
