"""SIGINT (Ctrl-C) and SIGTERM: the first ends a command as soon as nothing is lost by it, the second at once.

While steps are taken a signal is only noted, and the loop saves before it ends. Elsewhere there is nothing to save and
it becomes a `KeyboardInterrupt`. Python raises that between two of its own instructions, which can be minutes away (a
compilation): a thread watches, and ends the process where that takes too long.
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
GRACE = 3.0  # seconds in which Python should have raised


class Saved(KeyboardInterrupt):
    """The run stopped after a step that is saved; all processes of its job did."""


class Interrupts:
    """A context manager that handles the two signals within; used outside of one, none ever arrives."""

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
        os.close(self._write)  # which ends the thread
        self._thread.join()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Within, a signal only sets `requested`; raises `KeyboardInterrupt` at the end where nobody acted on it."""
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
        """Runs in a thread, which sees signals at once: the system writes the number of each into the pipe."""
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
        """Wait for a signal or the end of the context, for at most `timeout` seconds."""
        while select.select([self._read], [], [], timeout)[0]:
            number = os.read(self._read, 1)
            if not number:
                return "end"
            if number[0] in SIGNALS:
                return "signal"
        return "nothing"


def leave() -> None:
    """End the process at once, other threads and processes whatever they do."""
    os.write(2, b"stopped at once; run the same command again to go on\n")
    os._exit(INTERRUPTED)
