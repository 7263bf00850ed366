"""What README.md and docs/ show: their fenced blocks, and the commands of the shell blocks."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[2]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The words of each command of the shell blocks, as a shell would split them."""
    return [command for block in blocks(page, "bash") for command in _commands(block)]


def measurements(page: Path) -> list[list[str]]:
    """The commands of shell blocks and of indented blocks that run a benchmark."""
    indented = re.findall(r"(?:^ {4}python .*benchmarks.*\n)(?:^ {4}.*\n)*", page.read_text(), flags=re.MULTILINE)
    found = [*commands(page), *(command for block in indented for command in _commands(textwrap.dedent(block)))]
    return [command for command in found if re.match(r"python (-m )?benchmarks\b", " ".join(command))]


def of_llmrec(command: list[str]) -> list[str] | None:
    """The arguments of `llmrec`, however it is called; None for another program."""
    for start in (["llmrec"], ["python", "-m", "llmrec_jax"]):
        if command[: len(start)] == start:
            return command[len(start) :]
    return ["train", *command[2:]] if command[:2] == ["python", "train.py"] else None


def _commands(script: str) -> Iterator[list[str]]:
    """Lines may end in a backslash, and a quoted word may hold lines; commands are also separated by && | and ;"""
    text = ""
    for line in script.replace("\\\n", " ").splitlines():
        text += line + "\n"
        try:
            words = shlex.split(text, comments=True)
        except ValueError:  # within a quoted word
            continue
        text = ""
        for command in _separated(words):
            if command[0] == "srun":
                command = command[command.index("python") :]
            yield command
            for word in command:  # what a job runs on each worker
                if word.startswith("--command="):
                    yield from _commands(word.removeprefix("--command="))
    assert not text, f"a quote is not closed: {text}"


def _separated(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in ("&&", "|", "||", "&", ";"):
            command.append(word)
        elif command:
            yield command
            command = []
