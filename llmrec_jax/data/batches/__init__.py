"""Batches: sampling of users and items, packing and padding; a pure function of seed and step."""
