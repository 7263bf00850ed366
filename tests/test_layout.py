"""Structural rules, checked on the source: allowed imports between packages and of libraries, and file layout."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmrec_jax.parallel import AXES
from tests.conftest import REPO

PACKAGE = REPO / "llmrec_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 250

FOUNDATION = {"types", "config", "errors", "predictor", "progress"}
BELOW_TRAINING = FOUNDATION | {"models", "losses", "data", "parallel"}
TOP = BELOW_TRAINING | {"baselines", "blend", "evaluate", "selection", "train", "inference"}
MAY_IMPORT = {
    "types": set(),
    "config": {"errors"},
    "recipes": {"config", "errors"},
    "errors": set(),
    "progress": set(),
    "cluster": {"errors", "progress"},
    "version": set(),
    "models": FOUNDATION,
    "losses": FOUNDATION,
    "data": FOUNDATION,
    "parallel": FOUNDATION,
    "predictor": set(),
    "baselines": {"data", "errors", "predictor"},
    "blend": {"baselines", "errors", "predictor"},
    "evaluate": BELOW_TRAINING | {"baselines", "blend"},
    "selection": {"types", "config", "errors", "baselines", "blend", "evaluate"},
    "inference": FOUNDATION | {"models", "data", "baselines", "blend", "version"},
    "importers": {"data", "errors", "progress"},
    "exports": FOUNDATION | {"models", "inference", "version"},
    "server": {"inference", "errors", "version"},
    "html": {"config", "evaluate", "errors", "version"},
    "train": BELOW_TRAINING | {"baselines", "blend", "evaluate", "selection", "inference", "cluster"},
    "fitting": {"config", "data", "errors", "inference", "models", "progress", "recipes", "train"},
    "tuning": {"config", "errors", "train", "parallel"},
    "cli": TOP | {"cluster", "errors", "recipes", "version", "importers", "exports", "server", "html", "tuning"},
    "__init__": TOP | {"version", "fitting"},
    "__main__": {"cli"},
}
ONLY_IN = {
    "flax": {"models", "evaluate", "train", "inference"},
    "orbax": {"train/checkpoint.py"},
    "grain": {"data"},
    "tensorflow_datasets": {"data"},
    "apache_beam": {"data"},
    "transformers": {"data", "models"},
    "tyro": {"cli"},
}
# JAX, where it must not be: the batches are made, and the baselines and validators run, on the host.
WITHOUT_JAX = {"data", "baselines", "blend", "selection", "predictor", "progress", "config", "errors"}
NOWHERE = {"torch", "tensorflow", "pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
TAKES_AXES = {"P", "PartitionSpec", "Mesh", "make_mesh", "shard_map", "pmap", "vmap"} | {
    "psum", "pmean", "pmax", "pmin", "all_gather", "all_to_all", "psum_scatter", "ppermute", "axis_index", "axis_size"
}  # fmt: skip


def name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path) -> Iterator[str]:
    """Dotted names, at any depth of the file; `from a import b` gives a.b."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(file)}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(call: ast.Call) -> str:
    """The last part of what is called: psum for jax.lax.psum."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def strings(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


each_file = pytest.mark.parametrize("file", FILES, ids=name)


@each_file
def test_imports_point_one_way(file):
    mine = room(file)
    assert mine in MAY_IMPORT, f"a new room {mine!r}: say in this file what it may import"
    for dotted in imports(file):
        package, _, path = dotted.partition(".")
        other = path.split(".")[0]
        if package == "llmrec_jax" and other in MAY_IMPORT and other != mine:
            assert other in MAY_IMPORT[mine], f"{name(file)} imports {dotted}"


@each_file
def test_a_library_is_known_in_one_place(file):
    for dotted in imports(file):
        library = dotted.split(".")[0]
        assert library not in NOWHERE, f"{name(file)} imports {dotted}"
        allowed = ONLY_IN.get(library)
        assert library != "jax" or room(file) not in WITHOUT_JAX, f"{name(file)} imports {dotted}"
        assert allowed is None or {room(file), name(file)} & allowed, f"{name(file)} imports {dotted}"


@each_file
def test_names_of_mesh_axes_stand_in_parallel_only(file):
    """Elsewhere an axis comes from a mesh (`mesh.axis_names`) or stays inside `Collectives`."""
    if name(file) == "parallel.py":
        return
    assert not strings(tree(file)) & (set(AXES) - {"data"})  # "data" is also an English word
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and called(node) in TAKES_AXES:
            assert not strings(node), f"{name(file)}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "shape":
            assert not strings(node.slice), f"{name(file)}:{node.lineno}: {ast.unparse(node)}"


@each_file
def test_nothing_that_is_read_can_run(file):
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            where = f"{name(file)}:{node.lineno}: {ast.unparse(node)}"
            is_method = isinstance(node.func, ast.Attribute)
            assert is_method or called(node) not in {"eval", "exec", "compile", "__import__"}, where
            assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), where


@each_file
def test_a_file_fits_in_a_head_and_says_what_it_is(file):
    lines = len(file.read_text().splitlines())
    assert lines <= MAX_LINES, f"{name(file)} has {lines} lines"
    assert ast.get_docstring(tree(file)), f"{name(file)} has no docstring"


def test_no_module_of_the_package_brings_torch_or_tensorflow():
    """Not at import, not in `--help`, though either may be installed."""
    program = """
import importlib, pkgutil, runpy, sys
import llmrec_jax
for module in pkgutil.walk_packages(llmrec_jax.__path__, "llmrec_jax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert llmrec_jax.Recommender
sys.argv = ["train.py", "configs/quickstart.py", "--help"]
try:
    runpy.run_path("train.py", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
print(sorted({"torch", "tensorflow", "tensorboard"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert "--data.target" in result.stdout


def test_no_benchmark_hides_a_module_of_python():
    """Run as a file, a benchmark finds its neighbours first: a `profile.py` there is what `cProfile` would import."""
    files = (REPO / "benchmarks").rglob("*.py")
    assert not [file.name for file in files if file.stem in sys.stdlib_module_names]
