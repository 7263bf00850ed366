"""README and docs match the program: their commands exist, and the README's Python runs."""

import dataclasses
import functools
import importlib
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

import llmrec_jax
from llmrec_jax import cli, recipes
from llmrec_jax.cli import training
from llmrec_jax.config import Config, flatten
from tests.inference.untrained import run_and_bundle

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def of_llmrec() -> list[list[str]]:
    """Arguments of `llmrec`, however it is called."""
    starts = (["llmrec"], ["python", "-m", "llmrec_jax"])
    found = [command[len(start) :] for command in commands() for start in starts if command[: len(start)] == start]
    return [*found, *(["train", *command[2:]] for command in commands() if command[:2] == ["python", "train.py"])]


def test_every_command_is_known():
    """Of `make`, of `pip install`, or of this program."""
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE)
    others = [command for command in commands() if command[0] not in ("llmrec", "python")]
    assert len(others) + len(of_llmrec()) == len(commands())
    for command in others:
        assert command[0] == "make" or command == ["pip", "install", "."]
        assert command[0] == "pip" or set(command[1:]) <= set(targets)


@pytest.mark.parametrize("arguments", of_llmrec(), ids=" ".join)
def test_the_arguments_of_a_command_are_right(arguments, monkeypatch, capsys):
    """Commands are parsed as written; what they would do is left out."""
    for name in set(cli.__all__) - {"main", "train", "adapt"}:
        verb = getattr(cli, name)
        monkeypatch.setattr(cli, name, functools.wraps(verb)(lambda *_, **__: 0))
    monkeypatch.setattr(training, "run", lambda *_, **__: None)
    monkeypatch.setattr(importlib.import_module("llmrec_jax.cli.adapt"), "_run", lambda *_: None)
    monkeypatch.chdir(REPO)  # the paths of configuration files
    try:
        code = cli.main(arguments)
    except SystemExit as stop:  # after --help
        code = stop.code or 0
    assert code == 0, capsys.readouterr().err


@each_page
def test_recipes_and_verbs_in_prose_exist(page):
    text = page.read_text()
    assert set(re.findall(r"llmrec train (\w+)", text)) - {"NAME"} <= set(recipes.names())
    for verb in re.findall(r"python -m llmrec_jax ([a-z-]+)", text):
        assert callable(getattr(cli, verb.replace("-", "_")))


def test_the_picture_has_a_dark_mode_and_loads_nothing():
    pictures = list((REPO / "docs").glob("*.svg"))
    assert pictures
    for path in pictures:
        picture = path.read_text()
        assert f"docs/{path.name}" in README
        assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert "@media (prefers-color-scheme: dark)" in picture
        assert not re.search(r"href|url\(|@import|<script", picture)


@each_page
def test_fields_and_files_named_on_the_command_line_exist(page):
    text = page.read_text()
    names = {name.replace(".no_", ".") for name in re.findall(r"--([a-z]+\.[a-z_]+)", text)}  # --SECTION.no_FIELD
    assert names <= set(flatten(dataclasses.asdict(Config())))
    for path in re.findall(r"python ([\w/]+\.py)", text) + re.findall(r"train\.py ([\w/]+/\w+\.py)", text):
        assert (REPO / path).is_file(), path


def test_the_readme_shows_fields():
    assert len(set(re.findall(r"--([a-z]+\.[a-z_]+)", README))) >= 5


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("bundle"), "text+id")[1]


def test_the_python_of_the_readme_runs(bundle, tmp_path, monkeypatch):
    shutil.copytree(bundle, tmp_path / "runs" / "quickstart" / "bundle")
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)
    assert names["hidden"].shape[:2] == (1, 4)
    assert (tmp_path / "runs" / "encoder" / "model.safetensors").is_file()


@pytest.mark.filterwarnings("ignore:.*items are unknown")
def test_the_python_of_recommending_runs(bundle, tmp_path, monkeypatch):
    """From top to bottom with the same names; training is left out."""
    shutil.copytree(bundle, tmp_path / "runs" / "quickstart" / "bundle")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("llmrec_jax.fitting.fit", lambda items, events, changes: llmrec_jax.Recommender.load(bundle))
    names: dict = {}
    found = blocks("python", (REPO / "docs" / "recommend.md").read_text())
    for block in found:
        exec(compile(block, "docs/recommend.md", "exec"), names)
    assert len(found) >= 7
    assert names["xy"].shape == (len(names["r"].items), 2)
    assert llmrec_jax.Recommender.load("runs/changed/bundle").item("new").attributes == {"price": 12.5}


def test_the_console_script_and_the_citation_fit_the_package():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"llmrec": f"{cli.main.__module__}:{cli.main.__name__}"}
    assert f"\nversion: {llmrec_jax.__version__}\n" in (REPO / "CITATION.cff").read_text()
    assert f"## [{llmrec_jax.__version__}]" in (REPO / "CHANGELOG.md").read_text()
