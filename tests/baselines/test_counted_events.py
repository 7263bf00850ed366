"""What the counting channels are given: no event that is ranked or comes after it, and in few-shot no other user's."""

import numpy as np
import pytest

from llmrec_jax.baselines.parts import counting_channels
from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus

REGIMES = {
    "full": {"sources": (), "target_fraction": 1.0},
    "few-shot": {"sources": ("demo:films",), "target_fraction": 0.3},
    "transductive": {"sources": ("demo:films",), "target_fraction": 0.0, "regime": "transductive"},
}


@pytest.fixture(scope="module", params=list(REGIMES))
def corpus(request, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "counted"
    loaded = load_corpus(DataConfig(target="demo:books", cache_dir=str(cache), **REGIMES[request.param]), 16, 0)
    assert loaded.protocol.regime == request.param
    return loaded


@pytest.mark.parametrize("before", ["valid", "test"])
def test_only_events_before_the_ranked_one_are_counted(corpus, before):
    items_E, users_E = corpus.train_events(corpus.target, before=before)
    case = corpus.case(corpus.target, before)
    seen = {user: items_E[users_E == user] for user in case.users_N}
    is_transductive = corpus.protocol.regime == "transductive"
    for user, history in zip(case.users_N, case.histories, strict=True):
        may = is_transductive or corpus.protocol.kept[user]
        # With validation events counted only where the regime sees the histories at inference.
        length = len(history) - (before == "test" and not is_transductive)
        np.testing.assert_array_equal(seen[user], history[: length if may else 0])


def test_channels_do_not_change_with_the_held_out_events(corpus):
    split = corpus.splits[corpus.target]
    held_out = np.concatenate([split.test[split.test >= 0], split.valid[split.valid >= 0]])
    changed_E = np.array(split.items_E)
    changed_E[held_out] = (changed_E[held_out] + 1) % len(corpus.domains[corpus.target].item_ids)
    counted_E = corpus.counted(corpus.target)
    users_E = np.repeat(np.arange(len(split.train_end)), np.diff(split.offsets))[counted_E]
    num_items, histories = len(corpus.domains[corpus.target].item_ids), corpus.case(corpus.target, "valid").histories
    one, other = (counting_channels(items_E[counted_E], users_E, num_items) for items_E in (split.items_E, changed_E))
    for part, (fitted,) in one.items():
        scores_NI = fitted.channel.scores(histories)
        assert scores_NI.any()
        np.testing.assert_array_equal(scores_NI, other[part][0].channel.scores(histories))
