"""Choice, regret and rank correlation."""

import pytest

from llmrec_jax.selection import Candidate, choose, default_validator, judge, regret, spearman

CANDIDATES = [
    Candidate("none", {"left_out_source": 0.3, "snd": 2.0}),
    Candidate("coral", {"left_out_source": 0.3, "snd": 1.0}),
    Candidate("dann", {"snd": 3.0}),
]
TEST = {"none": 0.10, "coral": 0.12, "dann": 0.06}


def test_of_equal_scores_the_first_wins_and_the_unscored_are_named():
    choice = choose(CANDIDATES, "left_out_source")
    assert choice == ("none", "left_out_source", 0.3, ("dann",))
    assert choose(CANDIDATES, "snd") == ("dann", "snd", 3.0, ())


def test_a_score_that_is_not_finite_is_not_chosen():
    assert choose([*CANDIDATES, Candidate("nan", {"snd": float("nan")})], "snd").without_score == ("nan",)


def test_what_cannot_be_chosen_is_said():
    with pytest.raises(ValueError, match="'bnm' gives no candidate a score; there are scores by left_out_source, snd"):
        choose(CANDIDATES, "bnm")
    with pytest.raises(ValueError, match="same name: none, none"):
        choose([CANDIDATES[0], CANDIDATES[0]], "snd")


def test_the_default_is_a_left_out_source_where_there_is_one():
    assert default_validator(CANDIDATES) == "left_out_source"
    assert default_validator([Candidate("a", {"source_risk": 0.0, "bnm": 0.1})]) == "bnm"
    with pytest.raises(ValueError, match="no candidate has a score"):
        default_validator([Candidate("a", {"snd": 1.0})])


def test_regret_and_correlation():
    assert regret("none", TEST) == pytest.approx(0.02)
    assert regret("coral", TEST) == 0
    assert spearman({"none": 2, "coral": 3, "dann": 1}, TEST) == 1
    assert spearman({"none": 2, "coral": 1, "dann": 3}, TEST) == -1
    assert spearman({"none": 2, "coral": 3}, TEST) is None
    assert spearman({"none": 2, "coral": 2, "dann": 2}, TEST) is None


def test_judge_says_how_each_validator_would_have_done():
    judged = judge(CANDIDATES, TEST)
    assert list(judged) == ["left_out_source", "snd"]
    assert judged["left_out_source"]["worse_than_first"] is False
    assert judged["snd"] == {
        "chosen": "dann",
        "regret": pytest.approx(0.06),
        "spearman": -1.0,
        "worse_than_first": True,
    }
