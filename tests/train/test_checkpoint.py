"""Checkpoints: damaged ones are skipped, and a kill at any time leaves the newest one and its best step."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.train import checkpoint, manifest
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.state import TrainState

# (step, best step so far) of a run that validates every 2 steps, saves every 3, and improves at 2, 4 and 10.
SAVES = ((2, 2), (3, 2), (4, 4), (6, 4), (9, 4), (10, 10), (12, 10))


def info(best=None):
    return RunInfo({"next": 3}, {"seed": 1}, "hash", {}, {} if best is None else {"step": best, "value": 0.5})


def state(value):
    return TrainState(jnp.int32(value), {"kernel": jnp.full((64, 64), float(value))}, (), jnp.zeros(2, jnp.uint32))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder with the checkpoints of steps 2 (the best one), 4 and 6."""
    folder = tmp_path_factory.mktemp("three") / "checkpoints"
    checkpoints = Checkpoints(folder)
    for step in (2, 4, 6):
        checkpoints.save(state(step), step, info(best=2))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(three, tmp_path):
    return shutil.copytree(three, tmp_path / "checkpoints")


def files(path):
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def flip(file):
    content = bytearray(file.read_bytes())
    if content:
        content[len(content) // 2] ^= 4
    else:
        content = bytearray(b"x")
    file.write_bytes(content)


def test_the_newest_two_and_the_best_are_kept_and_read_back(three):
    checkpoints = Checkpoints(three, read_only=True)
    assert checkpoints.steps() == [2, 4, 6]
    assert checkpoints.newest_intact() == (6, [])
    assert checkpoints.info(6) == info(best=2)
    np.testing.assert_array_equal(checkpoints.restore(4, state(0)).params["kernel"], 4.0)


@pytest.mark.parametrize(("keep", "steps"), [(1, [3]), (2, [2, 3]), (9, [1, 2, 3])])
def test_as_many_are_kept_as_asked_for(tmp_path, keep, steps):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=keep)
    for step in (1, 2, 3):
        checkpoints.save(state(step), step, info())
    checkpoints.close()
    assert checkpoints.steps() == steps


def test_domain_weights_are_saved_where_there_are_any(three, tmp_path):
    """Without them a checkpoint is as those of earlier versions, which had no such field."""
    names = json.loads((three / "6" / "state" / "_METADATA").read_text())["tree_metadata"]
    assert {name.split("'")[1] for name in names} == {"step", "params", "opt_state", "rng"}
    assert Checkpoints(three, read_only=True).restore(6, state(0)).log_weight_G is None
    weighted = state(7)._replace(log_weight_G=jnp.log(jnp.array([0.3, 0.7])))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(weighted, 7, info())
    checkpoints.wait()
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(7, weighted), weighted)
    checkpoints.close()


@pytest.mark.parametrize("harm", [flip, lambda file: os.truncate(file, 1), Path.unlink], ids=["bit", "cut", "missing"])
def test_damage_to_any_file_of_the_newest_leads_to_the_one_before(folder, harm):
    for number in range(len(files(folder / "6"))):
        copy = shutil.copytree(folder, folder.with_name(f"copy{number}"))
        file = files(copy / "6")[number]
        harm(file)
        step, problems = Checkpoints(copy).newest_intact()
        assert (step, len(problems)) == (4, 1), file
        assert problems[0].startswith(f"{copy / '6'}: ")
        assert file.name in problems[0] or problems[0].endswith("it was not finished")


def test_a_checkpoint_whose_best_step_is_damaged_is_not_used(folder):
    flip(files(folder / "2")[-1])
    with pytest.raises(ValueError, match=r"^no checkpoint is intact\n(.*\n){3}  delete .* to train again") as raised:
        Checkpoints(folder).newest_intact()
    assert f"{folder / '6'}: its best step, 2: state/" in str(raised.value)


def test_a_save_killed_before_its_manifest_counts_as_never_made(folder):
    for step in (4, 6):
        (folder / str(step) / manifest.NAME).unlink()
    assert Checkpoints(folder).newest_intact()[0] == 2
    (folder / "2" / manifest.NAME).unlink()
    assert Checkpoints(folder).newest_intact()[0] is None
    assert Checkpoints(folder.with_name("nothing")).newest_intact() == (None, [])
    assert not folder.with_name("nothing").exists()


def test_a_run_that_begins_anew_saves_its_start_again(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(state(0), 0, info())
    checkpoints.wait()
    (tmp_path / "checkpoints" / "0" / manifest.NAME).unlink()
    checkpoints.drop_after(checkpoints.newest_intact()[0])
    checkpoints.save(state(0), 0, info())
    checkpoints.close()
    assert checkpoints.newest_intact() == (0, [])


def test_what_is_not_a_checkpoint_stays(folder):
    (folder / "notes").mkdir()
    (folder / "7").mkdir()
    (folder / "7" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"7 is not a checkpoint, but is named like one: move it elsewhere"):
        Checkpoints(folder)
    (folder / "7").rename(folder / "mine")
    (folder / f"9{checkpoint.UNFINISHED}").mkdir()
    checkpoints = Checkpoints(folder)
    checkpoints.drop_after(2)
    assert sorted(path.name for path in folder.iterdir()) == ["2", "mine", "notes"]


def test_readers_change_nothing(folder):
    (folder / f"9{checkpoint.UNFINISHED}").mkdir()
    (folder / "7").mkdir()
    before = sorted(folder.rglob("*"))
    reader = Checkpoints(folder, read_only=True)
    assert reader.newest_intact()[0] == 6
    reader.drop_after(2)
    assert sorted(folder.rglob("*")) == before


def test_storage_that_takes_no_more_is_named(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "manifest.json.tmp")

    checkpoints = Checkpoints(folder)
    monkeypatch.setattr(manifest, "write", full)
    checkpoints.save(state(8), 8, info())
    with pytest.raises(ValueError, match=rf"^{folder}: a checkpoint could not be saved: .*No space left on device"):
        checkpoints.close()
    assert Checkpoints(folder).newest_intact()[0] == 6


class KilledError(BaseException):
    """In place of a SIGKILL."""


class Machine:
    """Saves as Orbax does (a temporary folder, then a rename), and kills the process at one of the moments between."""

    def __init__(self, monkeypatch, killed_at):
        self.moments, self._killed_at = 0, killed_at
        replace, rename, rmtree = os.replace, Path.rename, shutil.rmtree

        def around(function):
            def call(*arguments, **options):
                self.tick()
                result = function(*arguments, **options)
                self.tick()
                return result

            return call

        def rmtree_in_two(path, **options):
            for file in files(Path(path))[::2]:
                file.unlink()
            self.tick()
            rmtree(path, **options)

        monkeypatch.setattr(checkpoint.ocp, "save_checkpointables_async", self.save)
        monkeypatch.setattr(os, "replace", around(replace))
        monkeypatch.setattr(Path, "rename", around(rename))
        monkeypatch.setattr(shutil, "rmtree", around(rmtree_in_two))

    def tick(self):
        self.moments += 1
        if self.moments == self._killed_at:
            raise KilledError

    def save(self, path, arrays):
        self._path, self._arrays = path, arrays
        return self

    def result(self):
        draft = self._path.with_name(self._path.name + checkpoint.UNFINISHED)
        draft.mkdir()
        (draft / checkpoint.ORBAX_FILE).write_text("{}")
        self.tick()
        (draft / "state").write_text(json.dumps(self._arrays["state"]))
        draft.rename(self._path)


def save_all(folder, saves):
    """Returns the steps whose saves ended; raises nothing where the process is killed on the way."""
    ended = []
    checkpoints = Checkpoints(folder)
    try:
        for step, best in saves:
            checkpoints.save(TrainState(step, None, None, None), step, info(best))  # type: ignore[arg-type]
            checkpoints.wait()
            ended.append(step)
    except KilledError:
        pass
    checkpoints.close()
    return ended


def test_a_kill_at_any_moment_leaves_the_newest_checkpoint_and_its_best(tmp_path):
    killed_at, ended = 0, []
    while len(ended) < len(SAVES):
        killed_at += 1
        folder = tmp_path / str(killed_at)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Machine(monkeypatch, killed_at)
            ended = save_all(folder, SAVES)
        step, _ = Checkpoints(folder).newest_intact()
        assert (step or 0) >= (ended[-1] if ended else 0)
        if step is not None:
            best = dict(SAVES)[step]
            assert Checkpoints(folder, read_only=True).info(step).best["step"] == best
            assert json.loads((folder / str(best) / "state").read_text()) == {"step": best}
        with pytest.MonkeyPatch.context() as monkeypatch:  # and the run goes on
            Machine(monkeypatch, killed_at=None)
            checkpoints = Checkpoints(folder)
            checkpoints.drop_after(step or 0)
            save_all(folder, [save for save in SAVES if save[0] > (step or 0)])
        assert sorted(path.name for path in folder.iterdir()) == ["10", "12"]
        assert Checkpoints(folder).newest_intact() == (12, [])
    assert killed_at > 50


def test_saving_copies_on_eight_devices_compiles_nothing(tmp_path):
    """Orbax would compile a program for each shape to slice the copies, which takes longer than writing them."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    copies = jax.device_put(state(1), jax.NamedSharding(mesh, jax.P()))
    compiled = []

    def listen(event, *_, **__):
        compiled.extend([event] * event.startswith("/jax/core/compile/backend_compile"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    try:
        checkpoints.save(copies, 1, info())
        checkpoints.close()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []
    assert checkpoints.restore(1, copies).params["kernel"][0, 0] == 1.0


def test_a_checkpoint_is_saved_and_read_inside_a_running_event_loop(tmp_path):
    """As in a notebook or a web server."""

    async def main():
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        checkpoints.save(state(3), 3, info())
        checkpoints.close()
        return checkpoints.restore(3, state(0))

    assert asyncio.run(main()).params["kernel"][0, 0] == 3.0
