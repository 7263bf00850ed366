"""The untrained parts of the answer: sums of channels with fixed weights.

    text          similarity of the text to the last items, by words and by encoder vectors
    structure     the next volume of a series, the same platform or year in the title
    graph         common facts of the knowledge graph, such as a director or a genre
    co_purchase   co-occurrence with the last items in histories
    popularity    recent number of events

The weights below are the same for every shop and for any amount of data. They were chosen by the mean log NDCG@10 on
validation events of five shops (scientific, beauty, video_games, movies, books), without training data of the shop and
with all of it, and rounded: most can change by a third at a cost below 1 %.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.baselines.channel import Channel
from llmrec_jax.baselines.co_purchase import IN_ORDER, WITHOUT_ORDER, co_purchase_rows, popularity_rows
from llmrec_jax.baselines.readers import Fitted, Rows
from llmrec_jax.baselines.structure import facet_rows, series_rows
from llmrec_jax.baselines.text_channels import encoder_rows, tfidf_rows
from llmrec_jax.data.domains.records import Item


class Use(NamedTuple):
    """How a channel reads a history, and the weight of its score."""

    num_last: int
    decay: float
    weight: float


RECENT, LONG = (5, 0.65), (20, 0.9)  # items and decay
TEXT = (Use(*RECENT, 0.8), Use(*LONG, 0.4))  # of the encoder, or of TF-IDF of the whole text
TITLE_AND_BRAND = (Use(*RECENT, 0.6),)  # exact words, which an encoder blurs
SERIES = (Use(*RECENT, 2.0),)  # above any text similarity, which is about 1 for a near neighbour
FACET = (Use(*LONG, 0.8),)
FACTS = (Use(*RECENT, 0.4), Use(*LONG, 0.4))
GRAPH = "graph"  # the part that starts at weight 0
CO_PURCHASE = (Use(10, 0.65, 80.0),)  # a pair bought once is below 0.05 (`EVIDENCE`, `PRIOR`), then 4 in the score
CO_PURCHASE_WITHOUT_ORDER = (Use(50, 1.0, 80.0),)
POPULARITY = (Use(1, 1.0, 0.3),)


def text_channels(items: Sequence[Item], features_IF: np.ndarray | None) -> dict[str, list[Fitted]]:
    """The channels of the parts `text`, `structure` and `graph`; channels that the texts do not allow are left out.

    Args:
      items: the catalogue.
      features_IF: text vectors of a pretrained encoder; None: TF-IDF of the whole text instead.

    Returns:
      Channels by part, without parts that have none.
    """
    whole = tfidf_rows(items, "whole_text") if features_IF is None else encoder_rows(features_IF)
    parts = {
        "text": [
            *_channels("text", whole, TEXT, "l2"),
            *_channels("title_and_brand", tfidf_rows(items, "title_and_brand"), TITLE_AND_BRAND, "l2"),
        ],
        "structure": [
            *_channels("series", series_rows(items), SERIES, "sum"),
            *_channels("facet", facet_rows(items), FACET, "sum"),
        ],
        GRAPH: _channels("facts", tfidf_rows(items, "facts"), FACTS, "l2"),
    }
    return {name: channels for name, channels in parts.items() if channels}


def counting_channels(
    items_E: np.ndarray, users_E: np.ndarray, num_items: int, *, is_ordered: bool = True
) -> dict[str, list[Fitted]]:
    """The channels of the parts `co_purchase` and `popularity`, from events that the regime may see.

    Args:
      items_E: item numbers, users end to end, each user's oldest first.
      users_E: the user of each event, in ascending order.
      num_items: number of items, I.
      is_ordered: whether the order of a user's events means anything; if not, all of them count alike.
    """
    rule, use = (IN_ORDER, CO_PURCHASE) if is_ordered else (WITHOUT_ORDER, CO_PURCHASE_WITHOUT_ORDER)
    popular = popularity_rows(items_E, users_E, num_items, *(() if is_ordered else (1.0,)))
    return {
        "co_purchase": _channels("co_purchase", co_purchase_rows(items_E, users_E, num_items, rule), use, "sum"),
        "popularity": _channels("popularity", popular, POPULARITY, "sum"),
    }


def _channels(name: str, rows: Rows | None, uses: Sequence[Use], normalize: Literal["l2", "sum"]) -> list[Fitted]:
    """A channel for each way in which the history is read; none without rows."""
    if rows is None:
        return []
    return [
        Fitted(
            Channel(name if n == 0 else f"{name}_long", rows.as_history_IV, rows.as_item_IV, use.decay, use.num_last,
                    normalize, use.weight * rows.unit),
            rows.reader,
        )
        for n, use in enumerate(uses)
    ]  # fmt: skip
