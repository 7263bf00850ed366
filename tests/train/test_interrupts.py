"""The first signal stops a command without losing work, the second stops it at once; both with exit code 75."""

import signal
import subprocess
import sys
import time

import pytest

from llmrec_jax.train.interrupts import Interrupts

PROGRAM = """
import hashlib, sys, time
from llmrec_jax.errors import one_line_errors
from llmrec_jax.train import interrupts

interrupts.GRACE = 0.3

def busy():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes without an instruction of Python

def asleep():
    print("ready", flush=True)
    time.sleep(60)

def saving():
    with stop.postponed():
        print("ready", flush=True)
        while not stop.requested:
            time.sleep(0.01)
        print("noted", flush=True)
        time.sleep(0.6)
        raise interrupts.Saved("step 3 is saved")

def finishing():
    with stop.postponed():
        print("ready", flush=True)
        while not stop.requested:
            time.sleep(0.01)

with one_line_errors() as status, interrupts.Interrupts() as stop:
    {name}()
sys.exit(status.code)
"""
AT_ONCE = "stopped at once; run the same command again to resume\n"
NOTED = "stopping after this step; a second signal stops at once\n"


@pytest.mark.parametrize(
    ("name", "signals", "said"),
    [
        ("asleep", 1, "stopped\n"),
        ("busy", 1, AT_ONCE),
        ("saving", 1, f"{NOTED}stopped: step 3 is saved\n"),
        ("saving", 2, AT_ONCE),
        ("finishing", 1, "stopped\n"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_ends_the_command(name, signals, said, number):
    command = [sys.executable, "-c", PROGRAM.replace("{name}", name)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if name == "busy":
            time.sleep(0.3)  # until it is inside of the call
        process.send_signal(number)
        if signals == 2:
            assert process.stdout.readline() == "noted\n"
            process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (75, said)


def test_the_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt), interrupts:
        signal.raise_signal(signal.SIGINT)
    assert interrupts.requested
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.set_wakeup_fd(-1) == -1
