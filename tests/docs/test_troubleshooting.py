"""Every message that troubleshooting.md explains occurs in the source."""

import ast
import functools
import re

import pytest

from tests.docs.pages import REPO

QUOTED = re.findall(
    r"^\| `(.+?)`(?: \(a warning\))? \|", (REPO / "docs" / "troubleshooting.md").read_text(), re.MULTILINE
)
VALUE = "…"


@functools.cache
def texts() -> tuple[str, ...]:
    """The strings of the package without docstrings; values in them are written as `VALUE`."""
    return tuple(text for path in (REPO / "llmrec_jax").rglob("*.py") for text in _strings(ast.parse(path.read_text())))


def _strings(tree: ast.AST) -> list[str]:
    nodes = list(ast.walk(tree))
    skipped = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    joined = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    skipped |= {id(part) for parts in joined for part in parts}
    plain = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in skipped]
    return ["".join(map(_text, parts)) for parts in [*joined, *([node] for node in plain)]]


def _text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else VALUE


def test_many_messages_are_explained():
    assert len(QUOTED) >= 40
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_occurs_in_the_source(message):
    fragments = [re.escape(fragment) for fragment in message.split(VALUE)]
    pattern = re.compile(".*".join(fragments), flags=re.DOTALL)
    assert any(pattern.search(text) for text in texts())
