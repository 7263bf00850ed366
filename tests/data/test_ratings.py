"""Ratings: what data.min_rating leaves out, their order, which a batch predicts and which are held out."""

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.pipeline import plan_batches, with_targets
from llmrec_jax.data.batches.targets import Table
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.data.domains.rated import rated
from llmrec_jax.data.domains.split import Cuts, split
from tests.data.plans import HISTORY, SPLITS, STARTS, histories_of, ids_of
from tests.data.shops import folder_of

ITEMS = [f'{{"item_id": "{name}", "title": "{name}"}}'.encode() for name in "abcdef"]
ROWS = [
    b"user_id,item_id,rating,timestamp",
    *(b"u,a,4,1", b"u,b,1,2", b"u,c,5,3", b"u,d,2,4", b"u,e,3,5", b"u,f,,6", b"u,b,5,7"),
    *(b"w,a,1,1", b"w,b,1,2"),  # rated nothing that is kept
    *(b"v,f,1,1", b"v,a,3,2", b"v,a,1,3", b"v,b,4,5", b"v,c,1,6", b"v,d,5,8"),
]


def domain_of(tmp_path, min_rating):
    shop = folder_of(tmp_path / "shop", ITEMS, ROWS)
    return load_domain(str(shop), DataConfig(min_rating=min_rating, cache_dir=str(tmp_path / "cache")))


def ratings_of(domain, found, user):
    """The item, rating and length of the history of each rating of a user."""
    rows = found.users_A == domain.user_ids.index(user)
    items = [domain.item_ids[item] for item in found.items_A[rows]]
    lengths = found.at_A[rows] - domain.offsets[domain.user_ids.index(user)]
    return list(zip(items, found.ratings_A[rows].tolist(), lengths.tolist(), strict=True))


@pytest.mark.parametrize("min_rating", [None, 3.0])
def test_low_ratings_keep_their_place_among_the_events(tmp_path, min_rating):
    domain = domain_of(tmp_path, min_rating)
    found = rated(domain, split(domain, "leave_one_out", 0))
    if min_rating is None:
        # The first of two interactions with an item counts, here and in the histories; f has no rating.
        assert ratings_of(domain, found, "u") == [("a", 4, 0), ("b", 1, 1), ("c", 5, 2), ("d", 2, 3), ("e", 3, 4)]
        return
    assert domain.user_ids == ["u", "v"]
    # b is kept with its later rating of 5, so its low one is not used; the same of v's a.
    assert ratings_of(domain, found, "u") == [("a", 4, 0), ("c", 5, 1), ("d", 2, 2), ("e", 3, 2), ("b", 5, 4)]
    assert ratings_of(domain, found, "v") == [("f", 1, 0), ("a", 3, 0), ("b", 4, 1), ("c", 1, 2), ("d", 5, 2)]


def test_what_is_trained_on_is_before_what_is_held_out(tmp_path):
    domain = domain_of(tmp_path, 3.0)
    everybody = np.ones(2, bool)

    def names(found, rows):
        return [(domain.user_ids[user], domain.item_ids[item]) for user, item in
                zip(found.users_A[rows], found.items_A[rows], strict=True)]  # fmt: skip

    one_out = split(domain, "leave_one_out", 0)
    found = rated(domain, one_out)
    trained = [("u", "a"), ("u", "c"), ("u", "d"), ("u", "e"), ("v", "f"), ("v", "a")]  # d is followed by e
    assert names(found, found.training(one_out, everybody)) == trained
    assert names(found, found.held_out(one_out, "valid")) == [("v", "b")]  # that of u, f, has no rating
    assert names(found, found.held_out(one_out, "test")) == [("u", "b"), ("v", "d")]
    cut = split(domain, "temporal", 0, Cuts(5, 7))
    found = rated(domain, cut)
    assert names(found, found.training(cut, np.array([True, False]))) == [("u", "a"), ("u", "c")]
    assert names(found, found.held_out(cut, "valid")) == [("u", "e"), ("v", "b")]
    assert names(found, found.held_out(cut, "test")) == [("u", "b"), ("v", "d")]
    # All ratings from the cut on that have a history, also of users whose first event is after the cut.
    early = split(domain, "temporal", 0, Cuts(1, 2))
    tested = [("u", "c"), ("u", "d"), ("u", "e"), ("u", "b"), ("v", "b"), ("v", "c"), ("v", "d")]
    assert names(found, rated(domain, early).held_out(early, "test")) == tested
    assert names(found, rated(domain, early).held_out(early, "valid")) == []
    refit = split(domain, "temporal", 0, Cuts(5, 7), "train+valid")
    assert names(found, found.held_out(refit, "valid")) == []
    assert names(found, found.held_out(refit, "test")) == [("u", "b"), ("v", "d")]


def table_of(split, start, rng):
    """Two ratings of any items before every third event of a domain, one before the others; none opens a history."""
    numbers = np.setdiff1d(np.arange(len(split.items_E)), split.offsets)
    numbers = np.repeat(numbers, 1 + (numbers % 3 == 0))
    rows, num_items = len(numbers), len(split.items_E)
    sizes = (rows, rows, rows, (rows, 2))
    return Table(
        at_A=numbers,
        items_A=(start + rng.integers(num_items, size=rows)).astype(np.int32),
        columns=tuple(rng.normal(size=size).astype(np.float32) for size in sizes),
    )


@pytest.mark.parametrize("augment", ["none", "mask"])
def test_a_batch_predicts_the_ratings_that_follow_its_steps(augment):
    rng = np.random.default_rng(0)
    without = plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY, augment=augment), 24, 3)
    tables = [table_of(split, start, rng) for split, start in zip(SPLITS, STARTS, strict=False)]
    tables[1] = None
    plan = with_targets(without, {"ratings": tables})
    for step in (0, 7):
        batch, plain = make_batch(plan, step), make_batch(without, step)
        ids, history_N = ids_of(batch), batch.history_RS.reshape(-1)
        is_real_N = batch.segment_RS.reshape(-1) > 0
        shown = ids[history_N][is_real_N], ids_of(plain)[plain.history_RS.reshape(-1)][is_real_N]
        np.testing.assert_array_equal(*shown)
        expected = []
        for domain, steps in zip(batch.domain_B, histories_of(batch), strict=True):
            for place in steps:
                event = ids[history_N[place]] - STARTS[domain]  # every event of these domains has its own item
                rows = [] if tables[domain] is None else np.flatnonzero(tables[domain].at_A == event + 1)
                for row in rows:
                    table = tables[domain]
                    *values, features_F = (column[row] for column in table.columns)
                    expected.append((place, table.items_A[row], *values, *features_F))
        mask_N = batch.ratings.mask_N
        step_N, item_N, rating_N, prior_N, scale_N, features_NF = (
            np.asarray(column)[mask_N] for column in batch.ratings[:-1]
        )
        columns = step_N, ids[item_N], rating_N, prior_N, scale_N, features_NF[:, 0], features_NF[:, 1]
        assert len(expected) > 20
        assert sorted(zip(*columns, strict=True)) == sorted(expected)
        assert len(mask_N) % plan.multiple == 0
