"""The joint catalogue: the items of all domains in one numbering, and the cache of their tokens.

Takes loaded domains and a tokenizer. Arrays stay on the host.

I items of the joint catalogue   L tokens of a text   F width of a text feature
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from llmrec_jax.data.cache import DamagedError, cached
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.texts.tokenizer import TokenTable, encode
from llmrec_jax.errors import UserError
from llmrec_jax.types import Catalog


@dataclasses.dataclass(frozen=True, eq=False)
class JointCatalog:
    """The items of all domains, concatenated: items of domain `d` have the numbers `starts[d]` to `starts[d + 1] - 1`.

    Sources come first, the target last. The same id in two domains denotes two items.
    """

    domains: tuple[str, ...]
    starts: np.ndarray  # int64 [domains + 1]
    domain_I: np.ndarray  # int32
    item_ids: list[str]
    titles: list[str]
    texts: list[str]

    @classmethod
    def of(cls, domains: Sequence[Domain]) -> "JointCatalog":
        """Concatenates the catalogues of `domains` (sources first, target last)."""
        sizes = [len(domain.item_ids) for domain in domains]
        return cls(
            domains=tuple(domain.name for domain in domains),
            starts=np.cumsum([0, *sizes]),
            domain_I=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            item_ids=[item_id for domain in domains for item_id in domain.item_ids],
            titles=[title for domain in domains for title in domain.titles],
            texts=[text for domain in domains for text in domain.texts],
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def to_catalog(self, items: TokenTable | np.ndarray, log_q_I: np.ndarray, trained_I: np.ndarray) -> Catalog:
        """The catalogue that the step reads, as NumPy arrays.

        Args:
          items: the tokens of `texts` (the encoder runs inside the step) or vectors [I, F] of a frozen encoder,
            optionally followed by those of the titles alone.
          log_q_I: log probability that a batch contains the item (`log_q.log_q`).
          trained_I: whether the item occurs in a training event (`log_q.trained_items`).
        """
        if len(items) not in (len(self), 2 * len(self)) or len(log_q_I) != len(self):
            raise UserError(f"{len(self)} items, but {len(items)} rows of text and {len(log_q_I)} of log_q")
        log_q_I = log_q_I.astype(np.float32)
        if isinstance(items, TokenTable):
            tokens_IL, mask_IL = items.padded()
            return Catalog(tokens_IL, mask_IL, None, self.domain_I, log_q_I, trained_I)
        return Catalog(None, None, np.asarray(items, np.float32), self.domain_I, log_q_I, trained_I)


def token_table(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int, cache_dir: str | Path) -> TokenTable:
    """`encode(tokenizer, texts, max_tokens)`, computed once and then memory-mapped from `cache_dir`.

    The cached folder is named by a hash of the three arguments, so a stale table is never read.
    """
    digest = hashlib.sha256(f"{max_tokens} {tokenizer.to_str()}".encode())
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return cached(
        Path(cache_dir) / "tokens" / digest.hexdigest()[:32],
        lambda draft: encode(tokenizer, texts, max_tokens).save(draft),
        _read_table,
        f"tokenizing {len(texts):,} texts",
    )


def _read_table(folder: Path) -> TokenTable:
    try:
        return TokenTable.load(folder)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(str(error)) from error
