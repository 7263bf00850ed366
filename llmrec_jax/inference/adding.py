"""Adds items to a catalogue by their text, without training.

Shape letters besides those of `types.py`: Q items added.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from llmrec_jax.baselines.channel import Channel
from llmrec_jax.baselines.readers import Fitted
from llmrec_jax.data.domains.records import Item, item_text
from llmrec_jax.inference.bundle import BundleItem, TextConfig
from llmrec_jax.inference.catalog import Catalog


class TextEncoder(Protocol):
    """The part of `network.Network` that reads texts."""

    @property
    def reads_text(self) -> bool:
        """Whether the model does."""

    def item_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [Q, D]."""

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
    vectors_QD = np.zeros((len(items), catalog.vectors_ID.shape[1]), np.float32)
    if network.reads_text:
        vectors_QD = network.item_vectors(texts)
    features = functools.cache(lambda: network.text_features(texts))  # several channels read them
    channels = {name: _grown(part, records, features) for name, part in catalog.channels.items()}
    return catalog.with_items(items, vectors_QD, channels)


def _grown(part: Sequence[Fitted], records: Sequence[Item], features: Callable[[], np.ndarray]) -> list[Fitted]:
    """The channels of a part with additional items. Those that share tables go on sharing them."""
    found: list[Fitted] = []
    first: dict[tuple[int, int], Channel] = {}
    for fitted in part:
        tables = id(fitted.channel.as_history_IV), id(fitted.channel.as_item_IV)
        if tables in first:
            both = {"as_history_IV": first[tables].as_history_IV, "as_item_IV": first[tables].as_item_IV}
            found.append(fitted._replace(channel=dataclasses.replace(fitted.channel, **both)))
        else:
            found.append(fitted.with_items(records, features))
            first[tables] = found[-1].channel
    return found
