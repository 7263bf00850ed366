"""Exit code 0 on success; 2 and one message on wrong usage or input; a traceback on bugs."""

import errno
import json
import os

import numpy as np
import pytest

from llmrec_jax.data.domains import demo
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import one_line_errors
from tests.cli.conftest import python
from tests.conftest import REPO


def test_bugs_keep_their_traceback(capsys):
    with one_line_errors() as status:
        demo.write("nowhere", REPO)
    assert status.code == 2
    assert capsys.readouterr().err.startswith("error: no built-in shop")
    with pytest.raises(ValueError, match="mismatch"), one_line_errors():  # NumPy's, about shapes, in a line of ours
        Whitening(np.zeros(3), np.zeros((2, 2)))(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="Expecting value"), one_line_errors():
        json.loads("")
    with pytest.raises(KeyError), one_line_errors():
        {}["nothing"]


def test_what_the_machine_or_a_signal_is_to_blame_for_is_one_line(capsys, tmp_path):
    (tmp_path / "file").touch()
    with one_line_errors() as status:
        (tmp_path / "file" / "run").mkdir(parents=True)
    assert status.code == 2
    path = tmp_path / "file" / "run"
    assert capsys.readouterr().err == (
        f"error: {path}: Not a directory: a part of this path is a file; choose another folder\n"
    )
    with one_line_errors() as status:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/metrics.jsonl")
    assert status.code == 2
    assert capsys.readouterr().err.startswith("error: /run/metrics.jsonl: No space left on device: free some space")
    with one_line_errors() as status:
        raise KeyboardInterrupt
    assert (status.code, capsys.readouterr().err) == (75, "stopped\n")


def test_help_and_validate_start_without_jax(shop):
    code = (
        "import sys; from llmrec_jax.cli import main\ntry:\n main(sys.argv[1:])\nfinally: print('jax' in sys.modules)"
    )
    for arguments in (["--help"], ["validate", shop]):
        assert python("-c", code, *arguments).stdout.endswith("False\n")


def test_exit_codes_of_the_programs(config, shop):
    result = python("train.py", config, "--data.max_histroy", "3")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert python("-m", "llmrec_jax", "validate", shop).returncode == 0
    assert python("-m", "llmrec_jax", "validate", shop / "nowhere").returncode == 2
