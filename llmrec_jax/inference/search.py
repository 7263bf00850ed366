"""Free-text search, and items similar to an item: by text, by purchase, by the trained model.

A text is compared with the rows of the answer's text part: half-whitened vectors of the pretrained encoder, or TF-IDF
vectors without one, and TF-IDF vectors of title and brand.

Shape letters besides those of `types.py`: V features of a channel, J items of the target.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.readers import Fitted
from llmrec_jax.data.domains.records import Item
from llmrec_jax.errors import UserError
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.filters import allowed

By = Literal["text", "purchase", "model"]
BY = ("text", "purchase", "model")
PURCHASE = "co_purchase"  # a part of the answer


def query_scores(catalog: Catalog, query: str, features: Callable[[], np.ndarray]) -> np.ndarray:
    """How similar the text of each item of the target is to a query, float32 [J]; `features` as for `text_scores`.

    0 for an item that shares no word with it, unless the text part also reads an encoder's vectors.
    """
    return text_scores(catalog.query_channels, Item("", query), features)


def text_scores(channels: Sequence[Fitted], item: Item, features: Callable[[], np.ndarray]) -> np.ndarray:
    """How similar the text of each item of the target is to that of `item`, float32 [J].

    Args:
      channels: `Catalog.text_channels` or `query_channels`.
      item: it need not be in the catalogue; a query is an item with a title alone.
      features: its vector of the pretrained encoder, float32 [1, F]; called only if the text part reads it.

    Raises:
      ValueError: the bundle has no text part, because no two texts share a word.
    """
    if not channels:
        raise UserError("this bundle cannot compare texts: no two items of the target share a word")
    return np.sum([channel_scores(fitted, item, features) for fitted in channels], axis=0)


def similar_scores(
    catalog: Catalog, number: int, by: By, features: Callable[[Item], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """How similar each item of the target is to the item `number`: float32 [J], and which are candidates: bool [J].

    Raises ValueError if `by` is none of `BY`, or if texts cannot be compared.
    """
    position = int(catalog.position_I[number])
    candidate_J = allowed(catalog, catalog.target, None, None)
    if position >= 0:
        candidate_J[position] = False
    if by == "text":
        item = catalog.items[number].as_record()
        return text_scores(catalog.text_channels, item, lambda: features(item)), candidate_J
    if by == "purchase":
        scores_J = _purchase_scores(catalog, position)
        return scores_J, candidate_J & (scores_J > 0)
    if by == "model":
        return _cosines(catalog.vectors_ID[catalog.target_J], catalog.vectors_ID[number]), candidate_J
    raise UserError(f"by={by!r}: one of {', '.join(BY)} is expected")


def _purchase_scores(catalog: Catalog, position: int) -> np.ndarray:
    """Zeros if the item is not of the target or has no counts, and for items whose counts are borrowed."""
    total_J = np.zeros(len(catalog.target_J), np.float32)
    for fitted in catalog.channels.get(PURCHASE, []) if position >= 0 else []:
        total_J += fitted.channel.scores([np.array([position])])[0]
    return np.where(catalog.popularity_I[catalog.target_J] > 0, total_J, 0)


def _cosines(vectors_JD: np.ndarray, vector_D: np.ndarray) -> np.ndarray:
    """0 where either vector is zero."""
    norm_J = np.linalg.norm(vectors_JD, axis=1) * np.linalg.norm(vector_D)
    return vectors_JD @ vector_D / np.where(norm_J > 0, norm_J, 1)


def channel_scores(fitted: Fitted, item: Item, features: Callable[[], np.ndarray]) -> np.ndarray:
    """The part of `text_scores` of one channel."""
    channel = fitted.channel
    row_1V, _ = fitted.reader.rows([item], features)
    scores = channel.as_item_IV @ row_1V.T
    scores_J1 = scores.toarray() if scipy.sparse.issparse(scores) else np.asarray(scores)
    return np.float32(channel.scale) * scores_J1[:, 0]
