"""How many rows of a batch each domain has and where, the same in every batch; and which users fill them.

B rows of a batch   M rows of one domain
"""

import functools
from collections.abc import Sequence

import numpy as np

from llmrec_jax.errors import UserError


def rows_per_domain(
    batch_size: int, source_users: Sequence[int], target_share: float, has_target_rows: bool
) -> list[int]:
    """Splits a batch into fixed shares; sources first, target last; the sum is `batch_size` exactly.

    The target gets the nearest whole number to `target_share * batch_size`, none where it has no training users
    (zero-shot). The sources share the rest in proportion to their training users (Sainte-Laguë's method: each further
    row goes to the source with the most users per row), each source that has users at least one. A domain gets no row
    where the share is exactly 0 or 1 against it.

    Raises:
      ValueError: nobody to train on, a share outside [0, 1], or fewer rows than domains.
    """
    if not 0 <= target_share <= 1:
        raise UserError(f"target_share={target_share} is not between 0 and 1")
    num_sources = sum(users > 0 for users in source_users)
    if not num_sources and not has_target_rows:
        raise UserError(f"no training users: source users {list(source_users)}, and the target has none")
    if not num_sources or not has_target_rows:
        target_share = float(has_target_rows)
    sources_wanted, target_wanted = num_sources * (target_share < 1), int(target_share > 0)
    if batch_size < sources_wanted + target_wanted:
        raise UserError(
            f"batch_size={batch_size} is too small: {sources_wanted} sources + {target_wanted} target need a row each"
        )
    target = int(np.clip(round(target_share * batch_size), target_wanted, batch_size - sources_wanted))
    users = np.array(source_users, np.float64)
    rows = (users > 0).astype(np.int64) * (target_share < 1)
    for _ in range(batch_size - target - int(rows.sum())):
        rows[np.argmax(users / (2 * rows + 1))] += 1
    return [*rows.tolist(), target]


def interleave(rows: Sequence[int]) -> np.ndarray:
    """The domain of each row of a batch, `domain_B` int32, each domain's rows at an even stride.

    Row `i` of a domain with `r` rows stands at `(i + 1/2) / r` of the way, so every contiguous slice of the batch (a
    process's, a device's) holds about its share of each domain: of two domains, to within two rows.
    """
    domain_B = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    place_B = np.concatenate([(np.arange(r) + 0.5) / max(r, 1) for r in rows])
    return domain_B[np.argsort(place_B, kind="stable")]


def users_of_step(users: np.ndarray, rows: int, step: int, seed: tuple[int, ...]) -> np.ndarray:
    """The users [M] of a domain's rows in a step: each user once an epoch, reshuffled every epoch.

    `users` are sorted by the length of their histories and cut into as many runs as there are rows. A step takes one
    user of each run, so all steps cost about the same, and over the epochs nearly every pair of users shares a batch.
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
    """A permutation: with the numbers cut into `rows` equal runs, any `rows` neighbours have about one of each."""
    rng = np.random.default_rng(seed)
    run = -(-size // rows)
    grid = np.arange(-(-size // run) * run, dtype=np.int32).reshape(-1, run)
    grid = rng.permuted(grid, axis=1)
    rng.shuffle(grid)  # else the first rows of each step would have the longest histories
    order = grid.T.reshape(-1)
    return order[order < size]
