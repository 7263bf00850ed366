"""One side of the comparison as a process of its own: it sets a work up, then runs it once for every line it is sent.

So two sides measure in turn inside one run, and neither loads the other's libraries. Both read this file and nothing
else of each other.
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
