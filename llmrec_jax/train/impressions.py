"""The inputs of the click task, which are the lists of shown items of each domain, and its metrics.

Shape letters: Q lists of a domain, X items of a list, padded; A items of the lists, end to end.
"""

import itertools

import numpy as np

from llmrec_jax.data.batches.targets import Table
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.data.domains.impressions import Impressions, of_domain

MOST_SHOWN = 50  # items of a list that is trained on; a longer one keeps its clicks and a sample of the others


def training_lists(corpus: Corpus, domain: int) -> tuple[Impressions, np.ndarray] | None:
    """The lists of a domain and the numbers of those that may be trained on; None if it has no lists."""
    if (found := of_domain(corpus.domains[domain])) is None:
        return None
    split = corpus.splits[domain]
    users = np.ones(len(split.train_end), bool)
    if domain == corpus.target:
        users = corpus.protocol.kept & corpus.protocol.trains_on_target
    return found, found.training(split, users)


def impression_tables(corpus: Corpus) -> list[Table | None]:
    """The lists that the batches read, one table per domain; None for one without rows or lists."""
    return [_table(corpus, domain) if rows else None for domain, rows in enumerate(corpus.plan.rows)]


def _table(corpus: Corpus, domain: int) -> Table | None:
    lists = training_lists(corpus, domain)
    if lists is None or not len(lists[1]):
        return None
    found, numbers = lists
    rng = np.random.default_rng(domain)
    width = min(MOST_SHOWN, int(np.diff(found.offsets)[numbers].max()))
    items = np.full((len(numbers), width), -1, np.int32)
    is_clicked = np.zeros((len(numbers), width), bool)
    for row, number in enumerate(numbers):
        of_list = slice(found.offsets[number], found.offsets[number + 1])
        shown, clicked = found.items_A[of_list], found.clicked_A[of_list]
        if len(shown) > width:
            chosen = np.argsort(~clicked + rng.random(len(shown)) / 2)[:width]
            shown, clicked = shown[chosen], clicked[chosen]
        items[row, : len(shown)], is_clicked[row, : len(shown)] = shown + corpus.joint.starts[domain], clicked
    at = found.at(corpus.splits[domain])[numbers]
    return Table(at, items, (items >= 0, is_clicked))


def list_metrics(scores_A: np.ndarray, clicked_A: np.ndarray, offsets: np.ndarray) -> dict[str, float]:
    """AUC, MRR, NDCG@5 and NDCG@10, each the mean over the lists, as in MIND (Wu et al., ACL 2020).

    The reciprocal rank is averaged over the clicks of a list. A tie with another item counts as half a rank.

    Args:
      scores_A: the lists end to end; each has a click and an item that was not clicked.
      clicked_A: bool.
      offsets: int64 [lists + 1].
    """
    rows = []
    for start, end in itertools.pairwise(offsets.tolist()):
        score, clicked = scores_A[start:end].astype(np.float64), clicked_A[start:end]
        difference = score[None] - score[clicked][:, None]
        rank = 0.5 + (difference > 0).sum(axis=1) + (difference == 0).sum(axis=1) / 2  # a click ties with itself
        others = score[~clicked][None] - score[clicked][:, None]
        auc = np.mean((others < 0) + (others == 0) / 2)
        gains = [(1 / np.log2(1 + rank))[rank <= k].sum() / (1 / np.log2(2 + np.arange(min(k, len(rank))))).sum()
                 for k in (5, 10)]  # fmt: skip
        rows.append((auc, np.mean(1 / rank), *gains))
    return dict(zip(("auc", "mrr", "ndcg@5", "ndcg@10"), np.mean(rows, axis=0).tolist(), strict=True))
