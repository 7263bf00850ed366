"""Recipes: configuration files in the package, for `llmrec train NAME`.

Only finds the files; `llmrec_jax.config.load` reads them.
"""

import difflib
from pathlib import Path

from llmrec_jax.errors import UserError


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__")


def find(experiment: str) -> Path:
    """The configuration file of `experiment`, which is the name of a recipe or a path.

    Raises:
      UserError: there is no such recipe.
    """
    if experiment in names():
        return Path(__file__).with_name(f"{experiment}.py")
    if experiment.endswith(".py") or Path(experiment).exists():
        return Path(experiment)
    close = difflib.get_close_matches(experiment, names(), n=1)
    nearest = f" Did you mean {close[0]}?" if close else ""
    raise UserError(
        f"no recipe {experiment!r}.{nearest} Recipes: {', '.join(names())}; or give a configuration file, *.py"
    )
