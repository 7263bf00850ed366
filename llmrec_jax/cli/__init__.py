"""The commands: `train` serves train.py, the verbs are `python -m llmrec_jax VERB`. Only arguments in, only text out.

A command imports what it needs when it runs, so that help and wrong arguments are answered at once.

Exit codes: 0 done; 2 wrong usage, configuration or input, said in one message without a traceback.
"""

from collections.abc import Sequence

import tyro

from llmrec_jax.cli.bundles import evaluate, recommend
from llmrec_jax.cli.domains import export_tfds, prepare, validate
from llmrec_jax.cli.printing import safe_output
from llmrec_jax.cli.training import train
from llmrec_jax.errors import one_line_errors

__all__ = ["evaluate", "export_tfds", "main", "prepare", "recommend", "train", "validate"]


def main(arguments: Sequence[str]) -> int:
    """Run one verb; return the exit code."""
    verbs = {verb.__name__.replace("_", "-"): verb for verb in (validate, prepare, export_tfds, evaluate, recommend)}
    with safe_output(), one_line_errors() as status:
        status.code = tyro.extras.subcommand_cli_from_dict(
            verbs, args=list(arguments), prog="python -m llmrec_jax", config=(tyro.conf.FlagCreatePairsOff,)
        )
    return status.code
