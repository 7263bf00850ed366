"""What the README says can be done can be done: its commands name things that exist, its Python runs as it stands."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

from llmrec_jax import cli
from llmrec_jax.config import Config, flatten
from tests.inference.untrained import run_and_bundle

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()


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


def test_fields_named_on_the_command_line_exist():
    fields = flatten(dataclasses.asdict(Config()))
    named = set(re.findall(r"--([a-z]+\.[a-z_]+)", README))
    assert len(named) >= 5
    assert named <= set(fields)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (REPO / target).exists(), target


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    _, bundle = run_and_bundle(tmp_path, "text+id")
    shutil.copytree(bundle, tmp_path / "runs" / "quickstart" / "bundle")
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)
    assert names["hidden"].shape[:2] == (1, 4)
    assert (tmp_path / "runs" / "encoder" / "model.safetensors").is_file()
