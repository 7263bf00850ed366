"""The one attention function, and the only file that knows which platform gets which kernel.

It is not a layer: projections, dropout and residuals stand in `layers`. How TPUs' kernel is called stands in `splash`.

Shape letters: B rows, L tokens that look, M tokens looked at (as many), N heads, H width of a head.
"""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from llmrec_jax.models import splash

UNSEEN = -1e30  # added to a logit; not -inf: a query that sees nothing would be NaN

Kernel = Literal["xla", "flash"]


def attention(
    query_BLNH: jax.Array,
    key_BMNH: jax.Array,
    value_BMNH: jax.Array,
    mask_BM: jax.Array,
    causal: bool,
    kernel: Kernel = "xla",
) -> jax.Array:
    """Scaled dot-product attention over the tokens where `mask_BM` is True; softmax in float32.

    Where `mask_BM` holds integers they name segments that share a row, and a token sees those of its own. With
    `causal`, token l sees tokens 0..l only. A query that may see no token at all gets a finite, meaningless vector,
    never NaN; its gradient is finite too. Returns [B, L, N, H] in the dtype of the query.

    With "flash", programs run their platform's flash attention where it takes the operands: cuDNN's on Nvidia GPUs,
    splash on TPUs. The caller promises a mask without a token after a masked one. Which platform a program is for is
    known when it is lowered, and decided there.
    """
    xla, cudnn, tpu = (functools.partial(fn, causal=causal) for fn in (_xla, _cudnn, splash.splash))
    operands = (query_BLNH, key_BMNH, value_BMNH, mask_BM)
    kernels: dict[str, Callable[..., jax.Array]] = {}
    if kernel == "flash" and _takes(cudnn, *operands):
        kernels["cuda"] = cudnn
    if kernel == "flash" and splash.takes(query_BLNH, mask_BM):
        kernels["tpu"] = tpu
    return jax.lax.platform_dependent(*operands, **kernels, default=xla) if kernels else xla(*operands)


def _xla(
    query_BLNH: jax.Array, key_BMNH: jax.Array, value_BMNH: jax.Array, mask_BM: jax.Array, *, causal: bool
) -> jax.Array:
    seen_B1LM = mask_BM[:, None, None, :]
    if mask_BM.dtype != bool:
        seen_B1LM = mask_BM[:, None, :, None] == seen_B1LM
    if causal:
        seen_B1LM &= jnp.tri(mask_BM.shape[1], dtype=bool)[None, None]
    # Both products sum in float32: see `matmul`. `jax.nn.dot_product_attention` rounds the second one's sums.
    logits_BNLM = jnp.einsum("BLNH,BMNH->BNLM", query_BLNH, key_BMNH, preferred_element_type=jnp.float32)
    logits_BNLM = logits_BNLM * query_BLNH.shape[-1] ** -0.5 + jnp.where(seen_B1LM, 0, UNSEEN)
    weights_BNLM = jax.nn.softmax(logits_BNLM).astype(query_BLNH.dtype)
    mixed_BLNH = jnp.einsum("BNLM,BMNH->BLNH", weights_BNLM, value_BMNH, preferred_element_type=jnp.float32)
    return mixed_BLNH.astype(query_BLNH.dtype)


def _cudnn(
    query_BLNH: jax.Array, key_BMNH: jax.Array, value_BMNH: jax.Array, mask_BM: jax.Array, *, causal: bool
) -> jax.Array:
    # Lengths and not the mask: cuDNN reads a mask as a bias [B, 1, L, M], whose gradient JAX 0.10 asks for.
    # A row without tokens sees one.
    lengths_B = jnp.maximum(mask_BM.sum(axis=1, dtype=jnp.int32), 1)
    return jax.nn.dot_product_attention(
        query_BLNH,
        key_BMNH,
        value_BMNH,
        is_causal=causal,
        # All queries; a constant would not be cut over the devices as the rows are.
        query_seq_lengths=jnp.where(lengths_B > 0, mask_BM.shape[1], 0),
        key_value_seq_lengths=lengths_B,
        implementation="cudnn",
    )


def _takes(kernel: Callable[..., jax.Array], *operands: jax.Array) -> bool:
    """Whether cuDNN is there and takes such operands: JAX says no to others while it traces."""
    try:
        jax.eval_shape(kernel, *operands)
    except RuntimeError:  # cuDNN is not there, or does not take this dtype or width
        return False
    return True
