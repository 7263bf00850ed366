"""README and docs match the program: their commands, fields, files and links exist."""

import argparse
import dataclasses
import functools
import importlib
import json
import re
import tomllib
from collections.abc import Iterable
from xml.etree import ElementTree

import pytest

import llmrec_jax
from llmrec_jax import cli, recipes
from llmrec_jax.cli import training
from llmrec_jax.config import Config, flatten, validate
from tests.docs.pages import PAGES, REPO, blocks, commands, measurements, of_llmrec

README = (REPO / "README.md").read_text()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

# Programs and modules that pages call, besides make, pip, benchmarks and llmrec. They are not run here.
OTHERS = {"cd", "cp", "curl", "docker", "export", "gcloud", "npm", "source", "tar", "tensorboard", "xpk"}
MODULES = {"http.server", "recommender"}
WITH_EXPERIMENT = ("adapt", "doctor", "sweep")  # like train, they are parsed with the fields of an experiment


def distinct(commands_of: Iterable[list[str]]) -> list[list[str]]:
    return [list(command) for command in dict.fromkeys(map(tuple, commands_of))]


CALLS = distinct(found for page in PAGES for command in commands(page) if (found := of_llmrec(command)) is not None)
MEASUREMENTS = distinct(command for page in PAGES for command in measurements(page))


@each_page
def test_every_command_is_known(page):
    """Of this program, of `make`, `pip install`, a benchmark, or a program that is listed above."""
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE)
    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in commands(page):
        if command[0] == "make":
            assert {word for word in command[1:] if "=" not in word} <= set(targets)
        elif command[0] == "pip":
            assert command[:2] == ["pip", "install"]
            for names in re.findall(r"(?:llmrec_jax|\.)\[([\w,]+)\]", " ".join(command)):
                assert set(names.split(",")) <= set(extras)
        elif command[:2] != ["python", "-m"] or command[2] not in MODULES:
            assert command[0] in OTHERS or of_llmrec(command) is not None or command in MEASUREMENTS, command


def test_the_pages_show_commands():
    assert len(CALLS) >= 15
    assert {"train", "validate", "recommend"} <= {call[0] for call in CALLS}


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_the_arguments_of_a_command_are_right(arguments, monkeypatch, capsys):
    """Commands are parsed as written; what they would do is left out."""
    for name in set(cli.__all__) - {"main", "train", *WITH_EXPERIMENT}:
        verb = getattr(cli, name)
        monkeypatch.setattr(cli, name, functools.wraps(verb)(lambda *_, **__: 0))
    monkeypatch.setattr(training, "run", lambda config, *_, **__: validate(config))
    for name in WITH_EXPERIMENT:
        body = lambda given, *_: validate(given.config) or 0  # noqa: E731
        monkeypatch.setattr(importlib.import_module(f"llmrec_jax.cli.{name}"), "_run", body)
    monkeypatch.chdir(REPO)  # the paths of configuration files
    try:
        code = cli.main(arguments)
    except SystemExit as stop:  # after --help
        code = stop.code or 0
    assert code == 0, capsys.readouterr().err


class Parsed(Exception):
    """The arguments were parsed."""


@pytest.mark.parametrize("command", MEASUREMENTS, ids=" ".join)
def test_the_arguments_of_a_measurement_are_right(command, monkeypatch, capsys):
    module, *arguments = command[2:] if command[1] == "-m" else command[1:]
    parse = argparse.ArgumentParser.parse_args

    def stop(*args, **options):
        parse(*args, **options)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    with pytest.raises(Parsed):
        importlib.import_module(module.removesuffix(".py").replace("/", ".")).main()


@each_page
def test_recipes_and_verbs_in_prose_exist(page):
    text = page.read_text()
    assert set(re.findall(r"llmrec train (\w+)", text)) - {"NAME"} <= set(recipes.names())
    for verb in re.findall(r"python -m llmrec_jax ([a-z-]+)", text):
        name = verb.replace("-", "_")
        assert callable(getattr(cli, name, None) or getattr(cli, f"{name}_"))  # import is a keyword of Python


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


@each_page
def test_json_is_valid(page):
    for block in blocks(page, "json"):
        json.loads(block)


def test_the_console_script_and_the_citation_fit_the_package():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"llmrec": f"{cli.main.__module__}:{cli.main.__name__}"}
    assert f"\nversion: {llmrec_jax.__version__}\n" in (REPO / "CITATION.cff").read_text()
    assert f"## [{llmrec_jax.__version__}]" in (REPO / "CHANGELOG.md").read_text()
