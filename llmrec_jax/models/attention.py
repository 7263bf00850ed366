"""The attention function, which selects a kernel for each platform.

Projections, dropout and residuals are in `layers`, the TPU kernel in `splash`.

Shape letters: those of `types`, and M tokens attended to (as many as L).
"""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from llmrec_jax.models import splash

UNSEEN = -1e30  # added to masked logits; -inf would give NaN for a query without keys

Kernel = Literal["xla", "flash"]


def attention(
    query_BLHW: jax.Array,
    key_BMHW: jax.Array,
    value_BMHW: jax.Array,
    mask_BM: jax.Array,
    causal: bool,
    kernel: Kernel = "xla",
) -> jax.Array:
    """Scaled dot-product attention over the tokens where `mask_BM` is True; softmax in float32.

    An integer `mask_BM` holds segment ids of packed rows: a token attends within its segment. With `causal`, token l
    attends to tokens 0..l. For a query without keys, the result and its gradient are finite but meaningless.
    Returns [B, L, H, W] in the dtype of the query.

    "flash" uses the platform's flash attention if it supports the operands: cuDNN on Nvidia GPUs, splash on TPUs;
    padding must be on the right. The kernel is selected when the program is lowered.
    """
    xla, cudnn, tpu = (functools.partial(fn, causal=causal) for fn in (_xla, _cudnn, splash.splash))
    operands = (query_BLHW, key_BMHW, value_BMHW, mask_BM)
    kernels: dict[str, Callable[..., jax.Array]] = {}
    if kernel == "flash" and _takes(cudnn, *operands):
        kernels["cuda"] = cudnn
    if kernel == "flash" and splash.takes(query_BLHW, mask_BM):
        kernels["tpu"] = tpu
    return jax.lax.platform_dependent(*operands, **kernels, default=xla) if kernels else xla(*operands)


def pointwise_attention(
    query_BLHW: jax.Array, key_BMHW: jax.Array, value_BMHW: jax.Array, mask_BM: jax.Array, bias_BLM: jax.Array
) -> jax.Array:
    """Causal attention of HSTU: `silu(q k + bias) v`, summed over the tokens that `attention` would attend to.

    The bias may have a leading dim of 1.
    Returns [B, L, H, W] in the dtype of the query.
    """
    logits_BHLM = jnp.einsum("BLHW,BMHW->BHLM", query_BLHW, key_BMHW, preferred_element_type=jnp.float32)
    weights_BHLM = jax.nn.silu(logits_BHLM + bias_BLM[:, None])
    weights_BHLM = jnp.where(_seen(mask_BM, causal=True), weights_BHLM, 0).astype(query_BLHW.dtype)
    mixed_BLHW = jnp.einsum("BHLM,BMHW->BLHW", weights_BHLM, value_BMHW, preferred_element_type=jnp.float32)
    return mixed_BLHW.astype(query_BLHW.dtype)


def _seen(mask_BM: jax.Array, causal: bool) -> jax.Array:
    """Which token attends to which, bool [B, 1, L or 1, M]; see `attention`."""
    seen_B1LM = mask_BM[:, None, None, :]
    if mask_BM.dtype != bool:
        seen_B1LM = mask_BM[:, None, :, None] == seen_B1LM
    return seen_B1LM & jnp.tri(mask_BM.shape[1], dtype=bool)[None, None] if causal else seen_B1LM


def _xla(
    query_BLHW: jax.Array, key_BMHW: jax.Array, value_BMHW: jax.Array, mask_BM: jax.Array, *, causal: bool
) -> jax.Array:
    seen_B1LM = _seen(mask_BM, causal)
    # Both products accumulate in float32 (see `matmul`); `jax.nn.dot_product_attention` rounds the second one's sums.
    logits_BHLM = jnp.einsum("BLHW,BMHW->BHLM", query_BLHW, key_BMHW, preferred_element_type=jnp.float32)
    logits_BHLM = logits_BHLM * query_BLHW.shape[-1] ** -0.5 + jnp.where(seen_B1LM, 0, UNSEEN)
    weights_BHLM = jax.nn.softmax(logits_BHLM).astype(query_BLHW.dtype)
    mixed_BLHW = jnp.einsum("BHLM,BMHW->BLHW", weights_BHLM, value_BMHW, preferred_element_type=jnp.float32)
    return mixed_BLHW.astype(query_BLHW.dtype)


def _cudnn(
    query_BLHW: jax.Array, key_BMHW: jax.Array, value_BMHW: jax.Array, mask_BM: jax.Array, *, causal: bool
) -> jax.Array:
    # Lengths instead of the mask: JAX passes a mask to cuDNN as a bias [B, 1, L, M], and JAX 0.10 computes the
    # bias's gradient. Rows without tokens get length one.
    lengths_B = jnp.maximum(mask_BM.sum(axis=1, dtype=jnp.int32), 1)
    return jax.nn.dot_product_attention(
        query_BLHW,
        key_BMHW,
        value_BMHW,
        is_causal=causal,
        # All queries. Computed from the lengths, because a constant would not be sharded like the rows.
        query_seq_lengths=jnp.where(lengths_B > 0, mask_BM.shape[1], 0),
        key_value_seq_lengths=lengths_B,
        implementation="cudnn",
    )


def _takes(kernel: Callable[..., jax.Array], *operands: jax.Array) -> bool:
    """Whether cuDNN is installed and supports the operands; JAX checks both while tracing."""
    try:
        jax.eval_shape(kernel, *operands)
    except RuntimeError:  # cuDNN is not installed, or does not support this dtype or width
        return False
    return True
