"""Handles SIGINT (Ctrl-C) and SIGTERM: the first signal stops a command without losing work, the second at once.

During training a signal only sets a flag, and the loop saves a checkpoint before it stops. Elsewhere there is nothing
to save, and a signal raises `KeyboardInterrupt`. Python runs signal handlers only between bytecode instructions, which
a compilation can delay by minutes; so a thread ends the process if that takes too long.
"""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from typing import Any, Literal

from llmrec_jax.errors import INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 3.0  # seconds to wait for Python to raise KeyboardInterrupt


class Saved(KeyboardInterrupt):
    """The run stopped after saving a checkpoint, on all processes of the job."""


class Interrupts:
    """A context manager that handles the two signals; if not entered, `requested` stays False."""

    def __init__(self) -> None:
        self.requested = False
        self._postponed = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupts":
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        self._thread = threading.Thread(target=self._watch, daemon=True, name="signals")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._write)  # ends the thread
        self._thread.join()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """A context in which a signal only sets `requested`; raises `KeyboardInterrupt` on exit if it is set."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, *_: object) -> None:
        if not self.requested:
            self.requested = True
            if not self._postponed:
                raise KeyboardInterrupt

    def _watch(self) -> None:
        """Runs in a thread. Signals arrive without delay: their numbers are written to the pipe (`set_wakeup_fd`)."""
        event = self._next_event(None)
        if event == "signal":
            event = self._next_event(GRACE)
            if event == "nothing" and self._postponed:
                os.write(2, b"stopping after this step; a second signal stops at once\n")
                event = self._next_event(None)
            if event != "end":
                leave()
        os.close(self._read)

    def _next_event(self, timeout: float | None) -> Literal["signal", "nothing", "end"]:
        """Wait at most `timeout` seconds for a signal or the end of the context."""
        while select.select([self._read], [], [], timeout)[0]:
            number = os.read(self._read, 1)
            if not number:
                return "end"
            if number[0] in SIGNALS:
                return "signal"
        return "nothing"


def leave() -> None:
    """End the process at once, without waiting for other threads or processes."""
    os.write(2, b"stopped at once; run the same command again to resume\n")
    os._exit(INTERRUPTED)
