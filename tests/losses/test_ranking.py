"""Ranking losses against float64 NumPy references, row by row, and their invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from llmrec_jax.losses import ranking

N, D, NUM_ITEMS, TEMPERATURE = 7, 4, 11, 0.3
BLOCK_SIZES = [1, 3, 4, NUM_ITEMS - 1, NUM_ITEMS, 64]


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    return {
        "user": rng.normal(size=(N, D)).astype(np.float32),
        "items": rng.normal(size=(NUM_ITEMS, D)).astype(np.float32),
        "target": np.array([0, 3, 4, 7, 8, 10, 10]),  # first and last of the blocks of 4, the last of which is short
    }


def reference(user_ND, items_ID, target_N, candidates, offset_I=None):
    """`candidates[n]` lists the items row n chooses from, its target among them."""
    losses = []
    for user_D, target, items in zip(user_ND.astype(np.float64), target_N, candidates, strict=True):
        scores = items_ID.astype(np.float64) @ user_D / TEMPERATURE - (0 if offset_I is None else offset_I)
        losses.append(np.log(sum(np.exp(scores[i] - scores[target]) for i in items)))
    return np.array(losses)


def softmax(case, block_size=4, **changes):
    case = case | changes
    return ranking.softmax(
        case["user"],
        case["items"],
        case.get("right", case["items"][case["target"]]),
        is_candidate_I=np.ones(len(case["items"]), bool),
        temperature=TEMPERATURE,
        block_size=block_size,
        **case.get("excluded", {}),
    )


def dense(user_ND, items_ID, target_N):
    log_p_NI = jax.nn.log_softmax(user_ND @ items_ID.T / TEMPERATURE)
    return -jnp.take_along_axis(log_p_NI, target_N[:, None], axis=1)[:, 0]


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_softmax_is_the_reference_for_any_block_size(case, block_size):
    loss_N = softmax(case, block_size)
    assert loss_N.dtype == jnp.float32
    expected_N = reference(case["user"], case["items"], case["target"], [range(NUM_ITEMS)] * N)
    np.testing.assert_allclose(loss_N, expected_N, 1e-5)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_softmax_leaves_out_the_items_that_a_row_excludes(case, block_size):
    ids_I = 10 + 2 * np.arange(NUM_ITEMS)
    excluded = [[1, 2], [], [0], [10], [9, 10], [0, 1, 3], []]
    excluded_NS = np.full((N, 5), -1, np.int32)
    for row, items in enumerate(excluded):
        excluded_NS[row, : len(items)] = ids_I[items]
    excluded_NS[:, 3] = excluded_NS[:, 0]  # a repetition
    excluded_NS[:, 4] = 13  # an item that is not in this shard
    weight_N = np.linspace(0.5, 2, N, dtype=np.float32)

    def loss(user, items):
        return softmax(case, block_size, user=user, items=items, excluded={"ids_I": ids_I, "excluded_NS": excluded_NS})

    def dense_loss(user, items):
        rows = zip(user, case["target"], excluded, strict=True)
        return jnp.stack([dense(u[None], jnp.delete(items, jnp.array(left_out, int), axis=0),
                                jnp.array([target - sum(i < target for i in left_out)]))[0]
                          for u, target, left_out in rows])  # fmt: skip

    arguments = jnp.asarray(case["user"]), jnp.asarray(case["items"])
    np.testing.assert_allclose(loss(*arguments), dense_loss(*arguments), 1e-5)
    got, expected = (jax.grad(lambda *x, f=f: weight_N @ f(*x), (0, 1))(*arguments) for f in (loss, dense_loss))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, expected)


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_softmax_gradient_is_that_of_all_scores_at_once(case, block_size):
    weight_N = np.array([1, 0, 2, 0.5, 0, 1, 3], np.float32)  # what comes back for a padding row is zero

    def gradients(loss):
        return jax.grad(lambda user, items: weight_N @ loss(user, items), (0, 1))(case["user"], case["items"])

    got = gradients(lambda user, items: softmax(case, block_size, user=user, items=items))
    expected = gradients(lambda user, items: dense(user, items, case["target"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, expected)
    np.testing.assert_array_equal(got[0][weight_N == 0], 0)


def test_softmax_gradient_is_the_reference_s(case):
    weight_N = np.linspace(0.5, 2, N, dtype=np.float32)

    def expected(flat):
        user_ND, items_ID = np.split(flat, [N * D])
        candidates = [range(NUM_ITEMS)] * N
        return weight_N @ reference(user_ND.reshape(N, D), items_ID.reshape(NUM_ITEMS, D), case["target"], candidates)

    flat = np.concatenate([case["user"].ravel(), case["items"].ravel()]).astype(np.float64)
    got = jax.grad(lambda user, items: weight_N @ softmax(case, user=user, items=items), (0, 1))(
        jnp.asarray(case["user"]), jnp.asarray(case["items"])
    )
    got = np.concatenate([g.ravel() for g in got])
    np.testing.assert_allclose(got, approx_fprime(flat, expected, 1e-7), rtol=1e-5, atol=1e-5)


def test_softmax_survives_scores_beyond_exp_and_a_lone_candidate(case):
    huge_ND = case["user"] * 1e4
    loss_N, gradient_ND = jax.value_and_grad(lambda user: softmax(case, user=user).sum())(huge_ND)
    assert np.isfinite(loss_N)
    assert np.isfinite(gradient_ND).all()
    alone = {"items": case["items"][:1], "target": np.zeros(N, int)}
    np.testing.assert_array_equal(softmax(case, user=huge_ND, **alone), 0)


def test_softmax_in_bfloat16_sums_in_float32(case):
    narrow = {name: jnp.asarray(case[name], jnp.bfloat16) for name in ("user", "items")}
    narrow["right"] = narrow["items"][case["target"]]
    rounded = {name: x.astype(jnp.float32) for name, x in narrow.items()}

    def loss(vectors):
        loss_N = softmax(case, **vectors)
        return loss_N.sum(), loss_N

    got, loss_N = jax.grad(loss, has_aux=True)(narrow)
    expected, expected_N = jax.grad(loss, has_aux=True)(rounded)
    assert loss_N.dtype == jnp.float32
    np.testing.assert_allclose(loss_N, expected_N, 1e-5)
    for name, gradient in got.items():
        assert gradient.dtype == jnp.bfloat16
        np.testing.assert_allclose(gradient.astype(jnp.float32), expected[name], rtol=2**-8, atol=1e-5)  # rounded once


@pytest.mark.parametrize("name", ["softmax", "in_batch"])
def test_every_product_is_full_float32_forward_and_backward(case, batch, name):
    """The right item's score is subtracted from a sum that holds it: a TPU's bfloat16 passes would make them differ."""

    def loss(user_ND, items_ID):
        changes = {"user": user_ND, "items": items_ID}
        return (softmax(case, **changes) if name == "softmax" else in_batch(batch, **changes)).sum()

    gradients = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(case["user"], case["items"])
    for platform in ("cuda", "tpu"):
        text = gradients.lower(lowering_platforms=(platform,)).as_text()
        products = [line for line in text.splitlines() if "dot_general" in line]
        assert len(products) >= 3  # the scores and a gradient of either side
        assert all("[HIGHEST, HIGHEST]" in line for line in products)


def test_softmax_memory_does_not_grow_with_the_catalogue():
    user_ND, items_ID = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in [(256, 16), (65536, 16)])
    target_N = jax.ShapeDtypeStruct((256,), jnp.int32)

    def blocks(user_ND, items_ID, target_N):
        return ranking.softmax(
            user_ND,
            items_ID,
            items_ID[target_N],
            is_candidate_I=np.ones(len(items_ID), bool),
            temperature=TEMPERATURE,
            block_size=4096,
        )

    def temporary_bytes(loss):
        compiled = (
            jax.jit(jax.grad(lambda *args: loss(*args).sum(), (0, 1))).lower(user_ND, items_ID, target_N).compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(blocks) < temporary_bytes(dense) / 4


def test_softmax_skips_what_is_no_candidate_and_does_not_care_for_the_order_of_items(case):
    """As the items of a share lie: every so many numbers, other domains' and padding in between."""
    order_I = np.random.default_rng(3).permutation(NUM_ITEMS)
    garbage_ID = 9 * case["items"][:5]
    ids_I = np.concatenate([order_I[:6], np.full(5, -1), order_I[6:]])
    items_ID = np.concatenate([case["items"][order_I[:6]], garbage_ID, case["items"][order_I[6:]]])

    def value_and_gradient(items_ID, is_candidate_I):
        def loss(items_ID):
            loss_N = ranking.softmax(
                case["user"],
                items_ID,
                case["items"][case["target"]],
                is_candidate_I=is_candidate_I,
                temperature=TEMPERATURE,
                block_size=4,
            )
            return loss_N.sum(), loss_N

        (_, loss_N), gradient_ID = jax.value_and_grad(loss, has_aux=True)(items_ID)
        return loss_N, gradient_ID

    expected_N, expected_ID = value_and_gradient(case["items"], np.ones(NUM_ITEMS, bool))
    loss_N, gradient_ID = value_and_gradient(items_ID, ids_I >= 0)
    np.testing.assert_allclose(loss_N, expected_N, 1e-5)
    np.testing.assert_array_equal(gradient_ID[ids_I < 0], 0)
    np.testing.assert_allclose(gradient_ID[ids_I >= 0], expected_ID[ids_I[ids_I >= 0]], rtol=1e-5, atol=1e-6)


def test_softmax_refuses_blocks_of_nothing(case):
    with pytest.raises(ValueError, match="got 0"):
        softmax(case, block_size=0)


@pytest.fixture(scope="module")
def batch(case):
    """The case's items as a batch: item 8 repeats item 3's identity, the last two are padding."""
    rng = np.random.default_rng(1)
    ids_U = np.arange(100, 100 + NUM_ITEMS)
    ids_U[8] = ids_U[3]
    mask_U = np.arange(NUM_ITEMS) < NUM_ITEMS - 2
    target_N = rng.choice(np.flatnonzero(mask_U), N)
    target_N[:2] = 3, 8
    log_q_U = np.log(rng.dirichlet(np.ones(NUM_ITEMS))).astype(np.float32)
    return case | {"target": target_N, "ids": ids_U, "mask": mask_U, "log_q": log_q_U}


def in_batch(batch, **changes):
    batch = batch | changes
    return ranking.in_batch(
        batch["user"],
        batch["items"],
        batch["target"],
        temperature=TEMPERATURE,
        item_ids_U=batch["ids"],
        item_mask_U=batch["mask"],
        log_q_U=batch["log_q"],
    )


def test_in_batch_is_the_reference(batch):
    real = np.flatnonzero(batch["mask"])
    candidates = [
        [u for u in real if u == target or batch["ids"][u] != batch["ids"][target]] for target in batch["target"]
    ]
    expected_N = reference(batch["user"], batch["items"], batch["target"], candidates, batch["log_q"])
    np.testing.assert_allclose(in_batch(batch), expected_N, 1e-5)


def test_in_batch_padding_may_hold_anything(batch):
    def loss_and_gradients(**changes):
        case = batch | changes
        loss = jax.value_and_grad(lambda user, items: in_batch(case, user=user, items=items).sum(), (0, 1))
        return jax.tree.leaves(loss(case["user"], case["items"]))

    padding_U = ~batch["mask"]
    garbage_U = np.where(np.arange(NUM_ITEMS) % 2, 1e38, np.nan)
    changes = {
        "items": np.where(padding_U[:, None], garbage_U[:, None], batch["items"]).astype(np.float32),
        "log_q": np.where(padding_U, garbage_U, batch["log_q"]).astype(np.float32),
        "ids": np.where(padding_U, batch["ids"][3], batch["ids"]),
    }
    for clean, dirty in zip(loss_and_gradients(), loss_and_gradients(**changes), strict=True):
        np.testing.assert_array_equal(clean, dirty)


def test_in_batch_does_not_care_for_the_order_of_items(batch):
    order_U = np.random.default_rng(2).permutation(NUM_ITEMS)
    moved = {name: batch[name][order_U] for name in ("items", "ids", "mask", "log_q")}
    moved_loss_N = in_batch(batch, target=np.argsort(order_U)[batch["target"]], **moved)
    np.testing.assert_allclose(moved_loss_N, in_batch(batch), 1e-5)


def test_in_batch_correction_undoes_the_frequency_of_items(case):
    """Items drawn in proportion to a skewed q weigh, once corrected, as in the softmax over the whole catalogue."""
    user_1D, target = case["user"][:1], 4
    count_I = np.array([1, 7, 2, 30, 1, 3, 12, 1, 5, 2, 4])
    item_U = np.repeat(np.arange(NUM_ITEMS), count_I)

    def loss(log_q_U):
        return ranking.in_batch(
            user_1D,
            case["items"][item_U],
            np.flatnonzero(item_U == target),
            temperature=TEMPERATURE,
            item_ids_U=np.arange(len(item_U)),  # every draw counts
            item_mask_U=np.ones(len(item_U), bool),
            log_q_U=log_q_U,
        )

    catalogue = reference(user_1D, case["items"], [target], [range(NUM_ITEMS)])
    np.testing.assert_allclose(loss(np.log(count_I[item_U]).astype(np.float32)), catalogue, 1e-5)
    assert abs(loss(np.zeros(len(item_U), np.float32)) - catalogue) > 0.1
