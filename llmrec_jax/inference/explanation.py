"""Explains the score of an item for a history: by part, by item of the history, by word of the item's text.

The share of a part is its weighted score. The share of an item of the history is the difference of the scores with and
without it. The share of a word is, for channels of terms (TF-IDF, series, facets), the difference of the scores of the
text with and without it, and for the encoder its integrated gradient (`word_gradients`).

Shape letters besides those of `types.py`: W words of the text.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from llmrec_jax.baselines.readers import TermReader, VectorReader
from llmrec_jax.blend.answer import MODEL
from llmrec_jax.data.domains.records import TEXT_FIELDS, WORD, Item
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import UserError
from llmrec_jax.inference.adding import text_of
from llmrec_jax.inference.bundle import TextConfig
from llmrec_jax.inference.network import Network, Span
from llmrec_jax.inference.results import Explanation
from llmrec_jax.inference.scoring import History, Scorer


def explanation(scorer: Scorer, network: Network, history: History, number: int, template: TextConfig) -> Explanation:
    """Explain the score of an item of the target; its text is formatted by `template`.

    Raises ValueError for an item of another domain.
    """
    catalog, position = scorer.catalog, int(scorer.catalog.position_I[number])
    if position < 0:
        item = catalog.items[number]
        raise UserError(
            f"item_id: {item.item_id!r} is an item of {item.domain!r}: "
            f"only items of {catalog.target!r} can be explained"
        )
    found = scorer.parts([history, *_leave_one_out(history)], catalog.target, np.array([], np.int64))
    parts = scorer.shares(found, 0, position, history)
    scores_N = np.sum([scores_NJ[:, position] for scores_NJ in found.values()], axis=0)
    ids = [catalog.items[n].item_id for n in history.numbers]
    shares = [(item_id, float(scores_N[0] - score)) for item_id, score in zip(ids, scores_N[1:], strict=True)]
    words = word_shares(scorer, network, history, catalog.items[number].as_record(), template) if ids else []
    return Explanation(sum(parts.values()), parts, _largest_first(shares), _largest_first(words))


def word_shares(
    scorer: Scorer, network: Network, history: History, item: Item, template: TextConfig
) -> list[tuple[str, float]]:
    """What each distinct word of an item's text adds to its score, in the order of the text."""
    text = text_of(item, template)
    words = list({match.group().casefold(): match.group() for match in reversed(list(WORD.finditer(text)))}.items())
    number = {key: n for n, (key, _) in enumerate(words)}
    total_W = _term_shares(scorer, history, item, list(number))
    for start, end, share in _gradient_shares(scorer, network, history, text):
        for match in WORD.finditer(text):
            if match.start() < end <= match.end() or start < match.end() <= end:
                total_W[number[match.group().casefold()]] += share
                break
    return [(word, float(share)) for (_, word), share in zip(words, total_W, strict=True)][::-1]


def without_words(item: Item, words: set[str]) -> Item:
    """The item without these words (casefolded) in any field; facts stay."""
    fields = {name: getattr(item, name) for name in TEXT_FIELDS}
    kept = {
        name: WORD.sub(lambda match: "" if match.group().casefold() in words else match.group(), text)
        for name, text in fields.items()
        if text
    }
    return msgspec.structs.replace(item, **kept)


def _term_shares(scorer: Scorer, history: History, item: Item, words: Sequence[str]) -> np.ndarray:
    """Exact differences, of the channels that compare terms [W]."""
    variants = [item, *(without_words(item, {word}) for word in words)]
    total_W, own = np.zeros(len(words)), scorer.own(history)
    for name, part in scorer.catalog.channels.items():
        for channel, reader in part:
            if isinstance(reader, TermReader) and scorer.weights[name] and len(own):
                _, rows_QV = reader.rows(variants, lambda: np.zeros((0, 0)))
                scores_Q = (rows_QV @ channel.profile([own]).T).toarray()[:, 0]
                total_W += scorer.weights[name] * (scores_Q[0] - scores_Q[1:])
    return total_W


def _gradient_shares(scorer: Scorer, network: Network, history: History, text: str) -> list[Span]:
    """Integrated gradients of the tokens, of what an encoder reads."""
    spans: list[Span] = []
    whitening: Whitening | None = None
    direction_F, own = np.zeros(1, np.float32), scorer.own(history)
    for name, part in scorer.catalog.channels.items():
        for channel, reader in part:
            if isinstance(reader, VectorReader) and scorer.weights[name] and len(own):
                whitening = reader.whitening  # one for all channels
                direction_F = direction_F + np.float32(scorer.weights[name]) * channel.profile([own])[0]
    if whitening is not None:
        spans += network.text_gradients(text, whitening, direction_F)
    if network.reads_text and (scorer.weights[MODEL] or not len(own)):
        spans += network.item_gradients(text, scorer.model_direction(history))
    return spans


def _leave_one_out(history: History) -> list[History]:
    rows = [np.delete(np.arange(len(history.numbers)), n) for n in range(len(history.numbers))]
    times_S = history.times
    return [History(history.numbers[kept], None if times_S is None else times_S[kept]) for kept in rows]


def _largest_first(shares: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(shares, key=lambda pair: -pair[1])
