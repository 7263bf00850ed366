"""Checkpoints of a run; the one place that knows Orbax.

A checkpoint is one folder, named by its step: the train state (parameters, optimizer, step, random key) and a manifest
that holds what is not an array (`RunInfo`) and the hash of every file. A save runs in the background. The folder gets
its name when Orbax has written it, then its manifest, and only then older ones are deleted; so a kill at any moment
leaves the newest checkpoint that was finished, and the best step that it names.
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

KEPT = 2  # the newest ones; beside them the best steps that they name
UNFINISHED = ".orbax-checkpoint-tmp"  # in the names of folders that Orbax has not finished, or that are being deleted
ORBAX_FILE = "_CHECKPOINT_METADATA"


class RunInfo(NamedTuple):
    """The part of a checkpoint that is not an array (JSON)."""

    pipeline: dict[str, Any]  # the batch iterator's own state
    config: dict[str, Any]
    data_hash: str
    encoder: dict[str, str]  # which pretrained one: `encoder_identity.identify`
    best: dict[str, float]  # {"step": ..., "value": ...} of the best validation so far; empty before the first
    batch_rule: int = 0  # of the batches (`data.batches.pipeline.BATCH_RULE`)

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
    """The checkpoints of one run, in `folder`: the newest two, and the best steps that those name.

    With several processes, all of them save and restore; process 0 writes manifests and deletes.
    """

    def __init__(self, folder: Path, *, read_only: bool = False):
        """Open `folder`, made by the first save, and delete, unless `read_only`, what killed saves left unfinished.

        Raises:
          ValueError: `folder` holds a folder named like a step that is not a checkpoint.
        """
        self._folder = folder.absolute()
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
        """The steps that there are, in order."""
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(int(path.name) for path in paths if path.name.isdecimal() and _is_checkpoint(path))

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None where there is none; whether it is damaged is not looked at."""
        return max(self.steps(), default=None)

    def newest_intact(self) -> tuple[int | None, list[str]]:
        """The newest step that can be gone on with, and a line for each newer one: why it cannot.

        It can where all its files are as they were written, and those of the best step that it names. A step that was
        killed before its manifest was written counts as never saved.

        Raises:
          ValueError: there are checkpoints, and all of them are damaged.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            if (problem := self._problem(step)) is None:
                return step, problems
            problems.append(f"{self._folder / str(step)}: {problem}")
        if any((self._folder / str(step) / manifest.NAME).exists() for step in self.steps()):
            advice = f"delete {self._folder} to train again from the start"
            raise UserError("\n  ".join(["no checkpoint is intact", *problems, advice]))
        return None, problems

    def save(self, state: TrainState, step: int, info: RunInfo) -> None:
        """Begin to save; returns as soon as the arrays are copied, after waiting for the save before."""
        self.wait()
        if self._manages:
            self._folder.mkdir(parents=True, exist_ok=True)
        response = ocp.save_checkpointables_async(self._folder / str(step), {"state": state})
        self._saving = self._thread.submit(self._finish, response, step, info)

    def info(self, step: int) -> RunInfo:
        """The part of a checkpoint that is not an array."""
        try:
            return RunInfo(**manifest.read(self._folder / str(step)))
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._folder / str(step)}: not a checkpoint of this version: {error}") from error

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The train state of `step`, laid out as `like` (arrays or abstract arrays that carry a sharding)."""
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        return ocp.load_checkpointables(self._folder / str(step), {"state": abstract})["state"]

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints of later steps: a run restored at `step` will make them again."""
        for later in self.steps():
            if later > step:
                self._delete(later)
        self._prune()

    def wait(self) -> None:
        """Wait for a save under way. Raises ValueError where the storage did not take it."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            try:
                saving.result()
            except (OSError, ValueError) as error:  # tensorstore's are ValueErrors
                raise UserError(f"{self._folder}: a checkpoint could not be saved: {error}") from error

    def close(self) -> None:
        """Wait for a save under way, then close."""
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
        """Delete all but the newest and the best steps that they name."""
        newest = self.steps()[-KEPT:]
        kept = {*newest, *map(self._best_step, newest)}
        for step in self.steps():
            if step not in kept:
                self._delete(step)

    def _problem(self, step: int) -> str | None:
        """Why a run cannot go on with `step`, None where it can."""
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
        """Delete a checkpoint such that a kill on the way leaves what the next run deletes."""
        if self._manages:
            path = self._folder / str(step)
            shutil.rmtree(path.rename(path.with_name(f"{step}{UNFINISHED}-deleted")), ignore_errors=True)


def _is_checkpoint(path: Path) -> bool:
    return any((path / name).exists() for name in (manifest.NAME, ORBAX_FILE))
