"""Text to token ids: loads or trains a tokenizer, encodes texts into a ragged table. `catalog.py` caches the table.

L tokens of a text   N texts   R rows asked for
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmrec_jax.errors import UserError

# Set explicitly: otherwise tokenizers warns when other code in the process forks. Tokenizing itself never forks.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class TokenTable:
    """The tokens of many texts, concatenated: text `n` is `ids[offsets[n]:offsets[n + 1]]`, never empty."""

    ids: np.ndarray  # int32 [tokens]
    offsets: np.ndarray  # int64 [N + 1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def save(self, folder: str | Path) -> None:
        """Writes `ids.npy` and `offsets.npy` to `folder`, which must exist."""
        np.save(Path(folder) / "ids.npy", self.ids)
        np.save(Path(folder) / "offsets.npy", self.offsets)

    @classmethod
    def load(cls, folder: str | Path) -> "TokenTable":
        """Memory-maps a saved table. Raises if the files are missing, truncated or inconsistent."""
        ids = np.load(Path(folder) / "ids.npy", mmap_mode="r")
        offsets = np.load(Path(folder) / "offsets.npy")
        if offsets[-1] != len(ids):
            raise ValueError(f"the offsets end at {offsets[-1]}, but there are {len(ids)} token ids")
        return cls(ids, offsets)

    def padded(self, rows: np.ndarray | None = None, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The texts `rows` (None: all) as a rectangular array, right-padded with zeros.

        Args:
          rows: int [R], any order, repeats allowed.
          length: L; None takes the length of the longest row.

        Returns:
          `(tokens_RL, mask_RL)`, int32 and bool.

        Raises:
          ValueError: a text is longer than `length`. Truncating it here would drop its last special token.
        """
        lengths_N = np.diff(self.offsets)
        begin_R, length_R = (self.offsets[:-1], lengths_N) if rows is None else (self.offsets[rows], lengths_N[rows])
        longest = int(length_R.max(initial=0))
        if length is None:
            length = longest
        if longest > length:
            raise UserError(f"a text has {longest} tokens, more than the {length} asked for")
        mask_RL = np.arange(length) < length_R[:, None]
        tokens_RL = np.zeros(mask_RL.shape, np.int32)
        # With all rows in order, `ids` already has the right order: no gather is needed.
        if rows is None:
            tokens_RL[mask_RL] = self.ids
        else:
            tokens_RL[mask_RL] = self.ids[(begin_R[:, None] + np.arange(length))[mask_RL]]
        return tokens_RL, mask_RL


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Loads the tokenizer of a Hugging Face folder, with padding and truncation disabled.

    Reads `tokenizer.json`, else `vocab.json` + `merges.txt` or `vocab.txt`. If the tokenizer adds no special tokens
    (as GPT-2's), `<|endoftext|>` is appended to each text: then "last" pooling always reads the same token, and no text
    is empty.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the Rust code raises a bare Exception
            if (folder / "tokenizer.json").read_bytes().startswith(b"version https://git-lfs"):
                raise UserError(f"{folder / 'tokenizer.json'}: a Git LFS pointer in place of the file: run `git lfs "
                                f"pull` in {folder}, or download the file again") from error  # fmt: skip
            raise UserError(f"{folder / 'tokenizer.json'}: not a tokenizer ({error})") from error
    elif (folder / "vocab.txt").is_file() or all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        from transformers import AutoTokenizer  # slow to import, and only old folders need it

        options = _casing(folder)
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options).backend_tokenizer
    else:
        raise UserError(f"{folder}: no tokenizer.json, no vocab.json with merges.txt and no vocab.txt")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer if tokenizer.encode("").ids else _close_texts(tokenizer)


def _casing(folder: Path) -> dict[str, bool]:
    """Options with `do_lower_case` if tokenizer_config.json does not set it: True if vocab.txt is all lowercase."""
    config, vocabulary = folder / "tokenizer_config.json", folder / "vocab.txt"
    if not vocabulary.is_file() or (config.is_file() and b'"do_lower_case"' in config.read_bytes()):
        return {}
    tokens = vocabulary.read_text(encoding="utf-8").splitlines()
    return {"do_lower_case": all(token == token.lower() or token.startswith("[") for token in tokens)}


def train_tokenizer(texts: Sequence[str], kind: Literal["bert", "gpt2"], vocab_size: int) -> Tokenizer:
    """Trains a tokenizer on texts. Deterministic: the same texts give the same bytes.

    Args:
      texts: training texts; may be empty.
      kind: `bert` is lowercased WordPiece with `[PAD]` = 0 and the template `[CLS] text [SEP]`; `gpt2` is byte-level
        BPE with the template `text <|endoftext|>`.
      vocab_size: upper bound, unless the characters of the texts (for `gpt2`: the 256 bytes) alone exceed it. Read
        the actual size from the result.
    """
    if kind == "gpt2":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return _close_texts(tokenizer)
    vocab = _train_wordpiece(texts, vocab_size)
    tokenizer = _bert_tokenizer(vocab)
    tokenizer.add_special_tokens(list(BERT_SPECIAL))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> TokenTable:
    """Encodes each text into at most `max_tokens` tokens, including special tokens, which are never truncated.

    Raises:
      ValueError: `max_tokens` leaves no room for tokens besides the special ones, or a text has no tokens.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())  # a copy: does not change the caller's tokenizer
    tokenizer.no_padding()
    special = len(tokenizer.encode("").ids)
    if max_tokens <= special:
        raise UserError(f"max_tokens={max_tokens} leaves no room for text besides {special} special tokens")
    tokenizer.enable_truncation(max_tokens)
    encodings = tokenizer.encode_batch_fast(list(texts))
    offsets = np.zeros(len(encodings) + 1, np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if empty.size:
        raise UserError(f"text {empty[0]} ({texts[empty[0]]!r}) has no tokens: the tokenizer adds no special token")
    ids = np.fromiter((token for encoding in encodings for token in encoding.ids), np.int32, count=int(offsets[-1]))
    return TokenTable(ids, offsets)


def _close_texts(tokenizer: Tokenizer) -> Tokenizer:
    token_id = tokenizer.token_to_id(END_OF_TEXT)
    if token_id is None:
        raise UserError(f"the tokenizer adds no special tokens and has no {END_OF_TEXT} to end a text with")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END_OF_TEXT}", special_tokens=[(END_OF_TEXT, token_id)]
    )
    return tokenizer


def _bert_tokenizer(vocab: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _train_wordpiece(texts: Sequence[str], vocab_size: int) -> dict[str, int]:
    """Trains a WordPiece vocabulary that is the same in every process.

    The trainer numbers the pieces `##x` in the order of a randomly seeded hash map, and breaks ties between merges by
    these numbers. If all single-character pieces are passed as special tokens, it keeps their order.
    """
    tokenizer = _bert_tokenizer({})
    first = (*BERT_SPECIAL, *sorted(_alphabet(tokenizer, texts)))
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=list(first), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()


def _alphabet(tokenizer: Tokenizer, texts: Sequence[str]) -> set[str]:
    """All single-character pieces that the trainer starts from: `x`, and `##x` for characters inside a word."""
    chunks: set[str] = set()  # whitespace-separated; deduplicated because splitting at punctuation is slow
    for start in range(0, len(texts), 1000):
        chunks.update(tokenizer.normalizer.normalize_str("\n".join(texts[start : start + 1000])).split())
    words = {word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(" ".join(chunks))}
    return {letter for word in words for letter in word} | {f"##{letter}" for word in words for letter in word[1:]}
