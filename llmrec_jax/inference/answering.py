"""Recommends for a batch of histories: selects the candidates, scores them, returns the best.

Shape letters besides those of `types.py`: N histories, J items of the shelf.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.inference.arguments import as_count, as_ids, as_share, as_times
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.filters import Where, allowed
from llmrec_jax.inference.ranking import best, diverse, with_new
from llmrec_jax.inference.results import Recommendation, Recommendations
from llmrec_jax.inference.scoring import History, Scorer

BLOCK = 2**22  # scores of a part in memory at a time


class Options(TypedDict, total=False):
    """What can be asked for; see `Recommender.recommend`."""

    disliked: Sequence[str]
    where: Where | None
    among: Iterable[str] | None
    seen: bool
    diversity: float
    new: int
    explain: bool
    shop: str | None


class Asked(NamedTuple):
    """A history, or a list of disliked items, as it was given, and its known items."""

    history: History
    num_ids: int
    unknown: list[str]


def read_history(
    catalog: Catalog, history: Sequence[str], times: Sequence[float] | None, name: str = "history"
) -> Asked:
    """The known items of a history, the argument `name`. Raises ValueError if ids or times are invalid."""
    ids = as_ids(history, catalog.number, name)
    number_S = np.array([catalog.number.get(item_id, -1) for item_id in ids], np.int64)
    is_known_S = number_S >= 0
    times_S = None if times is None else as_times(times, len(ids))[is_known_S]
    return Asked(History(number_S[is_known_S], times_S), len(ids), [ids[n] for n in np.flatnonzero(~is_known_S)])


def answers(
    scorer: Scorer,
    asked: Sequence[Asked],
    k: int,
    *,
    disliked: Sequence[str] = (),
    where: Where | None = None,
    among: Iterable[str] | None = None,
    seen: bool = False,
    diversity: float = 0.0,
    new: int = 0,
    explain: bool = False,
    shop: str | None = None,
) -> list[Recommendations]:
    """Recommendations for each history, computed for a block of histories at a time.

    Raises:
      ValueError: an argument is invalid, or a score is not finite.
    """
    catalog, k, diversity = scorer.catalog, as_count(k), as_share(diversity, "diversity")
    new = min(as_count(new, "new"), k) if new else 0
    shop = catalog.target if shop is None else shop
    if shop not in catalog.shops:
        raise UserError(f"shop={shop!r}: not a domain of this bundle; it has {', '.join(catalog.shops)}")
    avoided, num_avoided, not_found = read_history(catalog, disliked, None, "disliked")
    is_plain = where is None and among is None and not (num_avoided or seen or diversity or new or explain)
    has_index = scorer.nearest is not None and scorer.nearest.catalog is catalog and shop == catalog.target
    if is_plain and has_index and all(len(scorer.own(one.history)) for one in asked):
        return [_approximate(scorer, one, k) for one in asked]
    shelf_J, allowed_J = catalog.shelf(shop), allowed(catalog, shop, where, among)
    vectors_JD = catalog.vectors_ID[shelf_J] if diversity else np.zeros((len(shelf_J), 0), np.float32)
    place_I = catalog.places(shop)
    allowed_J[_places(place_I, avoided.numbers)] = False
    found: list[Recommendations] = []
    size = max(1, BLOCK // max(1, len(shelf_J)))
    for start in range(0, len(asked), size):
        block = asked[start : start + size]
        parts = scorer.parts([one.history for one in block], shop, avoided.numbers)
        scores_NJ = np.zeros((len(block), len(shelf_J)), np.float32)
        for scores_of_part_NJ in parts.values():
            scores_NJ += scores_of_part_NJ
        if not np.isfinite(scores_NJ).all():
            raise UserError(f"{(~np.isfinite(scores_NJ)).sum()} scores are not finite; the bundle is damaged")
        for n, (history, _, unknown) in enumerate(block):
            candidate_J = allowed_J.copy()
            if not seen:
                candidate_J[_places(place_I, history.numbers)] = False
            top = diverse(scores_NJ[n], candidate_J, k, vectors_JD, diversity)
            if new:
                top = with_new(top, scores_NJ[n], candidate_J & catalog.is_new_I[shelf_J], k, new)
            shares = [scorer.shares(parts, n, j, history) for j in top] if explain else None
            is_fallback = not len(history.numbers)
            one = recommendations(catalog, shelf_J, scores_NJ[n], top, unknown + not_found, is_fallback, shares)
            if scorer.calibration and shop == catalog.target and not len(avoided.numbers) and len(scorer.own(history)):
                one.probabilities = scorer.calibration(scores_NJ[n][top]).tolist()
            found.append(one)
    return found


def _approximate(scorer: Scorer, asked: Asked, k: int) -> Recommendations:
    """The answer for one history with items of the target and no options, from the candidates of the index."""
    catalog, history = scorer.catalog, asked.history
    assert scorer.nearest is not None
    positions_C, parts = scorer.nearest.candidates(scorer, history, k)
    numbers_C = catalog.target_J[positions_C]
    allowed_C = catalog.is_offered_I[numbers_C] & ~np.isin(numbers_C, history.numbers)
    scores_C = np.sum(list(parts.values()), axis=0)
    top = best(scores_C, allowed_C, k)
    found = recommendations(catalog, numbers_C, scores_C, top, asked.unknown)
    found.probabilities = scorer.calibration(scores_C[top]).tolist() if scorer.calibration else None
    return found


def recommendations(
    catalog: Catalog,
    shelf_J: np.ndarray,
    scores_J: np.ndarray,
    top: np.ndarray,
    unknown: Sequence[str] = (),
    fallback: bool = False,
    shares: list[dict[str, float]] | None = None,
) -> Recommendations:
    """The items at the positions `top` of a shelf, in this order."""
    items = [catalog.items[shelf_J[j]] for j in top]
    found = [Recommendation(item.item_id, float(scores_J[j]), item.title) for j, item in zip(top, items, strict=True)]
    return Recommendations(found, unknown=unknown, fallback=fallback, parts=shares)


def warn_of_unknown(unknown: Sequence[str], num_ids: int, answer: str, stacklevel: int) -> None:
    """Name the unknown ones among `num_ids` ids in a warning; `answer` says what follows, if anything."""
    if unknown:
        some = ", ".join(item_id if item_id.isprintable() else ascii(item_id) for item_id in unknown[:5])
        warnings.warn(f"{len(unknown)} of {num_ids} items are unknown: {some}{answer}", stacklevel=stacklevel + 1)


def _places(place_I: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The positions on the shelf of the items that are on it."""
    places = place_I[numbers]
    return places[places >= 0]
