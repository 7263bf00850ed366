"""Splash attention: JAX's flash attention for TPUs, on the mesh that the operands' type names.

When to call it is for `attention` to say; here stands what the kernel takes and how it is called.

Shape letters: B rows, L tokens, N heads, H width of a head.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel_lib
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as mask_lib
from jax.sharding import PartitionSpec as P

LANES, LARGEST_BLOCK = 128, 512  # the kernel works on blocks of tokens, multiples of a TPU's lanes
BLOCKS = ("block_q", "block_kv", "block_kv_compute", "block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute")


def takes(query_BLNH: jax.Array, mask_BL: jax.Array) -> bool:
    """Whether the kernel runs on such operands, and does not work on padding mostly."""
    B, L, N, H = query_BLNH.shape
    mesh, rows, heads = _mesh_of(query_BLNH)
    is_typed = query_BLNH.dtype == jnp.bfloat16 and mask_BL.dtype == bool and (H <= LANES or H % LANES == 0)
    is_long = L >= LANES and -L % LANES <= L / 3  # else XLA's attention moves fewer bytes: benchmarks/attention.py
    return is_typed and is_long and B % _size(mesh, rows) == 0 and N % _size(mesh, heads) == 0


def splash(
    query_BLNH: jax.Array,
    key_BLNH: jax.Array,
    value_BLNH: jax.Array,
    mask_BL: jax.Array,
    *,
    causal: bool,
    interpret: bool = False,
) -> jax.Array:
    """Attention [B, L, N, H] as `attention` says; what masked tokens get is finite and means nothing.

    The compiler cuts no kernel over a mesh, so each device is told to run it on its own rows and heads. With
    `interpret` it runs on any platform, slowly.
    """
    run = functools.partial(_on_device, causal=causal, interpret=interpret)
    mesh, rows, heads = _mesh_of(query_BLNH)
    if rows or heads:
        cut = P(rows, None, heads)
        run = jax.shard_map(run, mesh=mesh, in_specs=(cut, cut, cut, P(rows)), out_specs=cut, check_vma=False)
    return run(query_BLNH, key_BLNH, value_BLNH, mask_BL)


def _mesh_of(x: jax.Array) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """The mesh, its axes that cut rows, and the last, which cuts heads; none where each device runs its own program."""
    mesh = jax.typeof(x).sharding.mesh
    axes = () if mesh.manual_axes else mesh.axis_names
    return mesh, axes[:-1], axes[-1:]


def _size(mesh: Any, axes: tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in axes)


def _on_device(
    query_BLNH: jax.Array,
    key_BLNH: jax.Array,
    value_BLNH: jax.Array,
    mask_BL: jax.Array,
    *,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    _, L, N, H = query_BLNH.shape
    pad = -L % LANES
    query_BNLH, key_BNLH, value_BNLH = (
        jnp.pad(x, ((0, 0), (0, pad), (0, 0), (0, 0))).swapaxes(1, 2)
        for x in (query_BLNH * H**-0.5, key_BLNH, value_BLNH)
    )
    # Text and padding are two segments that do not see one another: no token sees nothing.
    segment_BL = jnp.pad(mask_BL, ((0, 0), (0, pad))).astype(jnp.int32)
    mask = (mask_lib.CausalMask if causal else mask_lib.FullMask)((L + pad, L + pad))
    blocks = dict.fromkeys(BLOCKS, math.gcd(L + pad, LARGEST_BLOCK))
    kernel = kernel_lib.make_splash_mha(
        mask_lib.MultiHeadMask([mask] * N),
        block_sizes=kernel_lib.BlockSizes(**blocks, use_fused_bwd_kernel=True),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    segments = kernel_lib.SegmentIds(segment_BL, segment_BL)
    return jax.vmap(kernel)(query_BNLH, key_BNLH, value_BNLH, segments).swapaxes(1, 2)[:, :L]
