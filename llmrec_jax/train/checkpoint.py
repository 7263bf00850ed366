"""Saves and restores checkpoints; the only file that uses Orbax.

A checkpoint is one folder, named by its step: the train state (parameters, optimizer, step, random key) and a manifest
with the metadata (`RunInfo`) and the hash of every file. Saves run in the background: Orbax writes a temporary folder
and renames it, then the manifest is written, and only then are older checkpoints deleted. If the run is killed at any
time, the newest finished checkpoint and the best step that it names are still there.
"""

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from llmrec_jax.errors import UserError
from llmrec_jax.train import manifest
from llmrec_jax.train.state import TrainState

UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of a folder that Orbax is writing or that is being deleted
ORBAX_FILE = "_CHECKPOINT_METADATA"
# By default each device that has a copy of an array writes a slice of it, for which a program is compiled per shape:
# seconds for a small model. Only slices of this many bytes pay.
MIN_SLICE = 1 << 20


class RunInfo(NamedTuple):
    """The metadata of a checkpoint (JSON)."""

    pipeline: dict[str, Any]  # state of the batch iterator
    config: dict[str, Any]
    data_hash: str
    encoder: dict[str, str]  # `encoder_identity.identify`
    best: dict[str, float]  # {"step": ..., "value": ...} of the best validation so far, or {}
    batch_rule: int = 0  # `data.batches.pipeline.BATCH_RULE`

    def check_data(self, workdir: Path, data_hash: str) -> None:
        """Raises ValueError if `data_hash`, the hash of the current data, differs from the run's."""
        if data_hash != self.data_hash:
            raise UserError(
                f"{workdir}: the data changed since its checkpoint: hash {self.data_hash} is now {data_hash}; restore "
                "the files, or train in another --workdir"
            )

    def check_continues(self, workdir: Path, data_hash: str, batch_rule: int) -> None:
        """Raises ValueError if the run would resume with other data or other batches."""
        self.check_data(workdir, data_hash)
        if batch_rule != self.batch_rule:
            raise UserError(
                f"{workdir}: made by a version that forms batches differently (rule {self.batch_rule}, here "
                f"{batch_rule}): the run can be evaluated but not resumed; train in another --workdir"
            )


class Checkpoints:
    """The checkpoints of one run: the newest ones and the best steps that they name.

    All processes save and restore; process 0 writes manifests and deletes old checkpoints.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, keep: int = 2):
        """Open `folder` (the first save creates it); unless `read_only`, delete unfinished checkpoints.

        `keep` is the number of the newest checkpoints that are kept; each save deletes the older ones.

        Raises:
          ValueError: `folder` contains a folder that is named like a step but is not a checkpoint.
        """
        self._folder, self._keep = folder.absolute(), keep
        self._manages = not read_only and jax.process_index() == 0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future[None] | None = None
        if self._manages and self._folder.is_dir():
            for path in self._folder.glob(f"[0-9]*{UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)
            for path in self._folder.iterdir():
                if path.name.isdecimal() and not _is_checkpoint(path):
                    raise UserError(f"{path} is not a checkpoint, but is named like one: move it elsewhere")

    def steps(self) -> list[int]:
        """The saved steps, in ascending order."""
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(int(path.name) for path in paths if path.name.isdecimal() and _is_checkpoint(path))

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, intact or not; None if there is none."""
        return max(self.steps(), default=None)

    def newest_intact(self) -> tuple[int | None, list[str]]:
        """The newest intact step (None if there is none), and one line per newer step with what is wrong with it.

        A checkpoint is intact if the hashes of its files match, and those of the best step that it names. A step
        without a manifest was never finished and counts as not saved.

        Raises:
          ValueError: there are checkpoints, but all are damaged.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            if (problem := self.problem(step)) is None:
                return step, problems
            problems.append(f"{self._folder / str(step)}: {problem}")
        if any((self._folder / str(step) / manifest.NAME).exists() for step in self.steps()):
            advice = f"delete {self._folder} to train again from the start"
            raise UserError("\n  ".join(["no checkpoint is intact", *problems, advice]))
        return None, problems

    def save(self, state: TrainState, step: int, info: RunInfo) -> None:
        """Save in the background. Waits for the previous save, then returns once the arrays are copied."""
        self.wait()
        if self._manages:
            self._folder.mkdir(parents=True, exist_ok=True)
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = MIN_SLICE
        with context:
            response = ocp.save_checkpointables_async(self._folder / str(step), {"state": _as_dict(state)})
        self._saving = self._thread.submit(self._finish, response, step, info)

    def info(self, step: int) -> RunInfo:
        """The metadata of a checkpoint."""
        try:
            return RunInfo(**manifest.read(self._folder / str(step)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._folder / str(step)}: not a checkpoint of this version: {error}") from error

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The train state of `step`, sharded like `like` (arrays, or abstract arrays with a sharding)."""
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        arrays = ocp.load_checkpointables(self._folder / str(step), {"state": _as_dict(abstract)})["state"]
        return TrainState(**arrays)

    def drop_after(self, step: int | None) -> None:
        """Delete the checkpoints after `step`, all if None: a run resumed from `step` writes them again."""
        for later in self.steps():
            if step is None or later > step:
                self._delete(later)
        self._prune()

    def wait(self) -> None:
        """Wait for the current save. Raises ValueError if it failed."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            try:
                saving.result()
            except (OSError, ValueError) as error:  # tensorstore raises ValueError
                raise UserError(f"{self._folder}: a checkpoint could not be saved: {error}") from error

    def close(self) -> None:
        """Wait for the current save, then close."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _finish(self, response: ocp.AsyncResponse[None], step: int, info: RunInfo) -> None:
        response.result()
        if self._manages:
            manifest.write(self._folder / str(step), info._asdict())
            self._prune()

    def _prune(self) -> None:
        """Delete all checkpoints but the newest and the best steps that they name."""
        newest = self.steps()[-self._keep :]
        kept = {*newest, *map(self._best_step, newest)}
        for step in self.steps():
            if step not in kept:
                self._delete(step)

    def problem(self, step: int) -> str | None:
        """Why a run cannot resume from `step`, None if it can."""
        if (problem := manifest.damage(self._folder / str(step))) is not None:
            return problem
        best = self._best_step(step)
        if best not in (None, step) and (problem := manifest.damage(self._folder / str(best))) is not None:
            return f"its best step, {best}: {problem}"
        return None

    def _best_step(self, step: int) -> int | None:
        try:
            best = manifest.read(self._folder / str(step))["best"]
        except ValueError:
            return None
        return int(best["step"]) if best else None

    def _delete(self, step: int) -> None:
        """Delete a checkpoint; renamed first, so that the next run finishes a deletion that was killed."""
        if self._manages:
            path = self._folder / str(step)
            shutil.rmtree(path.rename(path.with_name(f"{step}{UNFINISHED}-deleted")), ignore_errors=True)


def _as_dict(state: TrainState) -> dict[str, Any]:
    """The state without the fields that the run does not use, so that earlier checkpoints can be read."""
    return {name: value for name, value in state._asdict().items() if value is not None}


def _is_checkpoint(path: Path) -> bool:
    return any((path / name).exists() for name in (manifest.NAME, ORBAX_FILE))
