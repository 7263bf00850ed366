"""The corpus: its hashes change with everything that affects the results of a run, and with nothing else; its cases."""

import dataclasses

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data import corpus
from llmrec_jax.predictor import take


def test_the_hashes_tell_content_split_and_settings_apart(tmp_path):
    data = DataConfig(sources=(), target="demo:books", cache_dir=str(tmp_path))

    def hashes_of(seed=0, batch_size=16, num_shards=1, **changes):
        changed = dataclasses.replace(data, **changes)
        found = corpus.load_corpus(changed, batch_size, seed, num_shards=num_shards)
        assert found.hash == found.hashes["run"]
        return found.hashes

    ours = hashes_of()
    assert hashes_of(num_shards=16) == hashes_of(root="elsewhere") == ours

    def differ(**changes):
        return {name for name, value in hashes_of(**changes).items() if value != ours[name]}

    assert differ(seed=1) == differ(batch_size=8) == differ(max_history=7) == differ(target_fraction=0.5) == {"run"}
    assert differ(split_seed=1) == differ(split="random") == differ(split="temporal") == {"split", "run"}
    assert differ(target="demo:films") == {"content", "split", "run"}
    assert differ(sources=("demo:films",)) == {"content", "run"}  # the same test events: comparable


def test_one_split_hash_means_the_same_test_events(tmp_path):
    def load(seed, split_seed, target_fraction=1.0):
        data = DataConfig(
            sources=(),
            target="demo:books",
            split="random",
            split_seed=split_seed,
            target_fraction=target_fraction,
            cache_dir=str(tmp_path),
        )
        return corpus.load_corpus(data, 16, seed)

    one, other, few = load(0, 0), load(1, 0), load(5, 0, target_fraction=0.5)
    assert one.hashes["split"] == other.hashes["split"] == few.hashes["split"]
    cases = [loaded.case(0, "test") for loaded in (one, other, few, load(0, 1))]
    for case in cases[1:3]:
        np.testing.assert_array_equal(cases[0].target_N, case.target_N)
        for left, right in zip(cases[0].histories, case.histories, strict=True):
            np.testing.assert_array_equal(left, right)
    assert (cases[0].target_N != cases[3].target_N).any()
    assert load(0, 1).hashes["split"] != one.hashes["split"]


def test_temporal_trains_on_nothing_from_after_the_targets_cut(tmp_path):
    data = DataConfig(sources=("demo:films",), target="demo:books", split="temporal", cache_dir=str(tmp_path))
    loaded = corpus.load_corpus(data, 16, 0)
    films, books = loaded.domains
    cut = np.quantile(books.timestamps_E, 0.8, method="higher")
    trained = films.timestamps_E[loaded.splits[0].training_events(np.ones(len(films.user_ids), bool))]
    assert trained.max() < cut < films.timestamps_E.max()
    assert loaded.facts["leaks"]["films"]["source_events_after_target_test_cut"] == 0
    facts = loaded.facts["domains"]["books"]
    assert facts["order"] == "timestamp"
    assert facts["trained_users"] == len(loaded.plan.users[1])


def test_the_histories_of_a_case_have_the_times_of_their_events():
    """Slices and selections keep them; shuffled events have none."""
    data = DataConfig(sources=(), target="demo:books")
    books = corpus.load_corpus(data, 16, seed=0)
    case, domain = books.case(0, "test"), books.domains[0]
    for histories, users in ((case.histories[3:5], [3, 4]), (take(case.histories, np.array([7, 2])), [7, 2])):
        assert len(histories) == len(histories.times) == 2
        for history, times, user in zip(histories, histories.times, case.users_N[users], strict=True):
            events = slice(domain.offsets[user], domain.offsets[user] + len(history))
            np.testing.assert_array_equal(history, domain.items_E[events])
            np.testing.assert_array_equal(times, domain.timestamps_E[events])
            assert len(history) == domain.offsets[user + 1] - domain.offsets[user] - 1
    shuffled = corpus.load_corpus(dataclasses.replace(data, split="random"), 16, seed=0).case(0, "test").histories
    assert shuffled.times is None
    assert shuffled[:2].times is take(shuffled, np.arange(2)).times is None
