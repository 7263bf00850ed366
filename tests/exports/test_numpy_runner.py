"""The NumPy export runs where nothing but Python and NumPy is installed, and adds next to nothing to them."""

import json
import subprocess
import sys

import pytest

from llmrec_jax import Recommender
from llmrec_jax.exports.export import export

PROGRAM = """
import importlib.abc, json, sys
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        room = name.split(".")[0]
        if room not in sys.stdlib_module_names and room not in ("numpy", "recommender"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Only())
sys.path.insert(0, sys.argv[1])
import recommender
found = recommender.Recommender().recommend(json.loads(sys.argv[2]), k=10)
print(json.dumps([found, sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))]))
"""


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    return export(folder, tmp_path_factory.mktemp("numpy") / "edge", "numpy")


def test_runs_with_numpy_alone(exported, folder, tmp_path):
    history = ["film-0003", "book-0001", "book-0007"]
    command = [sys.executable, "-I", "-W", "error", "-c", PROGRAM, str(exported), json.dumps(history)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found, packages = json.loads(result.stdout)
    assert {name for name in packages if not name.startswith("_")} - {"recommender"} == {"numpy"}
    live = Recommender.load(folder).recommend(history, k=10)
    assert [row[0] for row in found] == [row.item_id for row in live]
    assert [row[1] for row in found] == pytest.approx([row.score for row in live], abs=1e-4)


def test_is_a_command(exported, tmp_path):
    command = [sys.executable, "-I", str(exported / "recommender.py"), "book-0001"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(rows) == 10
    assert all(len(row) == 3 and row[0].startswith("book-") for row in rows)


def test_the_program_is_one_small_file(exported):
    """NumPy is what the installation weighs: 20 to 60 MB by platform (docs/export.md)."""
    files = {path.name: path.stat().st_size for path in exported.iterdir() if path.is_file()}
    assert set(files) == {"recommender.py", "scorer.json", "scorer.safetensors", "items.json", "export.json"}
    assert files["recommender.py"] < 30_000
    source = (exported / "recommender.py").read_text()
    assert "import llmrec_jax" not in source
    assert "from llmrec_jax" not in source
    compile(source, "recommender.py", "exec")
