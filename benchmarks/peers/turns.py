"""One side of the comparison, in its own process: set up the work, then run it once for each line on standard input.

Both sides can so be timed in turn in one run, and neither imports the other's libraries. This file is all they share.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Work = tuple[Callable[[], Any], float]  # run it once; how many units (items, steps, ...) one run does


def serve(setup: Callable[[], tuple[Callable[[], Any], float, Callable[[], dict[str, float]]]]) -> None:
    """Answer every line of standard input with the seconds of one run.

    `setup` returns (run, units of a run, facts); it has warmed up already. The first line written is {"units": ...};
    the last, after the input ends, holds the facts: what both sides must agree on.
    """
    run, units, facts = setup()
    _say({"units": units})
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        _say({"seconds": time.perf_counter() - start})
    _say(facts())


def _say(message: dict[str, float]) -> None:
    print(json.dumps(message), flush=True)
