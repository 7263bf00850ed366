"""The golden encoder folders, and a bitwise comparison of two encoders."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models import Bert, Gpt2

GOLDEN = Path(__file__).parent / "golden"
KINDS = {"bert": Bert, "gpt2": Gpt2}
either = pytest.mark.parametrize("kind", KINDS)


def same(ours, theirs):
    """Whether two encoders hold the same arrays, bit for bit."""
    return jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), *map(arrays, (ours, theirs))))


def arrays(encoder):
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(encoder)))
