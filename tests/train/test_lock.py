"""Only one process at a time uses a work folder; an abandoned lock is taken over."""

import os
import subprocess
import sys

import msgspec
import pytest

from llmrec_jax.train import lock
from llmrec_jax.train.lock import Owner, held

PROGRAM = """
import sys, time
from pathlib import Path
from llmrec_jax.train import lock
lock.BEAT_EVERY = 0.05
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def workdir(tmp_path):
    return tmp_path / "runs" / "run"


@pytest.fixture
def other(workdir):
    """Another process that holds the work folder's lock."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, workdir], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def rewritten(workdir, **changes):
    """Replace fields of the lock that is there."""
    path = workdir / lock.NAME
    owner = msgspec.json.decode(path.read_bytes(), type=Owner)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, **changes)))


def test_a_folder_that_stays_empty_is_taken_away(workdir):
    with held(workdir):
        assert [path.name for path in workdir.iterdir()] == [lock.NAME]
    assert not workdir.exists()
    with held(workdir):
        (workdir / "metrics.jsonl").touch()
    assert [path.name for path in workdir.iterdir()] == ["metrics.jsonl"]


def test_the_second_process_is_refused_until_the_first_is_gone(workdir, other):
    message = rf"^{workdir} is in use by process {other.pid} on .*: wait until it has ended"
    with pytest.raises(ValueError, match=message), held(workdir):
        pass
    assert (workdir / lock.NAME).exists()
    other.kill()
    other.wait()
    with held(workdir):
        assert msgspec.json.decode((workdir / lock.NAME).read_bytes(), type=Owner).pid == os.getpid()


def test_a_number_that_another_process_has_by_now_does_not_count(workdir):
    with held(workdir):
        rewritten(workdir, started="3", token="another's")
    assert (workdir / lock.NAME).exists()  # it was no longer ours
    with held(workdir):
        pass


def test_a_lock_of_another_machine_is_taken_over_unless_it_is_rewritten(workdir, monkeypatch, capfd):
    monkeypatch.setattr(lock, "WATCH", 0.3)
    monkeypatch.setattr(lock, "BEAT_EVERY", 0.05)
    with held(workdir):
        rewritten(workdir, machine="another", pid=1, token="another's")
        monkeypatch.setattr(lock, "_machine", lambda: "mine")
    with held(workdir):
        pass
    assert "is held by another machine: waiting up to 0 s to see whether it is still active" in capfd.readouterr().err
    assert not workdir.exists()


def test_the_owner_on_another_machine_is_seen_to_be_alive(workdir, other, monkeypatch):
    monkeypatch.setattr(lock, "_machine", lambda: "mine")
    with pytest.raises(ValueError, match=rf"is in use by process {other.pid} on "), held(workdir):
        pass


def test_an_owner_whose_lock_was_taken_over_ends(workdir, other):
    rewritten(workdir, token="another's")
    assert other.wait(timeout=30) == 2
