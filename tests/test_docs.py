"""What the README and the pages say can be done can be done: commands name what exists, the README's Python runs."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import pytest

from llmrec_jax import cli
from llmrec_jax.config import Config, flatten
from tests.inference.untrained import run_and_bundle

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def test_commands_name_targets_configurations_and_verbs_that_exist():
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE)
    assert len(commands()) >= 7
    for command in commands():
        if command[0] == "make":
            assert set(command[1:]) <= set(targets)
        elif command[:3] == ["python", "-m", "llmrec_jax"]:
            assert callable(getattr(cli, command[3]))
        else:
            assert command[0] == "python"
            assert all((REPO / word).is_file() for word in command[1:] if word.endswith(".py"))


@each_page
def test_fields_and_files_named_on_the_command_line_exist(page):
    text = page.read_text()
    assert set(re.findall(r"--([a-z]+\.[a-z_]+)", text)) <= set(flatten(dataclasses.asdict(Config())))
    for path in re.findall(r"python ([\w/]+\.py)", text) + re.findall(r"train\.py ([\w/]+/\w+\.py)", text):
        assert (REPO / path).is_file(), path


def test_the_readme_shows_fields():
    assert len(set(re.findall(r"--([a-z]+\.[a-z_]+)", README))) >= 5


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    _, bundle = run_and_bundle(tmp_path, "text+id")
    shutil.copytree(bundle, tmp_path / "runs" / "quickstart" / "bundle")
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)
    assert names["hidden"].shape[:2] == (1, 4)
    assert (tmp_path / "runs" / "encoder" / "model.safetensors").is_file()
