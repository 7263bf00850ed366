"""Time of attention and its gradient on this machine's accelerator, with XLA's attention and the platform's kernel.

    python benchmarks/attention_speed.py [--lengths 64 128 ...] [--json]

Three projections, attention and the gradient to the input and all weights, as in `attention.py`, which compiles them
for TPUs without one. On a CPU both are XLA's.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import show
from llmrec_jax.models.attention import Kernel, attention

TOKENS, N, H = 32_768, 12, 64  # tokens in all; the heads of BERT-base and GPT-2
REPEATS = 20
KERNELS: tuple[Kernel, ...] = ("xla", "flash")


def measure(kernel: Kernel, *, L: int, causal: bool) -> dict[str, Any]:
    """Median milliseconds of a step."""
    B, D = TOKENS // L, N * H
    keys = jax.random.split(jax.random.key(0), 3)
    x_BLD = jax.random.normal(keys[0], (B, L, D), jnp.bfloat16)
    kernels_3DD = jax.random.normal(keys[1], (3, D, D), jnp.bfloat16) * D**-0.5
    mask_BL = jnp.arange(L)[None] < jax.random.randint(keys[2], (B, 1), L // 2, L + 1)

    def loss(x_BLD: jax.Array, kernels_3DD: jax.Array) -> jax.Array:
        query, key, value = ((x_BLD @ kernel_DD).reshape(B, L, N, H) for kernel_DD in kernels_3DD)
        mixed_BLNH = attention(query, key, value, mask_BL, causal, kernel)
        return jnp.square(jnp.where(mask_BL[..., None, None], mixed_BLNH, 0).astype(jnp.float32)).sum()

    step = jax.jit(jax.grad(loss, (0, 1)))
    jax.block_until_ready(step(x_BLD, kernels_3DD))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(step(x_BLD, kernels_3DD))
        seconds.append(time.perf_counter() - start)
    mask = "causal" if causal else "all tokens"
    return {"work": f"attention, {kernel}, {mask}, {L} tokens", "value": 1e3 * float(np.median(seconds)), "unit": "ms"}


def main() -> None:
    """Time all and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512], help="tokens of a text")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    rows = [
        measure(kernel, L=length, causal=causal)
        for length in args.lengths
        for causal in (True, False)
        for kernel in KERNELS
    ]
    show(rows, f"{TOKENS:,} tokens in bfloat16, {jax.devices()[0].device_kind}", as_json=args.json)


if __name__ == "__main__":
    main()
