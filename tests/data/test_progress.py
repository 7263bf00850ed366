"""Progress of reading files: how much of the bytes on disk is read, plain or gzipped; nothing changes what is read."""

import gzip

import pytest

from llmrec_jax.data import progress
from llmrec_jax.data.domains.folders import text_lines
from llmrec_jax.data.domains.problems import Findings

LINES = [f"line {number}" for number in range(3 * progress.LINES)]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_say_how_much_is_read(tmp_path, suffix):
    path = tmp_path / f"interactions.csv{suffix}"
    content = "\n".join(LINES).encode()
    path.write_bytes(gzip.compress(content) if suffix else content)
    states = []
    with progress.reading_shown(), text_lines(path, None, Findings()) as lines:
        for number, line in lines:
            assert line == LINES[number - 1]
            states.append(progress._meter.get().line())
    assert states[0] == f"reading {path}: 0%"
    shares = [int(state.partition(": ")[2].partition("%")[0]) for state in states]
    assert shares == sorted(shares)
    assert 0 < shares[progress.LINES] < 100
    assert len(set(shares)) >= 3
    with text_lines(path, None, Findings()) as lines:
        assert next(lines) == (1, "line 0")
    assert progress._meter.get() is None
