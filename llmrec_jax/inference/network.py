"""The trained network of a bundle on the default device: histories to user vectors, texts to item vectors.

Importing JAX and Flax takes a second, so `recommender` imports this file only when it loads a bundle. No trainer.

Shape letters besides those of `types.py`: Q texts asked for.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx, traverse_util
from tokenizers import Tokenizer

from llmrec_jax.data.texts.tokenizer import TokenTable, encode, load_tokenizer
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import UserError
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.inference.word_gradients import Span, token_shares
from llmrec_jax.models import Bert, Gpt2, from_pretrained
from llmrec_jax.models.encode import Pooling, encode_texts
from llmrec_jax.models.hf_tokenizer import check_vocabulary
from llmrec_jax.models.rec_model import Dimensions, RecModel
from llmrec_jax.predictor import elapsed
from llmrec_jax.progress import muted, shown

TEXT_PART_TOKENS = 64  # tokens per text of the answer's text part, independent of data.max_tokens
FEW_TEXTS = 64


class Network:
    """User tower, item tower and text encoder with a bundle's parameters. Thread-safe."""

    def __init__(self, bundle: Bundle):
        """Raises ValueError if the parameters do not fit the configuration."""
        self._bundle = bundle
        self._dims = _dims(bundle)
        self._params = traverse_util.unflatten_dict(bundle.arrays, sep=".")
        self._structure = _Structure(_graphdef(bundle, self._dims))
        self._text_parts: dict[str, tuple[Bert | Gpt2, Tokenizer]] = {}
        self._lock = threading.Lock()

    @property
    def reads_text(self) -> bool:
        """Whether the trained model reads the texts of items."""
        return self._bundle.model.item_features != "id"

    def user_vectors(self, items: Sequence[np.ndarray], times: Sequence[np.ndarray | None]) -> np.ndarray:
        """The user vectors after histories of item vectors, oldest first, float32 [N, D].

        Args:
          items: an array [S, D] for each history, of which the last `max_history` rows are used.
          times: of the events in seconds, int64 [S], for a model that reads them; None: unknown.
        """
        longest = self._dims.max_history
        size = 1 << max(0, len(items) - 1).bit_length()  # to compile once for each power of two
        items_NSD = np.zeros((size, longest, self._bundle.extras["item_vectors"].shape[1]), np.float32)
        length_N = np.zeros(size, np.int64)
        time_NS = np.full((size, longest), -1, np.int32)
        for row, (items_SD, times_S) in enumerate(zip(items, times, strict=True)):
            recent_SD = items_SD[-longest:]
            length_N[row] = len(recent_SD)
            items_NSD[row, : len(recent_SD)] = recent_SD
            if times_S is not None and len(recent_SD):
                time_NS[row, : len(recent_SD)] = elapsed(times_S[-longest:])
        mask_NS = np.arange(longest)[None] < length_N[:, None]
        users_ND = _user_vectors(self._params, items_NSD, mask_NS, time_NS, structure=self._structure)
        return np.asarray(users_ND)[: len(items)]

    def item_vectors(self, texts: Sequence[str], features: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """Item vectors from texts, as they are scored, float32 [Q, D].

        `features` gives `text_features(texts)`: if the model reads the same vectors, they are not computed again.

        Raises:
          ValueError: the model reads no text, or the bundle was replaced after it was loaded.
        """
        if not self.reads_text:
            raise UserError("this model uses item ids only; it cannot encode text")
        if not texts:
            return np.zeros((0, self._bundle.extras["item_vectors"].shape[1]), np.float32)
        encoder, tokenizer = self._encoder_and_tokenizer()
        max_tokens, pooling = self._bundle.text.max_tokens, self._dims.pooling
        same = (self._text_encoder, TEXT_PART_TOKENS, "mean") == ("encoder", max_tokens, pooling)
        if features is not None and same:
            features_QF = features()
        else:
            features_QF = _encoded(encoder, encode(tokenizer, texts, max_tokens), pooling)
        extras = self._bundle.extras
        if "whitening_mean" in extras:
            features_QF = Whitening(extras["whitening_mean"], extras["whitening_transform"])(features_QF)
        # Padded to a power of two, to compile once for each power instead of each number of items.
        padded_QF = np.resize(features_QF, (1 << (len(texts) - 1).bit_length(), features_QF.shape[1]))
        return np.asarray(_item_vectors(self._params, padded_QF, structure=self._structure))[: len(texts)]

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the encoder that the answer's text part compares, float32 [Q, F].

        Raises ValueError if the bundle was replaced after it was loaded.
        """
        encoder, tokenizer = self._encoder_and_tokenizer(self._text_encoder)
        table = encode(tokenizer, texts, min(TEXT_PART_TOKENS, encoder.config.max_positions))
        return _encoded(encoder, table, "mean")

    def text_gradients(self, text: str, whitening: Whitening, direction_F: np.ndarray) -> list[Span]:
        """Integrated gradients of `direction_F` times the whitened vector of a text that the text part compares."""
        encoder, tokenizer = self._encoder_and_tokenizer(self._text_encoder)
        head = {"mean": whitening.mean_F, "transform": whitening.transform_FF, "direction": direction_F}
        return token_shares(encoder, tokenizer, text, TEXT_PART_TOKENS, "mean", head)

    def item_gradients(self, text: str, direction_D: np.ndarray) -> list[Span]:
        """Integrated gradients of `direction_D` times the vector that the model gives an item of this text."""
        encoder, tokenizer = self._encoder_and_tokenizer()
        head = {"params": self._params, "direction": np.asarray(direction_D, np.float32)}
        if "whitening_mean" in (extras := self._bundle.extras):
            head |= {"mean": extras["whitening_mean"], "transform": extras["whitening_transform"]}
        max_tokens, pooling = self._bundle.text.max_tokens, self._dims.pooling
        return token_shares(encoder, tokenizer, text, max_tokens, pooling, head, self._structure.graphdef)

    @property
    def _text_encoder(self) -> str:
        return "text_encoder" if (self._bundle.folder / "text_encoder").is_dir() else "encoder"

    def _encoder_and_tokenizer(self, name: str = "encoder") -> tuple[Bert | Gpt2, Tokenizer]:
        """Loaded on first use, because recommending from histories needs neither."""
        with self._lock:
            if name not in self._text_parts:
                folder = self._bundle.folder
                self._bundle.check_unchanged()
                encoder, tokenizer = from_pretrained(folder / name), load_tokenizer(folder)
                check_vocabulary(tokenizer, encoder.config.vocab_size, folder)
                self._bundle.check_unchanged()
                self._text_parts[name] = encoder, tokenizer
            return self._text_parts[name]


class _Structure:
    """The structure of a model with its hash, which JAX asks for at each call and which takes milliseconds."""

    def __init__(self, graphdef: Any):
        self.graphdef, self._hash = graphdef, hash(graphdef)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Structure) and self.graphdef == other.graphdef)


def _encoded(encoder: Bert | Gpt2, table: TokenTable, pooling: Pooling) -> np.ndarray:
    """`encode_texts`, with progress unless there are few texts, which take less than a thread that watches them."""
    with muted(len(table) <= FEW_TEXTS), shown("encoding texts", len(table)) as meter:
        return encode_texts(encoder, table, pooling, meter.advance)


def _dims(bundle: Bundle) -> Dimensions:
    try:
        return msgspec.convert(bundle.dims, Dimensions)
    except msgspec.ValidationError as error:
        raise UserError(f"{bundle.folder / 'config.json'}: dims: {error}") from error


def _graphdef(bundle: Bundle, dims: Dimensions) -> Any:
    """The structure of the model without encoder and heads; checks that the parameters fit it."""
    config = dataclasses.replace(bundle.model, compute_dtype="float32")
    expected = nnx.eval_shape(lambda: RecModel(config, dims, None, rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(expected)
    shapes = _shapes(traverse_util.flatten_dict(nnx.to_pure_dict(state), sep="."))
    found = _shapes(bundle.arrays)
    if problems := [
        f"{name}: {shapes.get(name, 'nothing')} expected, {found.get(name, 'nothing')} found"
        for name in sorted(shapes.keys() | found.keys())
        if shapes.get(name) != found.get(name)
    ]:
        path = bundle.folder / "model.safetensors"
        raise UserError("\n  ".join([f"{path}: the parameters do not fit config.json", *problems]))
    return graphdef


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


@partial(jax.jit, static_argnames="structure")
def _item_vectors(params: Any, features_QF: jax.Array, *, structure: _Structure) -> jax.Array:
    return nnx.merge(structure.graphdef, params).encode_new_items(features_QF)


@partial(jax.jit, static_argnames="structure")
def _user_vectors(
    params: Any, items_BSD: jax.Array, mask_BS: jax.Array, time_BS: jax.Array, *, structure: _Structure
) -> jax.Array:
    """The user vector after the last item of each history [B, D]."""
    users_BSD = nnx.merge(structure.graphdef, params).encode_histories(items_BSD, mask_BS, time_RS=time_BS)
    last_B = jnp.maximum(mask_BS.sum(axis=1) - 1, 0)
    return jnp.take_along_axis(users_BSD, last_B[:, None, None], axis=1)[:, 0]
