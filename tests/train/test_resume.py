"""A killed and resumed run gives the same parameters, metrics and report as one that was never killed.

Each run is a separate process, `python train.py CONFIG.py`. The configuration file of the killed runs makes them kill
themselves with SIGKILL, in the middle of a line of metrics.
"""

import dataclasses
import io
import json
import re
import shutil
import signal
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import cli
from llmrec_jax.config import AdaptConfig, MeshConfig
from llmrec_jax.data.batches.batch import BATCH_RULE
from llmrec_jax.data.domains import demo
from llmrec_jax.train import evaluation
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.metrics import MetricsFile
from llmrec_jax.train.state import TrainState
from tests.train import jobs
from tests.train.test_trackers import events
from tests.train.tiny import metrics_of, tiny_config

STEPS, CHECKPOINT_EVERY, KILLED_AT = 28, 6, 13  # 13: while the checkpoint of step 12 is being written
LAST = 24  # the last checkpoint before the end
STOPPED_AT = 19  # by a signal that saves

CONFIG_FILE = """
import dataclasses, os, signal
from pathlib import Path
from tests.train.test_resume import resume_config
from llmrec_jax.train.metrics import MetricsFile

def config():
    return resume_config(Path({root!r}))

write = MetricsFile.write

def write_and_die(self, step, metrics):
    write(self, step, metrics)
    if step == int(os.environ.get("KILL_AT", "0")):
        self._file.write('{{"step": 14, "lo')
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if step == int(os.environ.get("STOP_AT", "0")):
        os.kill(os.getpid(), signal.SIGTERM)

MetricsFile.write = write_and_die
"""

PROGRESS = r".+( \.\.\.|: took) [\d,]+ s"  # of work that takes over two seconds


def resume_config(root):
    config = tiny_config(root / "cache", root=str(root), sources=("films",), target="books", augment="mask")
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, dropout=0.1),
        model=dataclasses.replace(config.model, user_tower="mean"),  # quick to compile
        adapt=AdaptConfig(),  # `test_processes` resumes a run that adapts
        loss=dataclasses.replace(config.loss, domain_weights="group_dro", domain_step_size=0.5),
        train=dataclasses.replace(
            config.train, steps=STEPS, checkpoint_every=CHECKPOINT_EVERY, eval_every=15, batch_size=16
        ),
    )


def run(root, workdir, kill_at=0, stop_at=0):
    """The exit code, the standard output and the errors of a run."""
    arguments = [str(root / "config.py"), "--workdir", str(workdir)]
    environment = {"KILL_AT": str(kill_at), "STOP_AT": str(stop_at)}
    with jobs.started(Path(tempfile.mkdtemp(dir=root)) / "output", arguments, environment, {}) as process:
        return process.finish(timeout=300)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with both shops, and the configuration file."""
    root = tmp_path_factory.mktemp("root")
    for shop in demo.SIZES:
        demo.write(shop, root).rename(root / shop)
    (root / "config.py").write_text(CONFIG_FILE.format(root=str(root)))
    return root


@pytest.fixture(scope="module")
def straight(root):
    code, _, err = run(root, root / "straight")
    assert code == 0, err
    return root / "straight"


@pytest.fixture(scope="module")
def resumed(root):
    """Killed, resumed and stopped by a signal, resumed again. (`test_processes` kills a run that was resumed.)"""
    workdir = root / "resumed"
    code, _, err = run(root, workdir, kill_at=KILLED_AT)
    assert code == -signal.SIGKILL, err
    lines = (workdir / "metrics.jsonl").read_text().split("\n")
    assert json.loads(lines[-2])["step"] == KILLED_AT
    assert lines[-1].startswith('{"step": 14')
    latest = Checkpoints(workdir / "checkpoints", read_only=True).latest_step()
    assert latest is not None
    assert latest < KILLED_AT  # something is lost, something is kept
    code, out, err = run(root, workdir, stop_at=STOPPED_AT)
    assert code == 75, err
    assert out.startswith(f"resuming at step {latest} of {STEPS}\n")
    saved = STOPPED_AT + 1  # the step in flight
    others = [line for line in err.splitlines() if not re.fullmatch(PROGRESS, line)]
    assert others == [f"stopped: step {saved} of {STEPS} is saved; run the same command again to resume"]
    assert Checkpoints(workdir / "checkpoints", read_only=True).latest_step() == saved
    assert not (workdir / "lock.json").exists()
    code, out, err = run(root, workdir)
    assert code == 0, err
    assert out.startswith(f"resuming at step {saved} of {STEPS}\n")
    return workdir


def report_of(workdir):
    return json.loads((workdir / "report.json").read_text())


def arrays(experiment, folder, step):
    """Everything in a checkpoint, as host arrays."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.eval_shape(experiment.init_state)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    return jax.device_get(Checkpoints(folder, read_only=True).restore(step, like))


@pytest.mark.slow
def test_killed_run_equals_the_straight_one(root, straight, resumed):
    experiment = experiment_lib.build(resume_config(root))
    best = report_of(straight)["selection"]["step"]
    folders = [workdir / "checkpoints" for workdir in (straight, resumed)]
    for step in {LAST, STEPS, best}:
        expected, found = (arrays(experiment, folder, step) for folder in folders)
        assert expected.step == step
        jax.tree.map(np.testing.assert_array_equal, expected, found)
        infos = [Checkpoints(folder, read_only=True).info(step) for folder in folders]
        assert infos[0] == infos[1]
    lines = [metrics_of(workdir) for workdir in (straight, resumed)]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines[0] if "valid/ndcg@10" in line] == [15, STEPS]
    assert max(line.get("valid/ndcg@10", 0) for line in lines[0]) == report_of(straight)["selection"]["value"]
    rates = [line["learning_rate"] for line in lines[0]]
    assert rates[0] == 0
    assert rates[4] == max(rates) == pytest.approx(3e-3)  # after the four steps of warm-up
    assert rates[-1] < 1e-4
    for name in ("results", "selection", "hashes", "verdict", "comparison"):
        assert report_of(straight)[name] == report_of(resumed)[name]
    with np.load(straight / "ranks.npz") as expected, np.load(resumed / "ranks.npz") as found:
        assert {"user_ids", "ease", "model", "only text", "answer"} <= set(expected.files)
        assert set(expected.files) == set(found.files)
        for name in expected.files:
            np.testing.assert_array_equal(expected[name], found[name])


@pytest.mark.slow
def test_tensorboard_has_each_step_once(straight, resumed):
    for workdir in (straight, resumed):
        *steps, (last, report) = events(workdir / "tensorboard")
        lines = metrics_of(workdir)
        assert [step for step, _ in steps] == [line["step"] for line in lines]
        for (_, scalars), line in zip(steps, lines, strict=True):
            assert scalars["loss"] == pytest.approx(line["loss"], rel=1e-6)
            assert set(line) <= {"step", *scalars}
        assert last == STEPS
        rows = [row for row in report_of(workdir)["results"] if row["split"] == "test"]
        (answer,) = (row["ndcg@10"] for row in rows if row["method"] == "answer")
        assert report["test/answer/ndcg@10"] == pytest.approx(answer, rel=1e-6)


@pytest.mark.slow
def test_a_run_goes_on_on_another_mesh(root, straight, tmp_path):
    """From one device to eight: with dropout, and on the same batches."""
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.drop_after(LAST)
    checkpoints.close()
    config = dataclasses.replace(resume_config(root), mesh=MeshConfig(data=4, fsdp=2))
    train_and_evaluate(config, workdir, Console(quiet=True), reports=False)
    expected, found = metrics_of(straight), metrics_of(workdir)
    assert found[:LAST] == expected[:LAST]
    assert found[LAST:] != expected[LAST:]  # it did run again: sums in another order are not the same to the last bit
    for ours, theirs in zip(found, expected, strict=True):
        scores = [line.pop("valid/ndcg@10", 0) for line in (ours, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=2 / 1200)  # two users may have moved over the cutoff
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_a_report_that_fails_loses_nothing(root, straight, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ValueError("no report")

    workdir = shutil.copytree(straight, tmp_path / "run")
    before = (workdir / "metrics.jsonl").read_text()
    monkeypatch.setattr("llmrec_jax.train.loop.write_report", fail)
    monkeypatch.setattr("llmrec_jax.parallel.Jit.init", None)  # what is restored is not made at random first
    said, exported = Console(file=io.StringIO(), width=1000), []
    with pytest.raises(ValueError, match="no report"):
        train_and_evaluate(resume_config(root), workdir, said, export=exported.append)
    assert said.file.getvalue().startswith(f"already complete ({STEPS} steps): writing bundle and report\n")
    best = report_of(straight)["selection"]["step"]
    expected = arrays(exported[0].experiment, straight / "checkpoints", best).params
    jax.tree.map(np.testing.assert_array_equal, exported[0].params, expected)
    assert (workdir / "metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_evaluate_verb_gives_the_report_again(straight, capsys, monkeypatch):
    rows = report_of(straight)["results"]
    methods = {row["method"] for row in rows}
    assert {"popularity", "text_knn", "text_knn_decayed", "item_knn", "ease", "model", "only text", "answer"} <= methods
    before = sorted(straight.rglob("*"))
    evaluated, evaluate_run = [], evaluation.evaluate_run
    monkeypatch.setattr(
        evaluation, "evaluate_run", lambda *args, **more: evaluated.append(evaluate_run(*args, **more)) or evaluated[0]
    )
    assert cli.main(["evaluate", str(straight), "--json", "--batch-size", "1000"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["results"] == rows
    for name in ("hashes", "regime", "verdict", "comparison", "left_out"):
        assert again[name] == report_of(straight)[name]
    monkeypatch.setattr(evaluation, "evaluate_run", lambda *_, **__: evaluated[0])  # only the printing differs
    assert cli.main(["evaluate", str(straight)]) == 0
    out = capsys.readouterr().out
    assert again["verdict"] in out
    assert f"split hash {again['hashes']['split']}" in out
    assert sorted(straight.rglob("*")) == before


@pytest.mark.slow
def test_another_configuration_is_refused(straight, root, tmp_path):
    config = resume_config(root)
    other = dataclasses.replace(config, optim=dataclasses.replace(config.optim, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"another configuration.*\n  optim\.learning_rate: 0\.003 there, 0\.5 here$"):
        train_and_evaluate(other, straight, Console(quiet=True))


@pytest.mark.slow
def test_other_data_is_refused(straight, root, tmp_path, capsys):
    for shop in demo.SIZES:
        (tmp_path / shop).mkdir()
        for name, content in demo.generate(shop).items():
            (tmp_path / shop / name).write_bytes(content)
    with (tmp_path / "books" / "interactions.csv").open("a") as file:
        file.write("somebody,book-0000,5.0,1700000000\n")
    config = resume_config(root)
    moved = dataclasses.replace(config, data=dataclasses.replace(config.data, root=str(tmp_path)))
    with pytest.raises(ValueError, match=r"the data changed since"):
        train_and_evaluate(moved, straight, Console(quiet=True))
    assert cli.main(["evaluate", str(straight), "--data-root", str(tmp_path)]) == 2
    assert "the data changed since" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_does_not_go_on_with_batches_of_another_rule(straight, root, monkeypatch):
    monkeypatch.setattr("llmrec_jax.train.session.BATCH_RULE", BATCH_RULE + 1)
    with pytest.raises(ValueError, match=rf"forms batches differently \(rule {BATCH_RULE}, here {BATCH_RULE + 1}\)"):
        train_and_evaluate(resume_config(root), straight, Console(quiet=True))


def test_checkpoint_holds_the_state_of_its_step_though_its_buffers_are_donated(tmp_path):
    bump = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    weights = {"kernel": jnp.zeros((1500, 1500)), "bias": jnp.zeros(7)}
    state = TrainState(jnp.int32(0), weights, (), jnp.zeros(2, jnp.uint32))
    for step in range(1, 9):
        state = bump(state)
        if step % 2 == 0:
            checkpoints.save(state, step, RunInfo({}, {}, "", {}, {}))
    checkpoints.wait()
    for step in (6, 8):
        for leaf in jax.tree.leaves(checkpoints.restore(step, state)):
            np.testing.assert_array_equal(leaf, step)
    checkpoints.close()


def test_metrics_file_drops_torn_lines_and_steps_to_come(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "loss": 1.0}\n{"step": 2, "l')
    file = MetricsFile(path, restored_step=2)
    file.write(3, {"loss": 1.25})
    file.close()
    assert [json.loads(line)["loss"] for line in path.read_text().splitlines()] == [2.0, 1.5, 1.25]
