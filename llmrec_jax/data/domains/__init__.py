"""Reading a domain folder: records checked line by line, prepared arrays, splits; the built-in demo shops."""

from llmrec_jax.data.domains.domain import Domain, load_domain

__all__ = ["Domain", "load_domain"]
