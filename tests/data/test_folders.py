"""Domain folders are found; the error for another path says what it is."""

import os
import tempfile
from pathlib import Path

import pytest

from llmrec_jax.data.domains.folders import check_domain, locate
from llmrec_jax.errors import UserError
from tests.data.shops import folder_of


@pytest.fixture
def root(tmp_path):
    for name in ("films", "books"):
        folder_of(tmp_path / name)
    for name, files in {
        "bundle": ("config.json", "model.safetensors", "items.jsonl"),
        "run": ("config.json", "metrics.jsonl"),
        "prepared": ("facts.json", "items_E.npy"),
        "other": ("items.csv",),
        "empty": (),
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("films/items.jsonl", "is a file, not a folder: a domain is a folder that holds items.jsonl and inter"),
        (".", "holds domain folders: books, films. Name one of them, e.g. "),
        ("bundle", "is a bundle, which holds a trained model and no interactions: a domain is "),
        ("run", "is the work folder of a run: a domain is "),
        ("prepared", "is a prepared domain of the cache: a domain is "),
        ("other", "is no domain: a domain is a folder that holds items.jsonl and interactions.csv; it holds items.csv"),
        ("empty", "it holds nothing"),
    ],
)
def test_what_is_no_domain(root, given, message):
    for find in (check_domain, lambda path: locate(str(path), root, "")):
        with pytest.raises(UserError) as error:
            find(root / given)
        assert message in str(error.value)


def test_names_and_paths(root, monkeypatch):
    assert locate("films", root, "") == locate(str(root / "films"), root / "nowhere", "") == root / "films"
    monkeypatch.chdir(root / "films")
    assert locate(".", root, "") == check_domain(root / "films" / ".") == root / "films"
    monkeypatch.chdir(root)
    (root / "data" / "films").mkdir(parents=True)
    assert locate("films", root / "data", "") == root / "films", "a folder that is no domain does not hide one that is"
    with pytest.raises(UserError, match=r"no domain 'cars': neither .* nor cars is a folder \(built-in: x\)"):
        locate("cars", root, "built-in: x")
    with pytest.raises(UserError, match="no such folder"):
        check_domain(root / "cars")


@pytest.fixture
def as_another_user():
    """A folder that others may enter, and a function that gives up the rights of root, who may read every folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        folder_of(Path(folder) / "films")
        is_root = not os.geteuid()
        try:
            yield Path(folder), lambda: os.seteuid(65534) if is_root else None
        finally:
            os.seteuid(0 if is_root else os.geteuid())
            (Path(folder) / "films").chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["nothing", "list only"])
def test_a_folder_that_may_not_be_read(as_another_user, mode):
    root, become = as_another_user
    (root / "films").chmod(mode)
    become()
    for path in (root / "films", root / "films" / "items.jsonl"):
        for find in (check_domain, lambda path: locate(str(path), root, "")):
            with pytest.raises(UserError, match=rf"^{path} cannot be read: permission denied; allow reading it"):
                find(path)
    with pytest.raises(UserError, match="films cannot be read"):
        locate("films", root, "")
