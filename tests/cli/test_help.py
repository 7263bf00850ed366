"""`--help`, `--version` and shell completion."""

import ast
import inspect
import itertools
import re

import pytest

import llmrec_jax
from llmrec_jax import cli
from llmrec_jax import config as config_lib
from tests.conftest import REPO


@pytest.mark.parametrize("verb", ["validate", "prepare", "export-tfds", "evaluate", "recommend", "fetch-encoder"])
def test_help(call, verb):
    code, out, _ = call(cli.main, verb, "--help")
    assert code == 0
    assert "--json" in out
    assert f"Example: llmrec {verb} " in out


def test_help_lists_every_verb_with_train_first(call):
    code, out, _ = call(cli.main, "--help")
    assert code == 0
    verbs = re.search(r"\{(.*?)\}", out)[1].split(",")
    assert verbs[0] == "train"
    assert {"validate", "prepare", "evaluate", "recommend"} <= set(verbs)


def test_version(call):
    assert call(cli.main, "--version") == (0, f"llmrec_jax {llmrec_jax.__version__}\n", "")


def test_dir_of_the_package_shows_what_there_is():
    assert {"Recommender", "UserError", "models", "__version__"} <= set(dir(llmrec_jax))
    assert all(hasattr(llmrec_jax, name) for name in dir(llmrec_jax))


def test_shell_completion_knows_the_fields(call):
    code, out, _ = call(cli.main, "--tyro-print-completion", "bash")  # exits with None
    assert not code
    assert "--data.target" in out


def test_help_of_every_field_ends_in_whole_sentences():
    """A line of a field's documentation is a line of `--help`: where one breaks inside a sentence, so does the help."""
    files = (REPO / "llmrec_jax" / "config").glob("*fields.py")
    for section in itertools.chain(*(ast.parse(file.read_text()).body for file in files)):
        for field, after in itertools.pairwise(getattr(section, "body", [])):
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) not in vars(config_lib):
                where = f"line {field.lineno}: {ast.unparse(field.target)}"
                assert isinstance(after, ast.Expr), f"{where} has no documentation"
                lines = inspect.cleandoc(ast.literal_eval(after.value)).splitlines()
                assert all(line.endswith((".", ":")) for line in lines), where
