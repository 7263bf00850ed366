"""Why an item has its score: by part, by item of the history, by word of the item's text.

Parts are exact. An item of the history has the difference of the score with and without it. So has a word.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from llmrec_jax.data.domains.records import TEXT_FIELDS, WORD, Item
from llmrec_jax.inference.scoring import History, Scorer


def by_history(scorer: Scorer, history: History, position: int) -> list[float]:
    """How much lower the score of an item of the target is without each event of the history."""
    kept = [np.delete(np.arange(len(history.numbers)), n) for n in range(len(history.numbers))]
    without = [History(history.numbers[rows], None if history.times is None else history.times[rows]) for rows in kept]
    parts = scorer.parts([history, *without], scorer.catalog.target, np.array([], np.int64))
    scores_N = np.sum([scores_NJ[:, position] for scores_NJ in parts.values()], axis=0)
    return [float(scores_N[0] - score) for score in scores_N[1:]]


def by_word(item: Item, scores: Callable[[Sequence[Item]], np.ndarray]) -> list[tuple[str, float]]:
    """How much lower the score is without each word of the item's fields. `scores` scores items by their texts."""
    words, variants = [], []
    for field in TEXT_FIELDS:
        text = getattr(item, field) or ""
        for match in WORD.finditer(text):
            words.append(match.group())
            variants.append(msgspec.structs.replace(item, **{field: text[: match.start()] + text[match.end() :]}))
    scores_N = scores([item, *variants])
    return [(word, float(scores_N[0] - score)) for word, score in zip(words, scores_N[1:], strict=True)]
