"""Progress of reading files: how much of the bytes on disk is read, plain or gzipped; nothing changes what is read."""

import gzip

import pytest

from llmrec_jax.data import progress
from llmrec_jax.data.domains.folders import text_lines
from llmrec_jax.data.domains.problems import Findings

LINES = [f"line {number}" for number in range(3 * progress.LINES)]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_say_how_much_is_read(tmp_path, capsys, suffix):
    path = tmp_path / f"interactions.csv{suffix}"
    content = "\n".join(LINES).encode()
    path.write_bytes(gzip.compress(content) if suffix else content)
    for quiet in (False, True):
        with (
            progress.reading_shown(quiet=quiet, every_seconds=-1),
            text_lines(path, None, Findings()) as lines,
        ):
            assert [line for _, line in lines] == LINES
        out, err = capsys.readouterr()
        assert out == ""
        shares = [int(line.removeprefix(f"reading {path}: ").removesuffix(" %")) for line in err.splitlines()]
        assert shares == ([] if quiet else sorted(shares))
        assert quiet or (len(shares) == 4 and 0 < shares[0] < shares[-1] == 100)
    with text_lines(path, None, Findings()) as lines:
        assert next(lines) == (1, "line 0")
    assert capsys.readouterr() == ("", "")
