"""Trackers get every step once, also after an interruption; a broken one never stops a run."""

import io
import json
import re
import sys
import types

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event

from llmrec_jax.config import Config, changed, validate
from llmrec_jax.errors import UserError
from llmrec_jax.train import trackers
from tests.conftest import REPO

PLUGIN = """
calls = []

class Tracker:
    def __init__(self, config):
        calls.append(("open", config.seed))

    def log(self, step, metrics):
        if metrics.get("loss") == 13:
            raise OSError("the server is away")
        calls.append((step, dict(metrics)))

    def close(self):
        calls.append("close")

def refuses(config):
    raise RuntimeError("no key")
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed distribution with three entry points; the module that the first two name."""
    folder = tmp_path / "site"
    (folder / "a_tracker-1.0.dist-info").mkdir(parents=True)
    (folder / "a_tracker.py").write_text(PLUGIN)
    (folder / "a_tracker-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: a-tracker\nVersion: 1\n")
    points = "[llmrec_jax.trackers]\nmine = a_tracker:Tracker\nno_key = a_tracker:refuses\ngone = not_there:Tracker\n"
    (folder / "a_tracker-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(folder))
    import a_tracker

    yield a_tracker
    del sys.modules["a_tracker"]


def events(folder):
    """Step and metrics of all records in the event files, in their order."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            if size + 16 > len(content):
                break
            event, content = Event.FromString(content[12 : 12 + size]), content[16 + size :]
            if event.HasField("summary"):
                found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
    return found


def track(workdir, names, restored, steps, report=None):
    """A run from the restored step on, killed before it closes unless it has a report; what it prints."""
    said = io.StringIO()
    config = changed(Config(), {"seed": 4, "train.trackers": names})
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    logged = len(lines)
    path.write_text("".join(f"{line}\n" for line in lines[:restored]))
    with trackers.opened(config, workdir, Console(file=said, soft_wrap=True)) as tracked:
        tracked.start(logged, restored)
        for step in range(restored + 1, steps + 1):
            with path.open("a") as file:
                file.write(json.dumps({"step": step, "loss": float(step), "nothing": None}) + "\n")
            tracked.log(step, {"loss": float(step), "nothing": float("nan")})
        if report:
            tracked.report(steps, report)
    return said.getvalue()


def test_a_plugin_gets_each_step_and_the_report_once(plugin, tmp_path):
    track(tmp_path, ["mine"], 0, 3)
    assert plugin.calls == [("open", 4), *((step, {"loss": step}) for step in (1, 2, 3)), "close"]
    plugin.calls.clear()
    track(tmp_path, ["mine"], 1, 2)  # repeats step 2 of 3, and is stopped again
    track(tmp_path, ["mine"], 2, 5, report={"test/answer/ndcg@10": 0.5})
    steps = [call[0] for call in plugin.calls if call[0] != "open" and call != "close"]
    assert steps == [4, 5, 5]
    plugin.calls.clear()
    track(tmp_path, ["mine"], 5, 5, report={"test/answer/ndcg@10": 0.5})  # a finished run again
    assert plugin.calls == []


def test_tensorboard_has_each_step_once_whatever_was_lost(tmp_path):
    folder = tmp_path / "tensorboard"
    track(tmp_path, ["tensorboard"], 0, 6)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # a kill cut the record of step 6
    assert trackers.last_step(folder) == 5
    track(tmp_path, ["tensorboard"], 4, 8, report={"test/answer/ndcg@10": 0.5})
    expected = [(step, {"loss": float(step)}) for step in range(1, 9)]
    assert events(folder) == [*expected, (8, {"test/answer/ndcg@10": 0.5})]


def test_tensorboard_is_filled_from_the_metrics(tmp_path):
    track(tmp_path, [], 0, 4)
    track(tmp_path, ["tensorboard"], 3, 5, report={"test/answer/ndcg@10": 0.5})
    expected = [(step, {"loss": float(step)}) for step in (1, 2, 3, 4, 5)]
    assert events(tmp_path / "tensorboard") == [*expected, (5, {"test/answer/ndcg@10": 0.5})]


def test_a_broken_tracker_is_named_once_and_the_others_go_on(plugin, tmp_path):
    said = track(tmp_path, ["no_key", "gone", "mine", "tensorboard"], 0, 15)
    lines = said.splitlines()
    assert lines[0] == "tracker no_key did not start and was disabled: RuntimeError: no key"
    assert lines[1].startswith("tracker gone did not start and was disabled: ModuleNotFoundError: ")
    assert lines[2:] == ["tracker mine failed at step 13 and was disabled: OSError: the server is away"]
    assert [step for step, _ in events(tmp_path / "tensorboard")] == list(range(1, 16))


def test_a_name_that_nobody_offers_is_refused(plugin, tmp_path):
    with pytest.raises(UserError, match=r"no installed package has a tracker named wandb .*gone, mine, no_key"):
        trackers.find(["wandb"], tmp_path)
    with pytest.raises(UserError, match="each only once"):
        validate(changed(Config(), {"train.trackers": ["tensorboard", "tensorboard"]}))


def plugin_of_the_docs(module, monkeypatch, library):
    """The tracker that docs/reports.md shows for a library, with a stand-in for it."""
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**library))
    sources = re.findall(r"```python\n(.*?)```", (REPO / "docs" / "reports.md").read_text(), flags=re.DOTALL)
    (source,) = [source for source in sources if f"import {module}\n" in source]
    names: dict = {}
    exec(compile(source, "reports.md", "exec"), names)
    return names["Tracker"](Config(seed=7))


def test_the_wandb_plugin_of_the_docs(monkeypatch):
    calls = []
    run = types.SimpleNamespace(log=lambda metrics, step: calls.append((step, metrics)), finish=lambda: calls.append(0))
    init = lambda project, config: calls.append(config["seed"]) or run  # noqa: E731
    tracker = plugin_of_the_docs("wandb", monkeypatch, {"init": init})
    tracker.log(1, {"loss": 2.0})
    tracker.close()
    assert calls == [7, (1, {"loss": 2.0}), 0]


def test_the_mlflow_plugin_of_the_docs(monkeypatch):
    calls = []

    def log_metrics(metrics, step):
        assert all(re.fullmatch(r"[\w\-. :/]+", name) for name in metrics)  # MLflow refuses other characters
        calls.append((step, metrics))

    library = {"set_experiment": calls.append, "start_run": lambda: None, "log_metrics": log_metrics,
               "log_params": lambda fields: calls.append(fields["seed"]),
               "end_run": lambda: calls.append(0)}  # fmt: skip
    tracker = plugin_of_the_docs("mlflow", monkeypatch, library)
    tracker.log(1, {"target_valid_ndcg@10": 2.0})
    tracker.close()
    assert calls == ["llmrec", 7, (1, {"target_valid_ndcg at 10": 2.0}), 0]


def test_the_metrics_of_a_report():
    rows = [
        {"method": "answer", "domain": "d", "split": split, "users": 3, "ndcg@10": value, "mrr": 0.1, "tied_users": 0}
        for split, value in (("valid", 0.3), ("test", 0.2))
    ]
    assert trackers.report_metrics(rows) == {"test/answer/ndcg@10": 0.2, "test/answer/mrr": 0.1}
