"""Profile of the works in which PyTorch is faster: `python -m benchmarks.peers.shares [--json]`.

GPT-2's training step and one batch of the frozen MiniLM, once under JAX's profiler. Shares rather than times, since
profiling slows the program. Operations are classified by their name in the traced program.

Shape letters: B texts, L tokens.
"""

import argparse
import collections
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.profiler import ProfileData

from benchmarks.peers.__main__ import MINILM
from benchmarks.peers.ours import contrastive_step
from benchmarks.report import show
from llmrec_jax.models import encode, from_pretrained
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.fetch import fetch
from llmrec_jax.models.gpt2 import Gpt2Config

# The first pattern that an operation's place in the traced program holds says what it is.
KINDS = (
    ("products", r"dot_general$"),
    ("optimizer and clipping", r"^jit\(step\)/(?!.*jvp)"),
    ("zeros and stacks of the loop over layers", r"broadcast_in_dim$|dynamic_update_slice|dynamic_slice"),
    ("conversions, copies and what is fused with them", r"convert_element_type$|transpose$|copy|reshape$|^$"),
    ("softmax, norms, activations, dropout", r""),
)


def shares(compiled: Any, *args: Any) -> dict[str, float]:
    """The share of each kind in the time that the operations of one run took."""
    place = dict(re.findall(r'%?([\w.\-]+) = .*?op_name="([^"]*)"', compiled.as_text()))
    names = set(re.findall(r"%?([\w.\-]+) = ", compiled.as_text()))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(compiled(*args))
        profile = ProfileData.from_file(str(next(Path(folder).rglob("*.xplane.pb"))))
    spent: collections.Counter[str] = collections.Counter()
    for event in (event for plane in profile.planes for line in plane.lines for event in line.events):
        if event.name in names:
            kind = next(kind for kind, pattern in KINDS if re.search(pattern, place.get(event.name, "")))
            spent[kind] += event.duration_ns
    return {kind: spent[kind] / spent.total() for kind, _ in KINDS}


def gpt2(dtype: str) -> dict[str, float]:
    """The training step of the comparison: 6 layers of 768, 16 texts of 64 tokens."""
    ids_BL = np.random.default_rng(0).integers(0, 50257, (16, 64)).astype(np.int32)
    encoder = new_encoder(Gpt2Config(num_layers=6, dtype=jax.numpy.dtype(dtype)), nnx.Rngs(0))
    step, state = contrastive_step(encoder)
    place_P2 = np.stack([np.arange(8), 8 + np.arange(8)], axis=1).astype(np.int32)
    args = ([(ids_BL, np.ones(ids_BL.shape, bool))], place_P2, np.arange(16) >= 8, jax.random.key(0))
    compiled = step.lower(state, *args).compile()
    state, _ = compiled(state, *args)  # the first run touches all memory for the first time
    return shares(compiled, state, *args)


def encoding(dtype: str) -> dict[str, float]:
    """One batch of the frozen MiniLM: 64 texts of 48 tokens."""
    encoder = from_pretrained(fetch(MINILM), dtype=jax.numpy.dtype(dtype))
    graphdef, params = nnx.split(encoder)
    tokens_BL = np.random.default_rng(0).integers(1000, 30000, (encode.ON_CPU.texts, 48)).astype(np.int32)
    args = (params, tokens_BL, np.ones(tokens_BL.shape, bool))
    compiled = encode._encode.lower(*args, graphdef=graphdef, pooling="mean").compile()
    jax.block_until_ready(compiled(*args))
    return shares(compiled, *args)


def main() -> None:
    """Profile all and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for work, profiled in (("GPT-2 step", gpt2), ("MiniLM encoding", encoding)):
        for dtype in ("bfloat16", "float32"):
            for kind, share in profiled(dtype).items():
                rows.append({"work": f"{work}, {dtype}: {kind}", "value": 100 * share, "unit": "%"})
    show(rows, "shares of one run", as_json=args.json)


if __name__ == "__main__":
    main()
