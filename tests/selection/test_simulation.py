"""Planted shift: what each validator says of a model that adapts, one that does not, and one that has collapsed.

Items and users have latent tastes, and the score of an item is their dot product. The unadapted model reads features
that also carry the domain; on the target they mislead it. The collapsed one gives (almost) the same vector to all.
"""

import numpy as np
import pytest

from llmrec_jax.selection import Candidate, Evidence, choose, judge, sample, scores

USERS, ITEMS, TASTES = 120, 200, 8
NAMES = ("unadapted", "adapted", "collapsed")


def ndcg(users, items, chosen):
    values = users @ items.T
    rank = 1 + np.sum(values > np.take_along_axis(values, chosen[:, None], axis=1), axis=1)
    return np.where(rank <= 10, 1 / np.log2(1 + rank), 0)


def simulate(seed):
    """The evidence of each model, and its NDCG@10 on the target."""
    rng = np.random.default_rng(seed)
    taste_source, taste_target = rng.standard_normal((2, USERS, TASTES))
    source_items, target_items = rng.standard_normal((2, ITEMS, TASTES))
    chosen_source = np.argmax(taste_source @ source_items.T + 2 * rng.standard_normal((USERS, ITEMS)), axis=1)
    chosen_target = np.argmax(taste_target @ target_items.T + 2 * rng.standard_normal((USERS, ITEMS)), axis=1)
    mixing = np.linalg.qr(rng.standard_normal((TASTES, TASTES)))[0]
    cue_source, cue_target = taste_source @ mixing, rng.standard_normal((USERS, TASTES)) + 1
    map_source = np.linalg.lstsq(cue_source, taste_source, rcond=None)[0]
    probe = sample(ITEMS, 40)
    text = taste_target @ target_items[probe].T + rng.standard_normal((USERS, 40))

    def model(source, target, items):
        """Vectors of source users, target users and of the items of both domains."""
        evidence = Evidence(
            source_users_ND=source,
            source_losses_N=1 - ndcg(source, items[0], chosen_source),
            target_users_MD=target,
            source_items_JD=items[0],
            target_items_ID=items[1],
            probe_scores_MK=target @ items[1][probe].T,
            text_scores_MK=text,
            left_out_ndcg=float(ndcg(target[: USERS // 2], items[1], chosen_target[: USERS // 2]).mean()),
        )
        return evidence, float(ndcg(target, items[1], chosen_target).mean())

    noise = 0.3 * rng.standard_normal((2, USERS, TASTES))
    items = (source_items, target_items)
    tiny = [0.01 * rng.standard_normal((rows, TASTES)) for rows in (USERS, USERS, ITEMS, ITEMS)]
    models = (
        model(cue_source @ map_source, 0.3 * taste_target + cue_target @ map_source, items),
        model(taste_source + noise[0], taste_target + noise[1], items),
        model(1 + tiny[0], 1 + tiny[1], (1 + tiny[2], 1 + tiny[3])),
    )
    return dict(zip(NAMES, models, strict=True))


@pytest.fixture(scope="module")
def made():
    return [simulate(seed) for seed in range(2)]


@pytest.fixture(scope="module")
def tables(made):
    return [{name: scores(evidence).values for name, (evidence, _) in models.items()} for models in made]


def test_the_simulation_is_what_it_says(made):
    for models in made:
        test = {name: figure for name, (_, figure) in models.items()}
        assert test["adapted"] > 1.5 * test["unadapted"] > test["collapsed"]


@pytest.mark.parametrize("validator", ["left_out_source", "im", "bnm", "text_agreement"])
def test_these_choose_the_adapted_model(tables, validator):
    for table in tables:
        found = {name: values[validator] for name, values in table.items()}
        assert found["adapted"] > max(found["unadapted"], found["collapsed"]), found


@pytest.mark.parametrize("validator", ["source_risk", "iwv", "dev", "devn", "entropy", "class_ami"])
def test_these_see_that_a_model_has_collapsed(tables, validator):
    for table in tables:
        found = {name: values[validator] for name, values in table.items()}
        assert found["collapsed"] < min(found["unadapted"], found["adapted"]), found


@pytest.mark.parametrize("validator", ["mmd", "a_distance"])
def test_these_see_that_the_domains_differ(tables, validator):
    for table in tables:
        found = {name: values[validator] for name, values in table.items()}
        assert found["unadapted"] < min(found["collapsed"], found["adapted"]) - 0.1, found


@pytest.mark.parametrize("validator", ["diversity", "snd"])
def test_these_take_a_collapsed_model_for_the_best(tables, validator):
    """Why neither is a default. The source risk is the best for the unadapted model, by construction."""
    for table in tables:
        found = {name: values[validator] for name, values in table.items()}
        assert found["collapsed"] > max(found["unadapted"], found["adapted"]), found
        assert table["unadapted"]["source_risk"] > table["adapted"]["source_risk"]


def test_choice_and_regret(made, tables):
    for models, table in zip(made, tables, strict=True):
        candidates = [Candidate(name, table[name]) for name in NAMES]
        test = {name: figure for name, (_, figure) in models.items()}
        assert choose(candidates, "left_out_source").name == "adapted"
        judged = judge(candidates, test)
        assert judged["left_out_source"] == {
            "chosen": "adapted", "regret": 0.0, "spearman": 1.0, "worse_than_first": False
        }  # fmt: skip
        assert judged["source_risk"]["regret"] == pytest.approx(test["adapted"] - test["unadapted"])
        assert judged["snd"]["worse_than_first"]


def test_the_scores_are_deterministic(made, tables):
    evidence = made[0]["adapted"][0]
    assert scores(evidence).values == tables[0]["adapted"]
