"""The input of the validators: outputs of a checkpoint that need no labels of the target.

There is no field for the target's validation or test events, ranks or metrics, and none can be added to an instance,
so a validator cannot read them.

Shape letters of this package, besides those of `types.py`:
  N  source users        M  target users (rows of probe scores)
  J  source items        K  probe items: a fixed sample of the target's items
  A  rows of both sides
"""

import dataclasses

import numpy as np

from llmrec_jax.errors import UserError

PROBE_ITEMS = 1000
ROWS = 2000


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """Arrays of one checkpoint. What a regime does not have is None; `scores` then leaves out what needs it.

    All checkpoints that are compared must be shown the same users, items and probe (see `sample`). About `ROWS` users
    or items a side are enough: the time and memory of SND and MMD are quadratic in them.

    In zero-shot selection the target has no users. Histories of one catalogue item each may take their place in
    `probe_scores_MK` and `text_scores_MK`, of items outside the probe: an item's best match is the item itself. They
    may stand in `target_users_MD` only if the histories of the source users have one item, too: otherwise the two
    sides differ in the length of the history.
    """

    source_users_ND: np.ndarray | None = None
    """User vectors before the validation events of source users."""
    source_losses_N: np.ndarray | None = None
    """The loss of each of these users on its validation event, at least 0, such as 1 - NDCG@10."""
    target_users_MD: np.ndarray | None = None
    """User vectors of target histories that the regime may see."""
    source_items_JD: np.ndarray | None = None
    """Item vectors of the sources."""
    target_items_ID: np.ndarray | None = None
    """Item vectors of the target's catalogue."""
    probe_scores_MK: np.ndarray | None = None
    """The model's scores of the probe items, for the target users above (the same rows)."""
    text_scores_MK: np.ndarray | None = None
    """The scores of the same users and items by text k-NN."""
    temperature: float = 1.0
    """What the ranking loss divides scores by (`loss.temperature`), so that a softmax gives the model's predictions."""
    left_out_ndcg: float | None = None
    """NDCG@10 on the validation events of a source that the checkpoint was not trained on; the mean of several."""

    def __post_init__(self) -> None:
        """Raises ValueError if a shape does not agree with another one, or a value is out of its range."""
        sizes: dict[str, tuple[str, int]] = {}
        for field in dataclasses.fields(self):
            array, letters = getattr(self, field.name), field.name.rpartition("_")[2]
            if array is None or not letters.isupper():
                continue
            if array.ndim != len(letters) or not array.size:
                raise UserError(f"{field.name} has the shape {array.shape}; expected [{', '.join(letters)}], not empty")
            for letter, size in zip(letters, array.shape, strict=True):
                other, expected = sizes.setdefault(letter, (field.name, size))
                if size != expected:
                    raise UserError(f"{field.name} {array.shape} and {other} differ in {letter}: {size} and {expected}")
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature}: must be above 0")
        if self.source_losses_N is not None and (self.source_losses_N < 0).any():
            raise UserError("source_losses_N holds a negative loss")


def sample(total: int, size: int, seed: int = 0) -> np.ndarray:
    """Which probe items, users or items of a side to show: `size` of `total` numbers (all if there are fewer), sorted.

    >>> sample(10, 4)
    array([2, 4, 6, 7])
    >>> sample(3, 4)
    array([0, 1, 2])
    """
    return np.sort(np.random.default_rng(seed).permutation(total)[:size])
