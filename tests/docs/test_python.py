"""The Python of README.md and docs/ runs, page by page, on small files and untrained models; training is left out."""

import csv
import shutil
import sys
import types

import pytest

import llmrec_jax
from llmrec_jax import cli
from llmrec_jax.data.domains import demo
from llmrec_jax.losses import tasks
from tests.docs.pages import PAGES, blocks, commands
from tests.inference.untrained import run_and_bundle

WITH_PYTHON = {page.name: page for page in PAGES if blocks(page, "python")}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the pages assume: the bundles of two runs, the folder of a shop, and two tables."""
    folder = tmp_path_factory.mktemp("docs")
    _, bundle = run_and_bundle(folder, "text+id")
    for run in ("quickstart", "my_shop"):
        shutil.copytree(bundle, folder / "runs" / run / "bundle")
    shutil.copytree(demo.write("books", folder / "cache"), folder / "data" / "books")
    for name, rows in (
        ("orders.csv", [["customer", "product", "date"], ["c1", "p1", "2024-05-01"], ["c1", "p2", "2024-05-02"]]),
        ("products.csv", [["product", "name"], ["p1", "Tent"], ["p2", "Stove"]]),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return folder


@pytest.fixture
def names(request, workplace, monkeypatch):
    """The names after the blocks of a page were run in their order."""
    load = llmrec_jax.Recommender.load
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))  # a page adds a task
    monkeypatch.setattr("llmrec_jax.fitting.fit", lambda items, events, changes: load("runs/quickstart/bundle"))
    monkeypatch.setattr(llmrec_jax.Recommender, "from_pretrained", lambda name: load("runs/quickstart/bundle"))
    monkeypatch.setattr(llmrec_jax.Recommender, "push_to_hub", lambda self, name: name)
    for library in ("mlflow", "wandb"):  # of a page that shows how to use them
        monkeypatch.setitem(sys.modules, library, types.SimpleNamespace())
    monkeypatch.setattr(sys, "path", [*sys.path])  # a page adds the folder of an export
    if request.param == "export.md":
        pytest.importorskip("onnxruntime")
        shown = {tuple(command) for command in commands(WITH_PYTHON[request.param])}
        for command in sorted(command for command in shown if command[-1] in ("numpy", "onnx", "jax")):
            assert cli.main(list(command[1:])) == 0
    found: dict = {"__name__": "__main__"}
    for block in blocks(WITH_PYTHON[request.param], "python"):
        exec(compile(block, request.param, "exec"), found)
    return found


@pytest.mark.parametrize("names", sorted(WITH_PYTHON), indirect=True)
@pytest.mark.filterwarnings("ignore:.*items are unknown")
def test_the_python_of_a_page_runs(names, workplace, request):
    page = request.node.callspec.params["names"]
    if page == "README.md":
        assert names["hidden"].shape[:2] == (1, 4)
        assert (workplace / "runs" / "encoder" / "model.safetensors").is_file()
    if page == "recommend.md":
        assert names["xy"].shape == (len(names["r"].items), 2)
        changed = llmrec_jax.Recommender.load(workplace / "runs" / "changed" / "bundle")
        assert changed.item("new").attributes == {"price": 12.5}
    if page == "import.md":
        assert len(names["domain"].items) == 2


def test_the_pages_show_python():
    assert {"README.md", "index.md", "recommend.md", "tasks.md"} <= set(WITH_PYTHON)
