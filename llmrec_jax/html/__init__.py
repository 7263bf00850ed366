"""Reports as HTML pages: one self-contained file without scripts, fonts or external links."""

from llmrec_jax.html.adaptation import CHOICE, write_adaptation
from llmrec_jax.html.compare import write_comparison
from llmrec_jax.html.page import NAME, write_report

__all__ = ["CHOICE", "NAME", "write_adaptation", "write_comparison", "write_report"]
