"""A run repeated in its work folder reuses the slow compilations of the first time and has the same results."""

import contextlib
import dataclasses
import io
import os
import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

from llmrec_jax.train import compile_cache
from llmrec_jax.train.loop import train_and_evaluate
from tests.train.tiny import metrics_of, tiny_config

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def no_other_cache(monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)  # not the cache of the test session
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()  # else JAX keeps the setting of its last compilation


@contextlib.contextmanager
def counted():
    """The names of the cache's events, in order."""
    events = []

    def listen(event, **_):
        if event.startswith("/jax/compilation_cache/cache_"):
            events.append(event.rpartition("_")[2])

    jax.monitoring.register_event_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(listen)


@pytest.mark.slow
def test_the_second_run_takes_its_programs_from_the_first(tmp_path, capfd):
    config = tiny_config(sources=())
    config = dataclasses.replace(  # quick to compile
        config,
        model=dataclasses.replace(config.model, user_tower="mean", item_features="text"),
        adapt=dataclasses.replace(config.adapt, method="none"),
        train=dataclasses.replace(config.train, steps=4),
    )
    workdir = tmp_path / "run"
    found = []
    for _ in range(2):
        jax.clear_caches()
        with counted() as events:
            trained = train_and_evaluate(config, workdir, QUIET)
        found.append((events, metrics_of(workdir), trained.results))
        shutil.rmtree(workdir / "checkpoints")
        (workdir / "metrics.jsonl").unlink()
    (first, *expected), (second, *same) = found
    assert "misses" in first
    assert set(second) == {"hits"}
    assert same == expected
    assert capfd.readouterr().err == ""  # the CPU's loader complains there of what it does not trust


def test_the_folder_is_its_owners_alone(tmp_path):
    with compile_cache.kept_in(tmp_path, QUIET):
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / compile_cache.FOLDER)
        assert (tmp_path / compile_cache.FOLDER).stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_that_others_can_write_is_not_used(tmp_path):
    (tmp_path / compile_cache.FOLDER).mkdir()
    (tmp_path / compile_cache.FOLDER).chmod(0o770)
    said = Console(file=io.StringIO(), width=1000)
    with compile_cache.kept_in(tmp_path, said):
        assert jax.config.jax_compilation_cache_dir is None
    assert "is writable by other users" in said.file.getvalue()


@pytest.mark.parametrize("size", [0, 50])
def test_a_damaged_program_is_compiled_and_kept_again(tmp_path, size, recwarn):
    def compiled():
        jax.clear_caches()
        said = Console(file=io.StringIO(), width=1000)
        with compile_cache.kept_in(tmp_path, said):
            assert jax.jit(lambda x: x + 1)(1) == 2
        return said.file.getvalue(), {file.name: file.stat().st_size for file in folder.glob("*-cache")}

    folder = tmp_path / compile_cache.FOLDER
    said, sizes = compiled()
    assert sizes
    assert not said
    for name in sizes:
        os.truncate(folder / name, size)
    said, again = compiled()
    assert again.keys() == sizes.keys()
    assert min(again.values()) > 50
    assert said.count("is damaged; creating it again") == len(sizes)
    assert not recwarn.list


def test_the_users_choice_stands(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    with compile_cache.kept_in(tmp_path, QUIET):
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert not (tmp_path / compile_cache.FOLDER).exists()
