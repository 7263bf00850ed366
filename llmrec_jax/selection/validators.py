"""The validators by name: the inputs of each, and the scores of one checkpoint by all of them.

Higher is better. Scores are comparable between checkpoints with the same users, items and probe only, not between data
sets.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llmrec_jax.selection import distances, from_sources, from_target
from llmrec_jax.selection.evidence import Evidence


class Validator(NamedTuple):
    """A pure function of fields of the evidence. Call it with the whole evidence."""

    function: Callable[..., float]
    needs: tuple[str, ...]  # fields of `Evidence`, in the order of the function's arguments

    def __call__(self, evidence: Evidence) -> float:
        """The score of one checkpoint; the fields in `needs` must be present."""
        return self.function(*[getattr(evidence, field) for field in self.needs])


class Scores(NamedTuple):
    """The scores of one checkpoint."""

    values: dict[str, float]
    left_out: dict[str, str]  # by validator: why it has no score


_WEIGHTED = ("source_users_ND", "source_losses_N", "target_users_MD")
_PREDICTIONS = ("probe_scores_MK", "temperature")
_USERS, _ITEMS = ("source_users_ND", "target_users_MD"), ("source_items_JD", "target_items_ID")

VALIDATORS: dict[str, Validator] = {
    "left_out_source": Validator(from_sources.left_out_source, ("left_out_ndcg",)),
    "source_risk": Validator(from_sources.source_risk, ("source_losses_N",)),
    "iwv": Validator(from_sources.importance_weighted, _WEIGHTED),
    "dev": Validator(from_sources.dev, _WEIGHTED),
    "devn": Validator(from_sources.devn, _WEIGHTED),
    "entropy": Validator(from_target.entropy, _PREDICTIONS),
    "diversity": Validator(from_target.diversity, _PREDICTIONS),
    "im": Validator(from_target.information_maximization, _PREDICTIONS),
    "bnm": Validator(from_target.nuclear_norm, _PREDICTIONS),
    "snd": Validator(from_target.soft_neighborhood_density, _PREDICTIONS),
    "class_ami": Validator(from_target.class_ami, ("target_users_MD", "probe_scores_MK")),
    "mmd": Validator(distances.negative_mmd, _USERS),
    "a_distance": Validator(distances.negative_a_distance, _USERS),
    "mmd_items": Validator(distances.negative_mmd, _ITEMS),
    "a_distance_items": Validator(distances.negative_a_distance, _ITEMS),
    "text_agreement": Validator(
        from_target.text_agreement, ("probe_scores_MK", "text_scores_MK", "target_items_ID")
    ),
}  # fmt: skip


def scores(evidence: Evidence) -> Scores:
    """Every validator whose fields are present, and for the others the reason.

    A diverged checkpoint (NaN or infinite values) gets no score from the validators that read these values, so that it
    cannot be chosen by them.

    >>> found = scores(Evidence(source_losses_N=np.array([0.0, 1.0])))
    >>> found.values
    {'source_risk': -0.5}
    >>> found.left_out["mmd"]
    'there is no source_users_ND, target_users_MD'
    """
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, validator in VALIDATORS.items():
        fields = {field: getattr(evidence, field) for field in validator.needs}
        absent = [field for field, value in fields.items() if value is None]
        damaged = [field for field, value in fields.items() if value is not None and not np.isfinite(value).all()]
        short = [field for field, value in fields.items() if np.ndim(value) and len(value) < 2]
        if absent:
            left_out[name] = f"there is no {', '.join(absent)}"
        elif damaged:
            left_out[name] = f"NaN or infinite values in {', '.join(damaged)}"
        elif short:
            left_out[name] = f"a single row in {', '.join(short)}"
        else:
            values[name] = validator(evidence)
            assert math.isfinite(values[name]), f"{name} is {values[name]}"
    return Scores(values, left_out)
