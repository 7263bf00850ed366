"""Adds items to a catalogue by their text, without training. Counts are borrowed from items with similar texts.

Shape letters besides those of `types.py`: Q items added, J items of the target.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from llmrec_jax.baselines.borrowed import with_borrowed_counts
from llmrec_jax.baselines.channel import Matrix
from llmrec_jax.baselines.readers import Fitted
from llmrec_jax.data.domains.records import Item, item_text
from llmrec_jax.inference.bundle import BundleItem, TextConfig
from llmrec_jax.inference.catalog import Catalog


class TextEncoder(Protocol):
    """The part of `network.Network` that reads texts."""

    @property
    def reads_text(self) -> bool:
        """Whether the model does."""

    def item_vectors(self, texts: Sequence[str], features: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """float32 [Q, D]; `features` gives `text_features(texts)`, computed once for both."""

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [Q, F]."""


def text_of(item: Item, template: TextConfig) -> str:
    """The text of an item that the model reads."""
    facts = item.facts if template.graph_text else ()
    fields = template.text_fields, template.description_chars
    return item_text(item.title, item.category, item.brand, item.description, *fields, facts)


def with_new_items(
    catalog: Catalog, items: Sequence[BundleItem], network: TextEncoder, template: TextConfig
) -> Catalog:
    """The catalogue with these items of the target. A model that reads no text gives them no vector."""
    records = [item.as_record() for item in items]
    texts = [text_of(record, template) for record in records]
    features = functools.cache(lambda: network.text_features(texts))  # several channels read them
    vectors_QD = np.zeros((len(items), catalog.vectors_ID.shape[1]), np.float32)
    if network.reads_text:
        vectors_QD = network.item_vectors(texts, features)
    tables: dict[int, Matrix] = {}  # grown, by the identity of the table before: channels go on sharing them

    def grown(fitted: Fitted) -> Fitted:
        old, new = fitted.channel, fitted.with_items(records, features).channel
        history_IV = tables.setdefault(id(old.as_history_IV), new.as_history_IV)
        item_IV = None if old.as_item_IV is None else tables.setdefault(id(old.as_item_IV), new.as_item_IV)
        return fitted._replace(channel=dataclasses.replace(new, as_history_IV=history_IV, as_item_IV=item_IV))

    channels = {name: [grown(fitted) for fitted in part] for name, part in catalog.channels.items()}
    is_counted_J = np.zeros(len(catalog.target_J) + len(items), bool)
    is_counted_J[: len(catalog.target_J)] = catalog.popularity_I[catalog.target_J] > 0
    channels = with_borrowed_counts(channels, len(catalog.target_J) + np.arange(len(items)), is_counted_J)
    return catalog.with_items(items, vectors_QD, channels)
