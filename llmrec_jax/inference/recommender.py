"""The `Recommender`: a bundle, loaded, that answers. One CPU is enough; no data folder, no optimizer.

Shape letters beside those of `types.py`: Q texts asked for.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx, traverse_util

from llmrec_jax.data.domains.records import Item, check_item, item_text
from llmrec_jax.data.texts.tokenizer import encode, load_tokenizer
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.model_predictor import last_items
from llmrec_jax.inference.bundle import Bundle, BundleItem, load
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.rec_model import RecModel
from llmrec_jax.train.features import encode_texts

Recommendation = tuple[str, float, str]  # item id, score, title


class Recommender:
    """Recommends items of the bundle's target domain.

    A history may name items of every domain the model was trained on: taste shown in one shop counts in the other. An
    id that two domains share means the target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        self._bundle = bundle
        self._items = list(bundle.items)
        self._vectors_ID = bundle.extras["item_vectors"]
        self._popularity_I = bundle.extras["popularity"]
        self._graphdef = _graphdef(bundle)
        self._number = {item.item_id: number for number, item in reversed(list(enumerate(self._items)))}
        self._number |= {item.item_id: n for n, item in enumerate(self._items) if item.domain == bundle.target}

    @classmethod
    def load(cls, bundle: str | Path) -> "Recommender":
        """Load the folder that a run left. Raises ValueError where it is none."""
        return cls(load(Path(bundle)))

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that the recommender does not know."""
        return [item_id for item_id in history if item_id not in self._number]

    def recommend(self, history: Sequence[str], k: int = 10) -> list[Recommendation]:
        """The `k` best items for a history (oldest first), without those in it: `[(item_id, score, title), ...]`.

        A score is a cosine in [-1, 1]. Unknown ids are warned of and left out. Where nothing known is left (an empty
        history too), the most popular items come, scored by their share of the training events.

        Raises:
          ValueError: `k` is below 1, or the model gives scores that are not finite.
        """
        if k < 1:
            raise UserError(f"k={k}: ask for at least one item")
        if unknown := self.unknown(history):
            warnings.warn(f"{len(unknown)} of {len(history)} items are unknown: {', '.join(unknown[:5])}", stacklevel=2)
        numbers = np.array([self._number[item_id] for item_id in history if item_id in self._number], np.int32)
        if len(numbers):
            scores_I = self._vectors_ID @ self._user_vector(numbers)
        else:
            scores_I = self._popularity_I / max(self._popularity_I.sum(), 1)
        if not np.isfinite(scores_I).all():
            raise UserError(f"{(~np.isfinite(scores_I)).sum()} scores are not finite; the bundle is damaged")
        candidate_I = np.array([item.domain == self._bundle.target for item in self._items])
        candidate_I[numbers] = False
        candidates = np.flatnonzero(candidate_I)
        best = candidates[np.argsort(-scores_I[candidates], kind="stable")[:k]]
        return [(self._items[n].item_id, float(scores_I[n]), self._items[n].title) for n in best]

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that came after the training, known by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`. Nothing is added where one of them is wrong.

        Raises:
          ValueError: a field is missing or of a wrong type, an id is taken; the position in the list is named.
        """
        new: list[Item] = []
        for position, item in enumerate(items):
            try:
                new.append(msgspec.convert(dict(item), Item))
                check_item(new[-1])
            except (ValueError, msgspec.ValidationError) as error:
                raise UserError(f"item {position}: {error}") from error
            if new[-1].item_id in self._number or new[-1].item_id in {other.item_id for other in new[:-1]}:
                raise UserError(f"item {position}: the id {new[-1].item_id!r} is taken")
        template = self._bundle.config.data.text_fields, self._bundle.config.data.description_chars
        vectors_QD = self.encode([item_text(i.title, i.category, i.brand, i.description, *template) for i in new])
        for added in new:
            self._number[added.item_id] = len(self._items)
            self._items.append(BundleItem(added.item_id, added.title, self._bundle.target))
        self._vectors_ID = np.concatenate([self._vectors_ID, vectors_QD])
        self._popularity_I = np.concatenate([self._popularity_I, np.zeros(len(new), self._popularity_I.dtype)])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of free texts, float32 [Q, D] with rows of length one.

        Raises:
          ValueError: the model knows items by id alone.
        """
        bundle = self._bundle
        if bundle.config.model.item_features == "id":
            raise UserError("this model knows items by their id alone; it reads no text")
        if not texts:
            return np.zeros((0, self._vectors_ID.shape[1]), np.float32)
        tokenizer = load_tokenizer(bundle.folder)
        table = encode(tokenizer, texts, bundle.config.data.max_tokens)
        features_QF = encode_texts(self._encoder, table, bundle.config.encoder.pooling)
        if "whitening_mean" in bundle.extras:
            features_QF = Whitening(bundle.extras["whitening_mean"], bundle.extras["whitening_transform"])(features_QF)
        return np.asarray(_item_vectors(bundle.params, features_QF, graphdef=self._graphdef))

    @cached_property
    def _encoder(self) -> Any:
        return from_pretrained(self._bundle.folder / "encoder")

    def _user_vector(self, numbers: np.ndarray) -> np.ndarray:
        history_1S, mask_1S = last_items([numbers], self._bundle.dims.max_history)
        items_1SD = self._vectors_ID[history_1S]
        return np.asarray(_user_vectors(self._bundle.params, items_1SD, mask_1S, graphdef=self._graphdef))[0]


def _graphdef(bundle: Bundle) -> Any:
    """The structure of the model without encoder and discriminator, and the check that the parameters fit it."""
    expected = nnx.eval_shape(
        lambda: RecModel(
            bundle.config.model, bundle.dims, None, discriminator="discriminator" in bundle.params, rngs=nnx.Rngs(0)
        )
    )
    graphdef, state = nnx.split(expected)
    shapes, found = _shapes(nnx.to_pure_dict(state)), _shapes(bundle.params)
    if problems := [
        f"{name}: {shapes.get(name, 'nothing')} expected, {found.get(name, 'nothing')} found"
        for name in sorted(shapes.keys() | found.keys())
        if shapes.get(name) != found.get(name)
    ]:
        path = bundle.folder / "model.safetensors"
        raise UserError("\n  ".join([f"{path}: the parameters do not fit config.json", *problems]))
    return graphdef


def _shapes(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: x.shape for name, x in traverse_util.flatten_dict(params, sep=".").items()}


@partial(jax.jit, static_argnames="graphdef")
def _item_vectors(params: Any, features_QF: jax.Array, *, graphdef: Any) -> jax.Array:
    return nnx.merge(graphdef, params).item_tower(features_QF, None)


@partial(jax.jit, static_argnames="graphdef")
def _user_vectors(params: Any, items_BSD: jax.Array, mask_BS: jax.Array, *, graphdef: Any) -> jax.Array:
    """The user vector after the last item of each history [B, D]."""
    users_BSD = nnx.merge(graphdef, params).user_tower(items_BSD, mask_BS)
    last_B = jnp.maximum(mask_BS.sum(axis=1) - 1, 0)
    return jnp.take_along_axis(users_BSD, last_B[:, None, None], axis=1)[:, 0]
