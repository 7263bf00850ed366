"""Progress: lines where nobody watches, bars on a terminal, nothing for short work or in a process that is muted."""

import io
import threading
import time

import pytest

from llmrec_jax import progress
from llmrec_jax.progress import Meter, counted, mute, muted, shown


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    monkeypatch.setattr(progress, "REFRESH", 0.01)


class Terminal(io.StringIO):
    """Notices what is written to it."""

    def isatty(self):
        return True


def until(condition):
    """Wait until the thread that watches has got there."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_meter_says_what_is_done_and_what_is_left():
    meter = Meter("encoding texts", 2000)
    assert meter.line() == "encoding texts: 0 of 2,000"
    meter.advance(500)
    meter.started -= 30
    assert meter.line() == "encoding texts: 500 of 2,000, 90 s left"
    meter.begin("reading a.csv", 100)
    meter.is_share = True
    assert meter.line() == "reading a.csv: 0%"
    meter.advance(300)  # more than was thought
    assert meter.line() == "reading a.csv: 100%"
    assert Meter("exporting the bundle").line() == "exporting the bundle ... 0 s"


def test_lines_where_nobody_watches(fast, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with shown("importing", 200, is_share=True) as meter:
        meter.begin("reading items: a.csv")
        meter.advance(50)
        until(lambda: stream.getvalue().count("reading items: a.csv: 25%, 0 s left\n") > 1)  # more than one
    assert stream.getvalue().splitlines()[-1] == "importing: took 0 s"


def test_short_work_shows_nothing(capsys):
    assert list(counted(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    with shown("exporting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_muted_process_shows_nothing(fast, capsys):
    def work():
        with shown("exporting"):
            time.sleep(0.05)

    def muted_for_ever():
        mute()
        work()

    with muted(), muted(False):
        work()
    thread = threading.Thread(target=muted_for_ever)  # has a context of its own
    thread.start()
    thread.join()
    assert capsys.readouterr() == ("", "")
    work()
    assert "exporting ..." in capsys.readouterr().err


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_bars_on_a_terminal_share_one_display(fast, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with shown("evaluating [methods]", 8) as outer:
        outer.advance(3)
        until(lambda: "evaluating [methods] 3 of 8" in stream.getvalue())
        with shown("encoding texts", 20):
            until(lambda: "encoding texts 0 of 20" in stream.getvalue())
            assert len(progress._bars._display.tasks) == 2
        until(lambda: len(progress._bars._display.tasks) == 1)
    assert progress._bars._display is None


def test_an_error_ends_the_progress(fast, capsys):
    with pytest.raises(KeyError), shown("exporting"):
        raise KeyError
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
