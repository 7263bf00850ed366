"""Experiment trackers: TensorBoard, and others that installed packages offer as entry points.

They get every line of `metrics.jsonl` and the metrics of the final report, on process 0 only. A tracker that raises an
exception is disabled with a message and does not stop the run. `metrics.jsonl` itself is written in `metrics`.
"""

import contextlib
import functools
import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
from rich.console import Console

from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.train.workdir import write_json

GROUP = "llmrec_jax.trackers"  # of the entry points
TENSORBOARD = "tensorboard"
EVENT_FILES = "events.out.tfevents.*"
STATE = "trackers.json"  # in the work folder: which steps were logged before the run resumed


class Tracker(Protocol):
    """A tracker may also have `last_step`, the last step that it stored before the run resumed: it gets all later ones,
    including those that are in `metrics.jsonl` only. Without it, it gets those that `metrics.jsonl` never had.
    """

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Store the metrics of a step; finite numbers. The last call has those of the final report, as `test/...`."""

    def close(self) -> None:
        """Called once, when the run ends or stops."""


Maker = Callable[[Config], Tracker]


class Trackers:
    """The trackers of a run, on process 0. They are created when there is something to log.

    A step that was logged before an interruption is not logged again when the run repeats it.
    """

    def __init__(self, makers: Mapping[str, Maker], config: Config, workdir: Path, say: Callable[[str], None]):
        self._to_make, self._config, self._workdir, self._say = dict(makers), config, workdir, say
        self._open: dict[str, Tracker] = {}
        self._last: dict[str, int] = {}  # the step that each tracker had stored before this start
        self._state = {"step": 0, "reported": 0}
        self._restored = 0

    def start(self, logged: int, restored: int) -> None:
        """Called before the first step.

        Args:
          logged: the last step in `metrics.jsonl` before the lines after the restored step were dropped.
          restored: the step that the run resumes at; 0 for a new run.
        """
        self._restored = restored
        with contextlib.suppress(OSError, ValueError):
            self._state |= json.loads((self._workdir / STATE).read_text())
        self._state["step"] = max(self._state["step"], logged)
        if self._to_make and self._state["step"] > restored:
            write_json(self._workdir / STATE, self._state)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of a step; values that are not finite are left out."""
        for name, tracker in self._created():
            if step > self._last[name]:
                self._try(name, f"failed at step {step}", functools.partial(tracker.log, step, _finite(metrics)))

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of the final report, once."""
        if self._state["reported"] == step or not (self._open or self._to_make):
            return
        for name, tracker in self._created():
            self._try(name, "failed at the report", functools.partial(tracker.log, step, metrics))
        self._state |= {"step": step, "reported": step}
        write_json(self._workdir / STATE, self._state)

    def close(self) -> None:
        """Close the trackers."""
        for name, tracker in list(self._open.items()):
            self._try(name, "failed at its end", tracker.close)

    def _created(self) -> list[tuple[str, Tracker]]:
        while self._to_make:
            name = next(iter(self._to_make))
            self._try(name, "did not start", functools.partial(self._create, name, self._to_make.pop(name)))
        return list(self._open.items())

    def _create(self, name: str, make: Maker) -> None:
        tracker = make(self._config)
        self._last[name] = int(getattr(tracker, "last_step", self._state["step"]))
        self._open[name] = tracker
        if self._last[name] < min(self._restored, self._state["step"]):
            for line in (self._workdir / "metrics.jsonl").read_text().splitlines():
                metrics = json.loads(line)
                if self._last[name] < (step := metrics.pop("step")) <= self._restored:
                    tracker.log(step, _finite(metrics))

    def _try(self, name: str, what: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # of code that is not ours
            self._open.pop(name, None)
            self._say(f"tracker {name} {what} and was disabled: {type(error).__name__}: {error}")


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}


@contextlib.contextmanager
def opened(config: Config, workdir: Path, console: Console) -> Iterator[Trackers]:
    """The trackers named in `train.trackers`, closed at the end; none except on process 0.

    Raises ValueError, on every process, if no installed package has a tracker of a name.
    """
    makers = find(config.train.trackers, workdir)
    if jax.process_index() != 0:
        makers = {}
    trackers = Trackers(makers, config, workdir, lambda text: console.print(text, markup=False, highlight=False))
    with contextlib.closing(trackers):
        yield trackers


def find(names: Sequence[str], workdir: Path) -> dict[str, Maker]:
    """How to create each tracker, by name. Raises ValueError for an unknown name."""
    points = importlib.metadata.entry_points(group=GROUP)
    known: dict[str, Maker] = {point.name: functools.partial(_load_and_call, point) for point in points}
    known[TENSORBOARD] = lambda _: TensorBoard(workdir / TENSORBOARD)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"train.trackers: no installed package has a tracker named {', '.join(unknown)} "
                        f"(entry points of the group {GROUP}); there are {', '.join(sorted(known))}")  # fmt: skip
    return {name: known[name] for name in names}


def _load_and_call(point: importlib.metadata.EntryPoint, config: Config) -> Tracker:
    tracker: Tracker = point.load()(config)
    return tracker


class TensorBoard:
    """Writes an event file for TensorBoard: one event a step, with all its scalars."""

    def __init__(self, folder: Path):
        from tensorboardX import FileWriter

        self.last_step = last_step(folder)
        number = len(list(folder.glob(EVENT_FILES)))  # without it, files of the same second have the same name
        self._writer = FileWriter(str(folder), flush_secs=10, filename_suffix=f".{number}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_summary(Summary(value=values), step, time.time())

    def close(self) -> None:
        """See `Tracker`."""
        self._writer.close()


def last_step(folder: Path) -> int:
    """The highest step in the event files of a folder; 0 without any. A record that was cut short does not count."""
    from tensorboardX.proto.event_pb2 import Event

    last = 0
    for path in folder.glob(EVENT_FILES):
        content, start, event = path.read_bytes(), 0, b""
        while start + 12 <= len(content):  # a record: length, its checksum, event, its checksum (8, 4, length, 4 bytes)
            end = start + 12 + int.from_bytes(content[start : start + 8], "little")
            if end + 4 > len(content):
                break
            event, start = content[start + 12 : end], end + 4
        with contextlib.suppress(ValueError):
            last = max(last, Event.FromString(event).step)
    return last


def report_metrics(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The test metrics of a report's rows: `{"test/answer/ndcg@10": ...}`."""
    return {
        f"test/{row['method']}/{name}": float(value)
        for row in results
        if row["split"] == "test"
        for name, value in row.items()
        if "@" in name or name == "mrr"
    }
