"""The bundle as a folder: its contents, permissions, atomic replacement, and damaged bundles."""

import json
import os
import shutil
import stat
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llmrec_jax import Recommender
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference import writing
from llmrec_jax.models import from_pretrained
from llmrec_jax.train.export import save_bundle


@pytest.fixture
def copied(text_run, tmp_path):
    """A bundle in a work folder."""
    shutil.copytree(text_run[1], tmp_path / "run" / "bundle")
    return tmp_path / "run" / "bundle"


def edit_json(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def only_renames(monkeypatch):
    """A file system that cannot swap two folders."""

    def cannot(one, other):
        raise OSError("not here")

    monkeypatch.setattr(writing, "_exchange", cannot)


def test_encoder_is_a_folder_of_its_own(text_run):
    run, folder = text_run
    encoder = from_pretrained(folder / "encoder")
    assert (folder / "encoder" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    hidden = encoder(np.array([[2, 5, 6, 3]]), np.ones((1, 4), bool))
    assert hidden.shape == (1, 4, run.experiment.config.encoder.width)


def test_a_bundle_has_no_heads(id_run):
    run, folder = id_run
    kernels = [run.params["heads"][level]["up"]["kernel"] for level in ("item", "user")]
    assert (kernels[0] != kernels[1]).any()
    assert not [name for name in load_file(folder / "model.safetensors") if name.startswith("heads")]


def damage(folder, name):
    """Damage one part of a bundle in one way; return the file that the message must name."""
    if name == "no item vectors":
        arrays = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in arrays.items() if k != "item_vectors"}, folder / "model.safetensors")
        return "model.safetensors"
    if name == "a parameter too few":
        arrays = load_file(folder / "model.safetensors")
        del arrays["item_tower.project.kernel"]
        save_file(arrays, folder / "model.safetensors")
        return "model.safetensors"
    if name == "config without dims":
        edit_json(folder / "config.json", lambda facts: facts.pop("dims"))
        return "config.json"
    if name == "config of another version":
        edit_json(folder / "config.json", lambda facts: facts["config"]["model"].update(novelty=1))
        return "config.json"
    action, file = name.split(" ")
    if action == "lost":
        (folder / file).unlink()
    else:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) // 2])
    return file


@pytest.mark.parametrize(
    "name",
    [
        "no item vectors",
        "a parameter too few",
        "config without dims",
        "config of another version",
        *(f"lost {file}" for file in ("config.json", "model.safetensors", "items.jsonl")),
        *(f"cut {file}" for file in ("config.json", "model.safetensors", "items.jsonl")),
    ],
)
def test_damaged_bundle_names_the_file(copied, name):
    file = damage(copied, name)
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        Recommender.load(copied)


@pytest.mark.parametrize("file", ["tokenizer.json", "encoder/config.json", "encoder/model.safetensors"])
def test_damaged_text_part_names_the_file_when_it_is_needed(copied, file):
    (copied / file).write_bytes(b"{")
    recommender = Recommender.load(copied)
    assert recommender.recommend(["book-0001"])
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        recommender.encode(["text"])


def test_bundles_of_other_versions_load_where_the_model_is_the_same(copied):
    def other_version(facts):
        facts["version"] = "9.0"
        facts["new_fact"] = 1
        facts["config"]["train"] = {"epochs": 3}
        facts["config"]["new_section"] = {"x": 1}
        del facts["config"]["loss"], facts["config"]["data"]["root"]
        for name in (
            "score",
            "item_bias",
            "recency_mean",
            "text_map",
            "max_id_norm",
            "start",
        ):  # of a bundle from before they existed
            del facts["config"]["model"][name]

    edit_json(copied / "config.json", other_version)
    assert Recommender.load(copied).recommend(["book-0001"])
    edit_json(copied / "config.json", lambda facts: facts["config"]["model"].update(user_tower="gru"))
    with pytest.raises(ValueError, match=r"config\.json: model: .*made by llmrec_jax 9\.0, this is "):
        Recommender.load(copied)


def test_a_run_is_taken_for_its_bundle_and_other_folders_are_named(copied, tmp_path):
    run = copied.parent
    (run / "config.json").write_text('{"data": {}, "train": {}}')
    assert Recommender.load(run).recommend([]) == Recommender.load(str(copied)).recommend([])
    wrong = {
        copied / "encoder": "an encoder's configuration, not a bundle's",
        copied / "config.json": "a file; a bundle is a folder",
        tmp_path / "nowhere": "nowhere: no such folder",
    }
    for folder, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            Recommender.load(folder)
    shutil.rmtree(copied)
    with pytest.raises(ValueError, match="this run has not exported bundle/ yet"):
        Recommender.load(run)


def test_everybody_may_read_what_the_umask_allows(text_run, tmp_path):
    before = os.umask(0o022)
    try:
        save_bundle(text_run[0], tmp_path / "bundle")
    finally:
        os.umask(before)
    for path in [tmp_path / "bundle", *(tmp_path / "bundle").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize("swap", ["exchange", "only_renames"])
def test_a_reader_never_sees_a_bundle_missing_or_mixed(swap, request, text_run, id_run, tmp_path):
    if swap == "only_renames":
        request.getfixturevalue("only_renames")
    folder, done = tmp_path / "bundle", threading.Event()
    save_bundle(text_run[0], folder)
    seen, missing = set(), 0

    def read():
        nonlocal missing
        while not done.is_set():
            bundle = bundle_lib.load(folder)
            is_text = bundle.model.item_features == "text+id"
            assert is_text == ("item_tower.project.kernel" in bundle.arrays)  # one bundle, not two halves
            seen.add(is_text)
            missing += not folder.exists()

    failed = []
    threading.excepthook, hook = failed.append, threading.excepthook
    try:
        thread = threading.Thread(target=read)
        thread.start()
        for _ in range(15):
            save_bundle(id_run[0], folder)
            save_bundle(text_run[0], folder)
        for run, is_text in ((id_run, False), (text_run, True)):  # on a busy machine each may have been replaced unread
            save_bundle(run[0], folder)
            deadline = time.monotonic() + 60
            while is_text not in seen and not failed and time.monotonic() < deadline:
                time.sleep(0.01)
        done.set()
        thread.join()
    finally:
        threading.excepthook = hook
    assert not failed
    assert seen == {True, False}
    assert swap == "only_renames" or missing == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]  # no draft, no old one


def test_text_parts_of_another_bundle_are_not_mixed_in(copied, text_run):
    recommender = Recommender.load(copied)
    before = recommender.recommend(["book-0001"])
    save_bundle(text_run[0], copied)
    assert recommender.recommend(["book-0001"]) == before
    with pytest.raises(ValueError, match="replaced by another bundle since it was loaded; load it again"):
        recommender.encode(["text"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("thesis.txt", "not a bundle of this program"), ("config.json", "not a bundle of this program")],
)
def test_a_folder_that_is_no_bundle_is_never_replaced(text_run, tmp_path, name, message):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / name).write_text("precious")
    with pytest.raises(ValueError, match=f"{message}.*; it is not replaced; move it away"):
        save_bundle(text_run[0], folder)
    assert (folder / name).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_file_of_somebody_in_a_bundle_is_never_deleted(text_run, copied):
    (copied / "encoder" / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"holds encoder/notes\.txt, which is not part of a bundle"):
        save_bundle(text_run[0], copied)
    assert (copied / "encoder" / "notes.txt").read_text() == "precious"
    shutil.rmtree(copied)
    copied.write_text("precious")
    with pytest.raises(ValueError, match="a file is at the bundle's path"):
        save_bundle(text_run[0], copied)
    assert copied.read_text() == "precious"


def test_a_link_to_a_bundle_stays_one(text_run, copied, tmp_path):
    (tmp_path / "link").symlink_to(copied)
    (copied / "items.jsonl").write_text("")
    save_bundle(text_run[0], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (copied / "items.jsonl").read_bytes() == (text_run[1] / "items.jsonl").read_bytes()


def test_a_bundle_that_cannot_be_written_leaves_the_one_before(text_run, copied, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    before = (copied / "config.json").stat()
    monkeypatch.setattr(writing.hf, "save_pretrained", full)
    with pytest.raises(OSError, match="no space left"):
        save_bundle(text_run[0], copied)
    after = (copied / "config.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]
