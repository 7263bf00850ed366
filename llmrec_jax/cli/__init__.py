"""The commands `llmrec VERB` and `python -m llmrec_jax VERB`; `train.py` is `llmrec train`. Parses and prints only.

Commands import their dependencies when they run, so that help and usage errors are fast.

Exit codes: 0 success; 2 wrong usage, configuration or input, with one message and no traceback; 75 stopped by a signal.
"""

import sys
from collections.abc import Sequence

import tyro

from llmrec_jax.cli.adapt import adapt
from llmrec_jax.cli.adapt import parser as adapt_parser
from llmrec_jax.cli.bundles import evaluate, recommend
from llmrec_jax.cli.comparison import compare
from llmrec_jax.cli.demo import demo
from llmrec_jax.cli.domains import export_tfds, prepare, validate
from llmrec_jax.cli.encoders import fetch_encoder
from llmrec_jax.cli.plot import plot
from llmrec_jax.cli.printing import safe_output
from llmrec_jax.cli.refit import refit
from llmrec_jax.cli.serve import serve
from llmrec_jax.cli.training import parser, train
from llmrec_jax.config import Config
from llmrec_jax.errors import one_line_errors
from llmrec_jax.version import __version__

__all__ = [
    "adapt",
    "compare",
    "demo",
    "evaluate",
    "export_tfds",
    "fetch_encoder",
    "main",
    "plot",
    "prepare",
    "recommend",
    "refit",
    "serve",
    "train",
    "validate",
]

DESCRIPTION = """Recommenders whose items are text: train on your shop's folder, evaluate, recommend.

Each command has its own --help. Shell completion: llmrec --tyro-print-completion bash (or zsh, tcsh)."""


def main(arguments: Sequence[str] | None = None, prog: str = "llmrec") -> int:
    """Run one command, by default from `sys.argv`; return the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"llmrec_jax {__version__}")
        return 0
    if arguments[:1] == ["train"]:  # parsed separately: its defaults come from the experiment
        with safe_output():
            return train(arguments[1:], prog=f"{prog} train")
    if arguments[:1] == ["adapt"]:
        with safe_output():
            return adapt(arguments[1:], prog=f"{prog} adapt")
    functions = (validate, prepare, export_tfds, evaluate, compare, plot, refit, recommend, serve, demo, fetch_encoder)
    verbs = {function.__name__.replace("_", "-"): function for function in functions}
    with safe_output(), one_line_errors() as status:
        status.code = tyro.extras.subcommand_cli_from_dict(
            {"train": parser(Config(), "NAME"), "adapt": adapt_parser(Config(), "NAME"), **verbs},
            args=arguments,
            prog=prog,
            description=DESCRIPTION,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    return status.code
