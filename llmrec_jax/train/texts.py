"""The candidate `texts:STEPS`: the encoder is first trained as a language model on the texts of all domains.

DIR/texts    the run of the language model, which reads no event; its encoder is `DIR/texts/encoder`
"""

import functools
import json
from pathlib import Path

from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.train.init_from import PERPLEXITY
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.language_model import train_language_model
from llmrec_jax.train.workdir import check

FOLDER = "texts"


def language_model(config: Config, steps: int) -> Config:
    """The configuration of the language model of a run."""
    return config_lib.changed(config, {"train.objective": "language_model", "train.steps": steps})


def started_from_texts(config: Config, steps: int, workdir: Path, console: Console, interrupts: Interrupts) -> Config:
    """Train the language model of a run in `workdir`, or resume it there; return the run that starts from it.

    Raises:
      ValueError: see `train_language_model`.
    """
    folder, model = workdir / FOLDER, language_model(config, steps)
    from_first(functools.partial(check, folder, model))
    if from_first(functools.partial(_is_finished, folder, steps)):
        console.print(f"finished in {folder}", markup=False, highlight=False)
    else:
        train_language_model(model, folder, console, interrupts)
    return config_lib.changed(config, {"train.init_from": str(folder)})


def _is_finished(folder: Path, steps: int) -> bool:
    path = folder / PERPLEXITY  # written last
    return path.exists() and json.loads(path.read_text())["config"]["train"]["steps"] == steps
