"""The networks: text encoders that read and write Hugging Face folders, item and user towers. Flax NNX modules."""

from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.hf import from_pretrained, save_pretrained

__all__ = ["Bert", "Gpt2", "from_pretrained", "save_pretrained"]
