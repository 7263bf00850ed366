"""Output during training: `metrics.jsonl`, one line per step, and a progress line on the terminal."""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from llmrec_jax.progress import muted, shown

TIMING = ("seconds", "examples_per_second", "tokens_per_second")  # fields of a line that differ from run to run


class MetricsFile:
    """`metrics.jsonl` of a run. On resuming, drops incomplete lines and those of steps that will run again."""

    def __init__(self, path: Path, restored_step: int):
        """Keep the complete lines up to `restored_step`; new lines are appended."""
        kept, self.last_step = [], 0  # of the lines that were there
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            try:
                if not line.endswith(b"\n"):
                    continue
                self.last_step = max(self.last_step, step := json.loads(line)["step"])
                if step <= restored_step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(kept))
        temporary.replace(path)
        self._file = path.open("a", buffering=1)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; non-finite values become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Flush to disk, so that the lines of a checkpoint's steps are stored before the checkpoint."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class StepClock:
    """Duration and throughput of a step, measured from the end of the previous step or from `restart`."""

    def __init__(self):
        self._last = time.perf_counter()

    def restart(self) -> None:
        """Exclude the time since the last step (evaluation, checkpoint)."""
        self._last = time.perf_counter()

    def step(self, examples: int, tokens: int) -> dict[str, float]:
        """End the step; return the `TIMING` fields of its line."""
        now = time.perf_counter()
        seconds, self._last = max(now - self._last, 1e-9), now
        return dict(zip(TIMING, (seconds, examples / seconds, tokens / seconds), strict=True))


class ProgressLine:
    """Step, loss, throughput and time left: a live line on a terminal, else a line every few seconds."""

    def __init__(self, num_steps: int, first_step: int, every_seconds: float = 10.0, *, quiet: bool = False):
        """Start the clock; `quiet` (every process but the first) prints nothing."""
        self._num_steps, self._quiet, self._every = num_steps, quiet, every_seconds
        self._start = self._last_print = time.perf_counter()
        self._first = first_step
        self._examples = self._tokens = 0
        self._live = None
        self._muted = contextlib.ExitStack()
        if sys.stdout.isatty() and not quiet:
            columns = (TextColumn("step {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"))
            self._live = Progress(*columns, TimeRemainingColumn(), console=Console())
            self._task = self._live.add_task("compiling", total=num_steps, completed=first_step)
            self._live.start()
            self._muted.enter_context(muted())  # a second display would overwrite the line

    def compiling(self) -> contextlib.AbstractContextManager[object]:
        """The context of the first step. Shows that its program is compiled, which the live line says by itself."""
        return contextlib.nullcontext() if self._live or self._quiet else shown("compiling the training step")

    def update(self, step: int, loss: float, examples: int, tokens: int) -> None:
        """Report that `step` is done, with `examples` histories and `tokens` tokens (without padding)."""
        self._examples, self._tokens = self._examples + examples, self._tokens + tokens
        now = time.perf_counter()
        if step == self._first + 1:  # exclude the first step, which includes the compilation
            self._start, self._examples, self._tokens = now, 0, 0
        seconds = max(now - self._start, 1e-9)
        rates = f"{self._examples / seconds:,.0f} examples/s"
        if self._tokens:  # 0 if the texts are encoded before training
            rates += f"  {self._tokens / seconds:,.0f} tokens/s"
        if self._live:
            self._live.update(self._task, completed=step, description=f"loss {loss:.4f}  {rates}")
        elif not self._quiet and step == self._first + 1:  # nothing measured yet
            print(f"step {step}/{self._num_steps}  loss {loss:.4f}", flush=True)
        elif not self._quiet and (now - self._last_print > self._every or step == self._num_steps):
            self._last_print = now
            left = (self._num_steps - step) * seconds / max(step - self._first - 1, 1)
            print(f"step {step}/{self._num_steps}  loss {loss:.4f}  {rates}  {left:.0f} s left", flush=True)

    def note(self, text: str) -> None:
        """Print a line, above the live one if there is one."""
        if self._live:
            self._live.console.print(text)
        elif not self._quiet:
            print(text, flush=True)

    def close(self) -> None:
        """Stop the live line."""
        if self._live:
            self._live.stop()
        self._muted.close()
