"""The one attention function, and the only file that knows kernels and platforms.

It is not a layer: projections, dropout and residuals stand in `layers`.

Shape letters: B rows, L tokens that look, M tokens looked at (as many), N heads, H width of a head.
"""

import jax
import jax.numpy as jnp

UNSEEN = -1e30  # added to a logit; not -inf: a query that sees nothing would be NaN


def attention(
    query_BLNH: jax.Array, key_BMNH: jax.Array, value_BMNH: jax.Array, mask_BM: jax.Array, causal: bool
) -> jax.Array:
    """Scaled dot-product attention over the tokens where `mask_BM` is True; softmax in float32.

    Where `mask_BM` holds integers they name segments that share a row, and a token sees those of its own. With
    `causal`, token l sees tokens 0..l only. A query that may see no token at all gets a finite, meaningless vector,
    never NaN; its gradient is finite too. Returns [B, L, N, H] in the dtype of the query.
    """
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
