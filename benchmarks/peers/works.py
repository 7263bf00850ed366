"""Inputs of the comparison, made once and read by both sides: token ids, histories, vectors.

Each work is a dict of NumPy arrays, saved as `WORK.npz`. Texts are those of real domain folders, tokenized for the
pretrained BERT that both sides run.

Shape letters: T tokens of all texts end to end, I items, P pairs of a batch, E events, N users, D width.
"""

from pathlib import Path

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import Corpus, load_corpus
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tokenizer import TokenTable, load_tokenizer

MAX_TOKENS = 128  # of a title; one in a hundred is longer than 80
TEXT_TOKENS = 64  # of a catalogue text, as the k-NN baselines read it
PAIRS, BATCHES = 128, 8  # of the contrastive step; on a GPU, `scale` times as many pairs
HISTORY = 50


def make_works(data_root: str, minilm: Path, cache: Path, folder: Path, scale: int = 1) -> None:
    """Write every work's file into `folder`; the batches of the training steps are `scale` times as large."""
    data = DataConfig(root=data_root, sources=("beauty",), target="scientific", cache_dir=str(cache))
    corpus = load_corpus(data, batch_size=PAIRS, seed=0)
    beauty = load_corpus(DataConfig(root=data_root, sources=(), target="beauty", cache_dir=str(cache)), PAIRS, seed=0)
    tokenizer = load_tokenizer(minilm)
    titles = token_table(corpus.joint.titles, tokenizer, MAX_TOKENS, cache)
    texts = token_table(beauty.joint.texts, tokenizer, TEXT_TOKENS, cache)
    works = {
        "minilm_step": {**_tokens(titles), "pairs_BP2": _co_purchases(corpus, scale * PAIRS)},
        "encode": _tokens(texts),
        "sasrec": _histories(beauty),
        "ranking": _ranking(beauty),
        "gpt2_step": {"ids_BL": np.random.default_rng(0).integers(0, 50257, (16 * scale, 64)).astype(np.int32)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in works.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)


def _tokens(table: TokenTable) -> dict[str, np.ndarray]:
    return {"ids_T": np.asarray(table.ids), "offsets_I": np.asarray(table.offsets)}


def _co_purchases(corpus: Corpus, num_pairs: int) -> np.ndarray:
    """Batches of (item, the next item of the same user), half of them of each domain: int32 [batches, P, 2]."""
    rng = np.random.default_rng(0)
    halves = []
    for domain, split in enumerate(corpus.splits):
        first = np.flatnonzero(np.isin(np.arange(len(split.items_E)), split.train_end - 1, invert=True))
        first = first[first + 1 < len(split.items_E)]
        user_E = np.repeat(np.arange(len(split.offsets) - 1), np.diff(split.offsets))
        first = first[(user_E[first] == user_E[first + 1]) & (first + 1 < split.train_end[user_E[first]])]
        picked = rng.choice(first, (BATCHES, num_pairs // 2), replace=False)
        halves.append(
            np.stack([split.items_E[picked], split.items_E[picked + 1]], axis=-1) + corpus.items(domain).start
        )
    return np.concatenate(halves, axis=1).astype(np.int32)


def _histories(corpus: Corpus) -> dict[str, np.ndarray]:
    """Training events of every user with two or more, end to end."""
    split = corpus.splits[0]
    users = np.flatnonzero(split.train_end - split.offsets[:-1] >= 2)
    rows = [split.items_E[split.offsets[user] : split.train_end[user]] for user in users]
    return {
        "items_E": np.concatenate(rows).astype(np.int32),
        "offsets_N": np.cumsum([0, *map(len, rows)]),
        "num_items": np.array(len(corpus.joint)),
    }


def _ranking(corpus: Corpus, width: int = 64) -> dict[str, np.ndarray]:
    """Random vectors that know a little of the truth; a test event and the items seen before it for every user."""
    rng = np.random.default_rng(0)
    case = corpus.case(0, "test")
    items_ID = rng.normal(size=(len(corpus.joint), width)).astype(np.float32)
    users_ND = items_ID[[history[-1] for history in case.histories]] + 0.5 * items_ID[case.target_N]
    return {
        "items_ID": items_ID,
        "users_ND": users_ND.astype(np.float32),
        "target_N": case.target_N.astype(np.int32),
        "seen_E": np.concatenate(case.histories).astype(np.int32),
        "offsets_N": np.cumsum([0, *map(len, case.histories)]),
    }
