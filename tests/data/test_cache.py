"""Cached folders: written atomically, rewritten if damaged, a clear error if the cache is not writable."""

import time

import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data import cache
from llmrec_jax.data.cache import DamagedError, cached
from llmrec_jax.data.domains import demo
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.errors import UserError


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the cache .*file/cache/demo-v2: .*; set data\.cache_dir"):
        load_domain("demo:books", DataConfig(cache_dir=str(tmp_path / "file" / "cache")))


def test_what_stays_damaged_is_a_message(tmp_path):
    def read(folder):
        raise DamagedError("torn")

    with pytest.raises(UserError, match="x: still damaged after writing it again: torn"):
        cached(tmp_path / "x", lambda draft: None, read, "making x")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shop_is_written_again(tmp_path, capsys):
    path = demo.write("books", tmp_path) / "interactions.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\n", 0, 1000) + 1])  # it would pass as a smaller shop
    demo.write("books", tmp_path)
    assert path.read_bytes() == whole
    assert "creating it again" in capsys.readouterr().err


def test_long_work_is_said_once_where_no_terminal_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cache, "LONG", 0.01)
    cached(tmp_path / "x", lambda draft: time.sleep(0.3), lambda folder: None, "preparing [x]")
    assert capsys.readouterr().err == "preparing [x] ...\n"
    monkeypatch.undo()
    cached(tmp_path / "y", lambda draft: None, lambda folder: None, "preparing y")
    assert capsys.readouterr().err == ""
