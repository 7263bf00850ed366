"""The scorer and the blocks of the transformers as functions of the array operations `o` (such as `array_ops.Ops`).

One definition for the exports without Flax: NumPy, ONNX and `jax.export`. It has to agree with `models`, `blend` and
`baselines.channel`, which the tests compare it with. Imports nothing, because `numpy_runner` is copied with it.

B histories   S items of a history, oldest first, padded with -1 on the left   D width of the vectors
J items of the target, the first of all items I   V features of a channel   L steps   M steps attended to   H heads
"""

from typing import Any


def score(o: Any, facts: dict[str, Any], history_BS: Any) -> tuple[Any, Any]:
    """The scores of the target's items [B, J] and the user vectors [B, D]. See the file's head and `exports.scorer`."""
    num_target, weights = facts["num_target"], facts["weights"]
    is_item_BS, is_own_BS = history_BS >= 0, (history_BS >= 0) & (history_BS < num_target)
    users_BD = user_vectors(o, facts, o.maximum(history_BS, 0), is_item_BS)
    model_BJ = standardized(o, o.dot_rows(users_BD, "vectors", num_target))
    has_own_B1 = o.sum(o.to_float(is_own_BS), 1) > 0  # if not, only the trained model applies
    scores_BJ = model_BJ * o.where(has_own_B1, weights["model"], weights["model"] or 1.0)
    own_BS = o.where(is_own_BS, history_BS, 0)
    for channel in facts["channels"]:
        scores_BJ = scores_BJ + weights[channel["part"]] * channel_scores(o, channel, own_BS, is_own_BS, num_target)
    has_item_B1 = o.sum(o.to_float(is_item_BS), 1) > 0
    scores_BJ = o.where(has_item_B1, scores_BJ, o.expand(o.get("popularity"), 0))
    return scores_BJ + o.expand(o.get("removal"), 0), users_BD  # -inf for items that were removed from the catalogue


def channel_scores(o: Any, channel: dict[str, Any], own_BS: Any, is_own_BS: Any, num_target: int) -> Any:
    """See `llmrec_jax.baselines.channel`."""
    age_BS = count_after(o, is_own_BS)
    is_read_BS = is_own_BS & (age_BS < channel["num_last"])
    weight_BS = o.to_float(is_read_BS) * o.power(channel["decay"], o.to_float(age_BS))
    history, item = channel["as_history"], channel["as_item"]
    if channel["is_sparse"]:
        weight_BI = o.scatter(weight_BS, own_BS, num_target)
        entries = [o.get(f"{history}.{part}") for part in ("row", "value", "column")]
        profile_BV = o.gather_scatter(weight_BI, *entries, channel["num_features"])
    else:
        profile_BV = o.weighted(weight_BS, o.rows(history, own_BS))
    size_B1 = o.sum(weight_BS) if channel["normalize"] == "sum" else o.sqrt(o.sum(profile_BV * profile_BV))
    profile_BV = profile_BV * (channel["scale"] / o.where(size_B1 > 0, size_B1, 1.0))
    if item is None:
        return profile_BV
    if channel["is_sparse"]:
        entries = [o.get(f"{item}.{part}") for part in ("column", "value", "row")]
        return o.gather_scatter(profile_BV, *entries, num_target)
    return o.dot_rows(profile_BV, item, num_target)


def standardized(o: Any, scores_BJ: Any) -> Any:
    """See `llmrec_jax.blend.answer`: z-scores over the items with a vector."""
    known_1J = o.expand(o.get("is_known"), 0)  # float32: 1 or 0
    num = o.maximum(o.sum(known_1J), 1.0)
    centred_BJ = (scores_BJ - o.sum(scores_BJ * known_1J) / num) * known_1J
    deviation_B1 = o.sqrt(o.sum(centred_BJ * centred_BJ) / num)
    size_B1 = o.largest(o.maximum(scores_BJ, scores_BJ * -1.0) * known_1J)
    is_flat_B1 = deviation_B1 <= 1e-6 * o.maximum(size_B1, 1e-6)
    return o.where(is_flat_B1, 0.0, centred_BJ / o.where(is_flat_B1, 1.0, deviation_B1))


def user_vectors(o: Any, facts: dict[str, Any], number_BS: Any, is_item_BS: Any) -> Any:
    """See `llmrec_jax.models.user_tower`: the vector after the last item of each history, [B, D]."""
    tower = facts["tower"]
    mask_BS = o.last(is_item_BS, tower["max_history"], 1)
    items_BSD = o.first(o.rows("vectors", o.last(number_BS, tower["max_history"], 1)), tower["width"])
    if tower["kind"] == "bert4rec":  # a masked step follows the history
        one_B1 = o.sum(o.ones(mask_BS), 1) >= 0
        mask_B1D = o.expand(o.to_float(one_B1), 2) * o.get("user_tower.mask")
        items_BSD, mask_BS = o.concat([items_BSD, mask_B1D], 1), o.concat([mask_BS, one_B1], 1)
    users_BD = 0.0
    if tower["has_mean"]:
        decay = o.maximum(o.maximum(o.get("user_tower.decay"), 0.01) * -1.0, -1.0) * -1.0  # clipped to 0.01 .. 1
        weight_BS = o.to_float(mask_BS) * o.power(decay, o.to_float(count_after(o, mask_BS)))
        users_BD = o.weighted(weight_BS, items_BSD)
    if tower["kind"] != "mean":
        users_BD = l2_normalized(o, users_BD) if tower["is_cosine"] and tower["has_mean"] else users_BD
        x_BSD = items_BSD * (tower["width"] ** 0.5 if tower["is_cosine"] else 1.0)
        x_BSD = x_BSD + o.rows("user_tower.positions.embedding", o.maximum(o.cumsum(mask_BS) - 1, 0))
        x_BSD = stack(o, tower, "user_tower.stack.layers", x_BSD, mask_BS)
        last_BS = o.to_float(o.cumsum(o.ones(mask_BS)) >= o.sum(o.ones(mask_BS), 1))
        scale_D, bias_D = o.get("user_tower.norm.scale"), o.get("user_tower.norm.bias")
        out_BD = layer_norm(o, o.weighted(last_BS, x_BSD), scale_D, bias_D, tower["norm_eps"])
        if tower["has_mean"]:
            out_BD = out_BD @ o.get("user_tower.out.kernel") + o.get("user_tower.out.bias")
        users_BD = users_BD + out_BD
    users_BD = l2_normalized(o, users_BD) if tower["is_cosine"] else users_BD
    return o.concat([users_BD, o.sum(users_BD) * 0.0 + 1.0], 1) if tower["has_bias"] else users_BD


def count_after(o: Any, is_counted_BS: Any) -> Any:
    """How many entries are counted after each step, float32."""
    return o.sum(o.to_float(is_counted_BS), 1) - o.to_float(o.cumsum(is_counted_BS))


def l2_normalized(o: Any, x: Any) -> Any:
    """Vectors of length one; zero vectors stay zero."""
    return x / o.sqrt(o.maximum(o.sum(x * x), 1e-12))


def layer_norm(o: Any, x: Any, scale: Any, bias: Any, eps: float) -> Any:
    """Normalize the last axis, then scale and shift."""
    centred = x - o.mean(x)
    return centred / o.sqrt(o.mean(centred * centred) + eps) * scale + bias


def stack(o: Any, sizes: dict[str, Any], name: str, x_BLD: Any, mask_BL: Any) -> Any:
    """All blocks of a transformer. `sizes`: kind, num_layers, num_heads, head_width, norm_eps, activation."""
    step_BL = o.cumsum(o.ones(mask_BL))
    seen_BLM = o.expand(mask_BL, 1)
    if sizes["kind"] not in ("bert", "bert4rec"):
        seen_BLM = seen_BLM & (o.expand(step_BL, 2) >= o.expand(step_BL, 1))
    seen_BHLM = o.expand(seen_BLM, 1)
    for layer in range(sizes["num_layers"]):

        def get(part: str, layer: int = layer) -> Any:
            return o.get(f"{name}.{part}", layer)

        x_BLD = BLOCKS[sizes["kind"]](o, sizes, get, x_BLD, seen_BHLM, step_BL)
    return x_BLD


def gpt2_block(o: Any, sizes: dict[str, Any], get: Any, x_BLD: Any, seen_BHLM: Any, step_BL: Any) -> Any:
    """See `llmrec_jax.models.gpt2`."""
    x_BLD = x_BLD + attention(o, sizes, get, _norm(o, sizes, get, "attention_norm", x_BLD), seen_BHLM)
    return x_BLD + _mlp(o, sizes, get, _norm(o, sizes, get, "mlp_norm", x_BLD))


def bert_block(o: Any, sizes: dict[str, Any], get: Any, x_BLD: Any, seen_BHLM: Any, step_BL: Any) -> Any:
    """See `llmrec_jax.models.bert`."""
    x_BLD = _norm(o, sizes, get, "attention_norm", x_BLD + attention(o, sizes, get, x_BLD, seen_BHLM))
    return _norm(o, sizes, get, "mlp_norm", x_BLD + _mlp(o, sizes, get, x_BLD))


def ligr_block(o: Any, sizes: dict[str, Any], get: Any, x_BLD: Any, seen_BHLM: Any, step_BL: Any) -> Any:
    """See `llmrec_jax.models.ligr`."""
    attended_BLD = attention(o, sizes, get, _norm(o, sizes, get, "attention_norm", x_BLD), seen_BHLM)
    x_BLD = x_BLD + sigmoid(o, linear(get, "attention_gate", x_BLD)) * attended_BLD
    inputs_BLD = _norm(o, sizes, get, "mlp_norm", x_BLD)
    gated = silu(o, linear(get, "mlp.gate", inputs_BLD)) * linear(get, "mlp.up", inputs_BLD)
    return x_BLD + sigmoid(o, linear(get, "mlp_gate", x_BLD)) * linear(get, "mlp.down", gated)


def hstu_block(o: Any, sizes: dict[str, Any], get: Any, x_BLD: Any, seen_BHLM: Any, step_BL: Any) -> Any:
    """See `llmrec_jax.models.hstu`; without times."""
    inputs_BLD = _norm(o, sizes, get, "norm", x_BLD)
    query, key, value = (
        o.split_heads(silu(o, linear(get, name, inputs_BLD)), sizes["num_heads"]) for name in ("query", "key", "value")
    )
    age_BLM = o.maximum(o.expand(step_BL, 2) - o.expand(step_BL, 1), 0)
    weights_BHLM = silu(o, query @ o.transposed(key) + o.expand(o.take(get("age_bias"), age_BLM), 1))
    mixed_BLD = o.join_heads(o.where(seen_BHLM, weights_BHLM, 0.0) @ value) * (1 / sizes["max_history"])
    scale_D, bias_D = get("attention_norm.scale"), get("attention_norm.bias")
    gated_BLD = layer_norm(o, mixed_BLD, scale_D, bias_D, 1e-6) * silu(o, linear(get, "up", inputs_BLD))
    return x_BLD + linear(get, "out", gated_BLD)


BLOCKS = {
    "transformer": gpt2_block,
    "gpt2": gpt2_block,
    "bert": bert_block,
    "bert4rec": bert_block,
    "ligr": ligr_block,
    "hstu": hstu_block,
}


def attention(o: Any, sizes: dict[str, Any], get: Any, x_BLD: Any, seen_BHLM: Any) -> Any:
    """See `llmrec_jax.models.attention`."""
    query, key, value = (
        o.split_heads(linear(get, f"attention.{name}", x_BLD), sizes["num_heads"]) for name in ("query", "key", "value")
    )
    logits_BHLM = o.where(seen_BHLM, query @ o.transposed(key) * sizes["head_width"] ** -0.5, -1e30)
    weights_BHLM = o.exp(logits_BHLM - o.largest(logits_BHLM))
    mixed_BHLW = weights_BHLM / o.sum(weights_BHLM) @ value
    return linear(get, "attention.out", o.join_heads(mixed_BHLW))


def linear(get: Any, name: str, x: Any) -> Any:
    """A projection with bias."""
    return x @ get(f"{name}.kernel") + get(f"{name}.bias")


def sigmoid(o: Any, x: Any) -> Any:
    """In a form that does not overflow."""
    return o.tanh(x * 0.5) * 0.5 + 0.5


def silu(o: Any, x: Any) -> Any:
    """`x * sigmoid(x)`."""
    return x * sigmoid(o, x)


def activate(o: Any, name: str, x: Any) -> Any:
    """One of `llmrec_jax.models.layers.ACTIVATIONS`."""
    if name == "gelu":
        return x * 0.5 * (o.erf(x * 0.5**0.5) + 1.0)
    if name == "relu":
        return o.maximum(x, 0.0)
    return gelu_new(o, x)


def gelu_new(o: Any, x: Any) -> Any:
    """GELU by tanh, as in GPT-2."""
    return x * 0.5 * (o.tanh((x + x * x * x * 0.044715) * 0.7978845608) + 1.0)


def _mlp(o: Any, sizes: dict[str, Any], get: Any, x: Any) -> Any:
    return linear(get, "mlp.down", activate(o, sizes["activation"], linear(get, "mlp.up", x)))


def _norm(o: Any, sizes: dict[str, Any], get: Any, name: str, x: Any) -> Any:
    return layer_norm(o, x, get(f"{name}.scale"), get(f"{name}.bias"), sizes["norm_eps"])
