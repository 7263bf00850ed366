"""Side by side with PyTorch: see `__main__.py`."""
