"""The evaluation protocol: kept users, left-out sources, and errors raised before a run starts."""

import dataclasses

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data import corpus as corpus_lib
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.domains.split import split
from llmrec_jax.data.protocol import ENOUGH_USERS, make_protocol
from tests.data.plans import distinct_of
from tests.data.test_split import domain_of

ITEMS = 30


def shop(name, num_users, length=8, seed=0, **fields):
    rng = np.random.default_rng(seed)
    histories = [list(rng.permutation(ITEMS)[:length]) for _ in range(num_users)]
    histories[0][0] = ITEMS - 1  # so that every shop has all items
    return domain_of(histories, name=name, **fields)


def protocol_of(*domains, selection="auto", method="leave_one_out", **data):
    config = DataConfig(sources=tuple(domain.name for domain in domains[:-1]), target=domains[-1].name, **data)
    splits = [split(domain, method, config.split_seed) for domain in domains]
    return make_protocol(domains, splits, config, selection)


@pytest.fixture
def load(monkeypatch):
    """The corpus of hand-made domains, sources first."""

    def load(*domains, selection="auto", **data):
        by_name = {domain.name: domain for domain in domains}
        monkeypatch.setattr(corpus_lib, "load_domain", lambda name, _: by_name[name])
        *sources, target = by_name
        config = DataConfig(sources=tuple(sources), target=target, max_history=6, **data)
        return corpus_lib.load_corpus(config, batch_size=8, seed=0, selection=selection)

    return load


def relabelled(domain, users):
    """The same domain with other items in all events of some users (a mask)."""
    items_E = domain.items_E.copy()
    events_E = np.repeat(users, np.diff(domain.offsets))
    items_E[events_E] = (items_E[events_E] + 7) % ITEMS
    assert (items_E != domain.items_E).any()
    return dataclasses.replace(domain, items_E=items_E)


def seen_by(corpus):
    """Everything that training, selection and the baselines read of the interactions, and the report's validation."""
    selection = corpus.protocol.selection
    batches = [distinct_of(make_batch(corpus.plan, step)) for step in range(20)]
    cases = [corpus.case(selection.domain, "valid", selection.users)]
    cases += [case for case in corpus.report_cases() if case.split == "valid"]
    return [*batches, corpus.train_counts(corpus.target), *(a for case in cases for a in (*case.histories, case.target_N))]  # fmt: skip # noqa: E501


def test_labels_of_users_that_are_not_kept_change_nothing_but_the_test(load):
    source, target = shop("films", 40), shop("books", 200, seed=1)
    before = load(source, target, target_fraction=0.1)
    kept = before.protocol.kept
    assert kept.sum() == 20
    after = load(source, relabelled(target, ~kept), target_fraction=0.1)
    for left, right in zip(seen_by(before), seen_by(after), strict=True):
        np.testing.assert_array_equal(left, right)
    assert before.protocol.selection.users.sum() == 20
    assert [len(case.users_N) for case in before.report_cases()] == [20, 200]
    assert (before.case(1, "test").target_N != after.case(1, "test").target_N).any()
    touched = load(source, relabelled(target, kept), target_fraction=0.1)
    assert any((left != right).any() for left, right in zip(seen_by(before), seen_by(touched), strict=True))


def test_zero_shot_is_selected_on_a_source_that_no_batch_holds(load):
    domains = [shop("films", 150, seed=1), shop("music", 120, seed=2), shop("games", 20, seed=3), shop("books", 30)]
    corpus = load(*domains, target_fraction=0.0)
    assert corpus.protocol.left_out == corpus.protocol.selection.domain == 1  # the smallest with enough users
    assert corpus.protocol.selection.validator == "left_out_source_valid_ndcg@10"
    assert corpus.protocol.regime == "zero-shot"
    assert corpus.plan.rows[1] == corpus.plan.rows[3] == 0
    everybody = np.ones(120, bool)
    after = load(domains[0], relabelled(domains[1], everybody), *domains[2:], target_fraction=0.0)
    for step in range(20):
        items = distinct_of(make_batch(corpus.plan, step))
        assert not set(items) & set(range(ITEMS, 2 * ITEMS))
        np.testing.assert_array_equal(items, distinct_of(make_batch(after.plan, step)))
    assert corpus.facts["leaks"]["music"]["source_events_after_target_test_cut"] is None


def test_the_rule_of_selection():
    films, music, books = shop("films", 150), shop("music", 50), shop("books", 40)
    zero = {"target_fraction": 0.0}
    assert protocol_of(films, music, books).selection.validator == "target_valid_ndcg@10"
    assert protocol_of(films, music, books, target_fraction=0.5).selection.users.sum() == 20
    assert protocol_of(films, books, **zero).selection.validator == "last_step"
    assert protocol_of(films, books, **zero).left_out is None
    assert protocol_of(films, music, books, **zero).left_out == 0  # music has too few users for a score
    assert protocol_of(shop("a", 20), shop("b", 30), books, **zero).left_out == 1  # none has enough: the most
    assert protocol_of(films, music, books, selection="music", **zero).left_out == 1
    assert protocol_of(films, music, books, selection="last_step", **zero).left_out is None
    assert protocol_of(films, music, books, selection="music").selection.domain == 1
    assert ENOUGH_USERS == 100
    with pytest.raises(ValueError, match=r"'nowhere' is neither auto nor last_step nor a source \(films, music\)"):
        protocol_of(films, music, books, selection="nowhere")
    with pytest.raises(ValueError, match="'films' leaves out the only source"):
        protocol_of(films, books, selection="films", **zero)


@pytest.mark.parametrize(
    ("regime", "fraction"), [("zero-shot", 0.0), ("few-shot", 0.5), ("full", 1.0)], ids=lambda value: str(value)
)
def test_regimes_have_names(regime, fraction):
    protocol = protocol_of(shop("films", 20), shop("books", 20), target_fraction=fraction)
    assert protocol.regime == regime
    assert protocol.kept.sum() == fraction * 20


def test_nobody_to_evaluate_is_refused_by_name():
    films = shop("films", 20)
    with pytest.raises(
        ValueError, match=r"no users to test on in the target 'books': no user has three events .* has 2\)"
    ):
        protocol_of(films, shop("books", 20, length=2), target_fraction=0.0)
    times = [[n] for n in range(20)]
    with pytest.raises(ValueError, match=r"'books': no user has both an event that falls to test and one before it"):
        protocol_of(domain_of([[0]] * 20, times, name="books"), method="temporal")
    # Twenty users with one training event each would be kept, but the one with a validation event is not among them.
    target = domain_of([[0, 1]] * 20 + [[0, 1, 2, 3]], name="books")
    seed = next(s for s in range(9) if not protocol_of(target, selection="last_step", target_fraction=0.3, split_seed=s).kept[-1])  # fmt: skip # noqa: E501
    with pytest.raises(
        ValueError, match=r"select the step with in 'books': none of the 6 kept users .* last_step takes"
    ):
        protocol_of(target, target_fraction=0.3, split_seed=seed)
    short = shop("music", 30, length=2)
    with pytest.raises(ValueError, match=r"no users to select the step with in 'music': no user has three events"):
        protocol_of(films, short, shop("books", 20), target_fraction=0.0, selection="music")


def test_a_side_that_would_have_no_row_is_refused():
    films, books = shop("films", 20), shop("books", 20)
    with pytest.raises(ValueError, match=r"in the target 'books': none of 20 has two training events \(at most 1"):
        protocol_of(films, shop("books", 20, length=3))
    with pytest.raises(ValueError, match=r"in the source 'films': none of 20 has two .* out of data.sources"):
        protocol_of(shop("films", 20, length=1), books)
    with pytest.raises(ValueError, match=r"target_fraction=0\.02 of 20 training users rounds to 0 users"):
        protocol_of(films, books, target_fraction=0.02)
    with pytest.raises(ValueError, match=r"target_share=1 leaves no row of a batch for the sources"):
        protocol_of(films, books, target_share=1)
    with pytest.raises(ValueError, match=r"target_share=0\.0 leaves no row of a batch for the target"):
        protocol_of(films, books, target_share=0.0)
    assert protocol_of(books, target_share=0.0).regime == "full"  # the target alone fills the batch


def test_zero_shot_popularity_counts_what_the_model_does_not_see(load):
    source, target = shop("films", 40), shop("books", 50, seed=1)
    zero = load(source, target, target_fraction=0.0)
    assert zero.train_counts(1).sum() == 50 * 6
    assert load(source, target, target_fraction=0.5).train_counts(1).sum() == 25 * 6
    assert [case.split for case in zero.report_cases()] == ["valid", "test"]
