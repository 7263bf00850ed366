"""Exports of a bundle to other programs, and the exchange of bundles with the Hugging Face hub."""
