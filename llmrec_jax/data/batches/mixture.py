"""The rows of each domain in a batch, the same in every batch, and the users that fill them.

B rows of a batch   M rows of one domain
"""

import functools
from collections.abc import Sequence

import numpy as np

from llmrec_jax.errors import UserError


def rows_per_domain(
    batch_size: int,
    source_users: Sequence[int],
    target_share: float,
    has_target_rows: bool,
    source_temperature: float = 1.0,
) -> list[int]:
    """Number of rows per domain, sources first, target last; they sum to `batch_size`.

    The target gets `target_share * batch_size` rows, rounded, or none if it has no training users (zero-shot). The
    sources share the rest in proportion to `users ** (1 / source_temperature)`, users being those that are trained on
    (Sainte-Laguë method), with at least one row for each source that has users. With `target_share` 0 the target gets
    no rows, with 1 the sources get none.

    Source of the temperature: Arivazhagan et al., "Massively multilingual neural machine translation in the wild",
    arXiv:1907.05019.

    Raises:
      ValueError: there are no training users, the share is outside [0, 1], or there are fewer rows than domains.
    """
    if not 0 <= target_share <= 1:
        raise UserError(f"target_share={target_share} is not between 0 and 1")
    num_sources = sum(users > 0 for users in source_users)
    if not num_sources and not has_target_rows:
        raise UserError(f"no users to train on: {list(source_users)} in the sources, none in the target")
    if not num_sources or not has_target_rows:
        target_share = float(has_target_rows)
    sources_wanted, target_wanted = num_sources * (target_share < 1), int(target_share > 0)
    if batch_size < sources_wanted + target_wanted:
        raise UserError(
            f"batch_size={batch_size} is too small: {sources_wanted} sources + {target_wanted} target need a row each"
        )
    target = int(np.clip(round(target_share * batch_size), target_wanted, batch_size - sources_wanted))
    users = np.array(source_users, np.float64) ** (1 / source_temperature)
    rows = (users > 0).astype(np.int64) * (target_share < 1)
    for _ in range(batch_size - target - int(rows.sum())):
        rows[np.argmax(users / (2 * rows + 1))] += 1
    return [*rows.tolist(), target]


def interleave(rows: Sequence[int]) -> np.ndarray:
    """The domain of each row of a batch, `domain_B` int32, with the rows of each domain evenly spaced.

    Row `i` of a domain with `r` rows is placed at the fraction `(i + 1/2) / r` of the batch. So each contiguous slice
    (that of a process or a device) has about the same shares of the domains; of two domains, to within two rows.
    """
    domain_B = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    place_B = np.concatenate([(np.arange(r) + 0.5) / max(r, 1) for r in rows])
    return domain_B[np.argsort(place_B, kind="stable")]


def users_of_step(users: np.ndarray, rows: int, step: int, seed: tuple[int, ...]) -> np.ndarray:
    """The users [M] of a domain's rows in a step: each user once per epoch, reshuffled every epoch.

    `users` must be sorted by history length. They are divided into `rows` groups of similar length, and a step takes
    one user from each group: so all steps cost about the same, and over the epochs nearly every pair of users shares a
    batch.
    """
    if not rows:
        return users[:0]
    epoch_M, place_M = np.divmod(step * rows + np.arange(rows), len(users))
    picked = [
        _order((*seed, epoch), len(users), rows)[place_M[epoch_M == epoch]]
        for epoch in range(epoch_M[0], epoch_M[-1] + 1)
    ]
    return users[np.concatenate(picked)]


@functools.lru_cache(maxsize=32)
def _order(seed: tuple[int, ...], size: int, rows: int) -> np.ndarray:
    """A permutation of `range(size)`: any `rows` adjacent entries have about one from each of `rows` equal ranges."""
    rng = np.random.default_rng(seed)
    run = -(-size // rows)
    grid = np.arange(-(-size // run) * run, dtype=np.int32).reshape(-1, run)
    grid = rng.permuted(grid, axis=1)
    rng.shuffle(grid)  # otherwise the first rows of each step would have the longest histories
    order = grid.T.reshape(-1)
    return order[order < size]
