"""The calibration recovers planted probabilities and does not fall."""

import numpy as np

from llmrec_jax.blend import Blend, Part
from llmrec_jax.blend import calibration as calibration_lib
from llmrec_jax.blend.calibration import fit_calibration

ITEMS, USERS = 60, 4000


def planted(seed):
    """Scores, and events that are drawn from a softmax over the scores of the items outside the history."""
    rng = np.random.default_rng(seed)
    scores_NI = rng.gumbel(size=(USERS, ITEMS)).astype(np.float32)
    histories = [rng.choice(ITEMS, 3, replace=False) for _ in range(USERS)]
    odds_NI = np.exp(2 * scores_NI.astype(np.float64))
    for row, history in enumerate(histories):
        odds_NI[row, history] = 0
    chance_NI = odds_NI / odds_NI.sum(axis=1, keepdims=True)
    target_N = np.array([rng.choice(ITEMS, p=row) for row in chance_NI])
    return scores_NI, histories, target_N, chance_NI


def blend_of(scores_NI):
    """Half of the score from each of two parts; the rows come in order."""
    place = iter(range(0, USERS))

    def scores(histories):
        rows = [next(place) for _ in histories]
        return scores_NI[rows]

    return Blend(
        ITEMS, (Part("a", scores), Part("b", lambda h: np.zeros((len(h), ITEMS), np.float32))), {"a": 9, "b": 9}
    )


def test_planted_probabilities_are_recovered(monkeypatch):
    monkeypatch.setattr(calibration_lib, "SCORES", 500 * ITEMS)  # several blocks
    scores_NI, histories, target_N, chance_NI = planted(0)
    found = fit_calibration([(blend_of(scores_NI), histories, target_N)], {"a": 2.0, "b": 1.0})
    assert (np.diff(found.probability_B) >= 0).all()
    assert (np.diff(found.score_B) > 0).all()
    fresh_NI, histories, _, chance_NI = planted(1)
    mine_NI = found(2.0 * fresh_NI)
    for row, history in enumerate(histories):
        mine_NI[row, history] = 0
    assert abs(mine_NI.sum(axis=1).mean() - 1) < 0.03
    order = np.argsort(mine_NI, axis=None)
    for group in np.array_split(order, 20)[-4:]:  # expected calibration error, of the highest
        mine, true = mine_NI.ravel()[group].mean(), chance_NI.ravel()[group].mean()
        assert abs(mine - true) < 0.1 * true + 0.002


def test_few_users_give_no_map():
    scores_NI, histories, target_N, _ = planted(0)
    few = [(blend_of(scores_NI), histories[:99], target_N[:99])]
    assert fit_calibration(few, {"a": 1.0, "b": 1.0}) is None
