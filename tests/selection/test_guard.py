"""The guard: noise never replaces the default, a clear gain does, and the worst set of evidence decides."""

import numpy as np
import pytest

from llmrec_jax.evaluate.verdict import FEWEST_USERS, ndcg
from llmrec_jax.selection import decide

DEFAULT = "text_knn"


def arm(rng, hit_rate, num_users):
    """NDCG@10 of users who find their item in the list with the given probability."""
    rank = np.where(rng.uniform(size=num_users) < hit_rate, rng.integers(1, 11, num_users), 1000)
    return ndcg(rank)


@pytest.mark.parametrize(("num_users", "hit_rate"), [(100, 0.1), (400, 0.05)])
def test_noise_replaces_the_default_in_less_than_5_percent(monkeypatch, num_users, hit_rate):
    monkeypatch.setattr("llmrec_jax.evaluate.verdict.RESAMPLES", 1000)
    replaced, trials = 0, 300
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        arms = {name: arm(rng, hit_rate, num_users) for name in (DEFAULT, "source", "adapted", "target")}
        replaced += decide({"valid": arms}).arm != DEFAULT
    assert replaced / trials < 0.05


def test_the_best_of_many_tried_candidates_is_held_to_more(monkeypatch):
    """Ten candidates that only differ by chance; the arm is the best of them on the same users."""
    monkeypatch.setattr("llmrec_jax.evaluate.verdict.RESAMPLES", 1000)
    replaced, trials = {0: 0, 10: 0}, 60
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        best = max((arm(rng, 0.1, 300) for _ in range(10)), key=np.mean)
        default = arm(rng, 0.1, 300)
        for tried in replaced:
            replaced[tried] += decide({"valid": {DEFAULT: default, "adapted": best}}, tried=tried).arm != DEFAULT
    assert replaced[10] / trials < 0.05 < replaced[0] / trials


def test_a_clear_gain_replaces_the_default():
    rng = np.random.default_rng(0)
    arms = {DEFAULT: arm(rng, 0.1, 1000), "worse": arm(rng, 0.05, 1000), "better": arm(rng, 0.3, 1000)}
    decision = decide({"beauty, left out": arms})
    assert (decision.arm, decision.default, decision.unguarded) == ("better", DEFAULT, "better")
    assert decision.without_guard is None
    assert decision.shortfall == 0
    assert decision.confidence == 0.975
    worse, better = decision.comparisons
    assert (worse.arm, worse.is_better, better.is_better) == ("worse", False, True)
    assert better.difference == pytest.approx(arms["better"].mean() - arms[DEFAULT].mean())
    assert better.interval[0] < better.difference < better.interval[1]
    assert "better is chosen over text_knn: NDCG@10 better 0." in decision.text
    assert "on beauty, left out: difference +0.1" in decision.text
    assert "Without the guard, better would be chosen, too" in decision.text


def test_of_several_better_arms_the_best_is_taken():
    rng = np.random.default_rng(0)
    rates = {DEFAULT: 0.1, "good": 0.3, "best": 0.5}
    arms = {name: arm(rng, rate, 1000) for name, rate in rates.items()}
    assert decide({"valid": arms}).arm == "best"


def test_a_more_complex_arm_has_to_be_better_than_the_simpler_one_that_is_kept(monkeypatch):
    """Both arms are clearly better than the default, and the second a little better than the first."""
    monkeypatch.setattr("llmrec_jax.evaluate.verdict.RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    source = arm(rng, 0.3, 1000)
    adapted = source + 0.01 * rng.standard_normal(1000)
    arms = {DEFAULT: arm(rng, 0.1, 1000), "source": source, "adapted": adapted + 0.0005 - (adapted - source).mean()}
    decision = decide({"valid": arms})
    assert (decision.arm, decision.unguarded) == ("source", "adapted")
    assert [comparison.is_better for comparison in decision.comparisons] == [True, True]
    assert [(test.arm, test.against, test.is_better) for test in decision.tests] == [
        ("source", DEFAULT, True),
        ("adapted", "source", False),
    ]
    assert "source is chosen over text_knn: NDCG@10 source 0." in decision.text
    assert "Without the guard, adapted would be chosen: NDCG@10 adapted 0." in decision.text
    # A source model that is not better than the default does not stand in the way of an adapted one.
    arms["source"] = arms[DEFAULT] + 0.01 * rng.standard_normal(1000)
    decision = decide({"valid": arms})
    assert (decision.arm, decision.tests[1].against) == ("adapted", DEFAULT)


def test_the_loss_that_the_guard_prevents_is_given():
    """One arm is better everywhere; another has the highest mean but is worse on one source."""
    rng = np.random.default_rng(0)
    safe = {name: {DEFAULT: arm(rng, 0.1, 1000), "safe": arm(rng, 0.2, 1000)} for name in ("beauty", "books")}
    safe["beauty"]["bold"], safe["books"]["bold"] = arm(rng, 0.7, 1000), arm(rng, 0.05, 1000)
    decision = decide(safe)
    assert (decision.arm, decision.unguarded, decision.without_guard.evidence) == ("safe", "bold", "books")
    assert "Without the guard, bold would be chosen: NDCG@10 bold 0.0" in decision.text


def test_an_arm_that_hurts_one_source_is_not_taken():
    """The guard prevents the loss that the mean over the sources hides."""
    rng = np.random.default_rng(0)
    helped = {DEFAULT: arm(rng, 0.1, 1000), "adapted": arm(rng, 0.6, 1000)}
    hurt = {DEFAULT: arm(rng, 0.3, 1000), "adapted": arm(rng, 0.1, 1000)}
    assert decide({"beauty": helped}).arm == "adapted"
    decision = decide({"beauty": helped, "books": hurt})
    assert (decision.arm, decision.unguarded) == (DEFAULT, "adapted")
    assert decision.comparisons[0].evidence == "books"
    loss = decision.without_guard
    assert (loss.arm, loss.against, loss.evidence) == ("adapted", DEFAULT, "books")
    assert loss.interval[1] < 0
    assert decision.shortfall > 0.2  # it would have gained this much on beauty
    assert "text_knn is kept: no other arm is significantly better: NDCG@10 adapted 0." in decision.text
    assert "on books, the worst of 2 sets: difference -0." in decision.text
    assert decision.text.endswith("Without the guard, adapted would be chosen")


def test_a_few_users_decide_nothing():
    default = np.zeros(1000)
    better = default.copy()
    better[: FEWEST_USERS - 1] = 1
    decision = decide({"valid": {DEFAULT: default, "adapted": better}})
    assert decision.comparisons[0].interval[0] > 0
    assert decision.arm == DEFAULT
    assert "19 of them with a difference, too few for a conclusion" in decision.text
    better[FEWEST_USERS - 1] = 1
    assert decide({"valid": {DEFAULT: default, "adapted": better}}).arm == "adapted"


def test_the_arm_without_a_guard_can_be_named():
    rng = np.random.default_rng(0)
    arms = {DEFAULT: arm(rng, 0.2, 500), "adapted": arm(rng, 0.1, 500)}
    decision = decide({"valid": arms}, unguarded="adapted")
    assert decision.without_guard.difference == pytest.approx(arms["adapted"].mean() - arms[DEFAULT].mean())
    with pytest.raises(ValueError, match="'dann' is not one of the arms text_knn, adapted"):
        decide({"valid": arms}, unguarded="dann")


def test_one_arm_is_kept():
    decision = decide({"valid": {DEFAULT: np.ones(5)}})
    assert (decision.arm, decision.comparisons, decision.shortfall) == (DEFAULT, (), 0)
    assert decision.text == "text_knn is kept: there is no other arm"


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({}, "at least one set of users"),
        ({"valid": {}}, "at least one set of users"),
        ({"a": {DEFAULT: np.ones(3)}, "b": {"adapted": np.ones(3)}}, "b has the arms adapted; expected text_knn"),
        ({"a": {DEFAULT: np.ones(3), "adapted": np.ones(4)}}, "a: every arm needs the NDCG@10 of the same users"),
        ({"a": {DEFAULT: np.ones(0)}}, "at least one"),
        ({"a": {DEFAULT: np.ones(2), "adapted": np.array([0, np.nan])}}, "a: NaN or infinite NDCG@10 of adapted"),
    ],
)
def test_wrong_evidence_is_refused(evidence, message):
    with pytest.raises(ValueError, match=message):
        decide(evidence)
