"""The code cells of examples/*.ipynb run in order, with tiny models; the notebooks are kept without outputs."""

import json

import pytest

from tests.docs.pages import REPO

NOTEBOOKS = sorted((REPO / "examples").glob("*.ipynb"))
SIZES = {"encoder.num_layers": 1, "encoder.width": 16, "encoder.num_heads": 2, "model.width": 16, "model.num_layers": 1,
         "data.max_tokens": 12, "data.vocab_size": 300, "train.steps": 2, "train.batch_size": 16, "train.eval_every": 0,
         "train.checkpoint_every": 2, "mesh.data": 1, "model.user_tower": "mean"}  # fmt: skip
CHANGES = {  # by notebook: what replaces the variable of this name in the cell of parameters
    "shop": SIZES | {"encoder.pretrained": None, "encoder.mode": "full"},
    "cold_catalogue": SIZES | {"encoder.pretrained": None, "encoder.mode": "full"},
    "films_to_books": [word for name, value in SIZES.items() for word in (f"--{name}", str(value))],
}


def cells(notebook, kind):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_three():
    assert [notebook.stem for notebook in NOTEBOOKS] == sorted(CHANGES)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs(notebook, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.getbasetemp())  # one cache of prepared data
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells(notebook, "code")):
        exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            assert "CHANGES" in names
            names["CHANGES"] = CHANGES[notebook.stem]
    assert names["CHANGES"] == CHANGES[notebook.stem]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_kept_without_outputs(notebook):
    assert cells(notebook, "markdown")
    for cell in cells(notebook, "code"):
        assert not cell["outputs"]
        assert cell["execution_count"] is None
