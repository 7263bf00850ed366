"""Checkpoints of a run; the one place that knows Orbax.

A checkpoint is one atomic folder: the train state (parameters, optimizer, step, random key) and, as its metadata, what
is not an array: the pipeline's position, the configuration, the data's hash, the best validation so far. A save runs in
the background; a killed one leaves a temporary folder that the next run removes, never a half checkpoint.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from llmrec_jax.errors import UserError
from llmrec_jax.train.state import TrainState

policies = ocp.training.preservation_policies


class RunInfo(NamedTuple):
    """The part of a checkpoint that is no array (JSON)."""

    pipeline: dict[str, Any]  # the batch iterator's own state
    config: dict[str, Any]
    data_hash: str
    best: dict[str, float]  # {"step": ..., "value": ...} of the best validation so far; empty before the first
    batch_rule: int = 0  # by which its batches are composed (`data.pipeline`); 0: before it was noted

    def check_data(self, workdir: Path, data_hash: str) -> None:
        """Raise ValueError where `data_hash`, of the data as it is now, is another than the run's."""
        if data_hash != self.data_hash:
            raise UserError(
                f"{workdir}: the data changed since its checkpoint: hash {self.data_hash} is now {data_hash}"
            )

    def check_continues(self, workdir: Path, data_hash: str, batch_rule: int) -> None:
        """Raise ValueError where the run would go on with other data or other batches."""
        self.check_data(workdir, data_hash)
        if batch_rule != self.batch_rule:
            raise UserError(
                f"{workdir}: a run of another version, whose batches hold other rows (rule {self.batch_rule}, here "
                f"{batch_rule}): it can be evaluated, not gone on with"
            )


class Checkpoints:
    """The checkpoints of one run, in `folder`; the newest two are kept."""

    def __init__(self, folder: Path, *, read_only: bool = False):
        """Open or create `folder` and, unless `read_only`, remove what killed saves left behind."""
        self._orbax = ocp.training.Checkpointer(
            folder.absolute(), preservation_policy=policies.LatestN(2), cleanup_tmp_directories=not read_only
        )

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._orbax.latest.step if self._orbax.latest else None

    def save(self, state: TrainState, step: int, info: RunInfo) -> None:
        """Begin to save; returns as soon as the arrays are copied, after waiting for the save before."""
        self._orbax.wait()
        self._orbax.save_checkpointables_async(step, {"state": state}, custom_metadata=info._asdict(), force=True)

    def info(self, step: int) -> RunInfo:
        """The part of a checkpoint that is no array."""
        return RunInfo(**self._orbax.metadata(step).custom_metadata)

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The train state of `step`, laid out as `like` (arrays or abstract arrays that carry a sharding)."""
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        return self._orbax.load_checkpointables(step, {"state": abstract})["state"]

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints of later steps: a run restored at `step` will make them again."""
        for checkpoint in list(self._orbax.checkpoints):
            if checkpoint.step > step:
                self._orbax.delete(checkpoint.step)

    def wait(self) -> None:
        """Wait for a save under way."""
        self._orbax.wait()

    def close(self) -> None:
        """Wait for a save under way, then close."""
        self._orbax.wait()
        self._orbax.close()
