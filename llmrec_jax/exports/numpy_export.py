"""The `numpy` export: a folder with the scorer and `recommender.py`, which needs only NumPy."""

from pathlib import Path

from llmrec_jax.exports import array_ops, network, numpy_runner, scorer
from llmrec_jax.exports.scorer import Scorer


def write(found: Scorer, folder: Path) -> None:
    """Write the scorer's files and `recommender.py` to an existing folder."""
    scorer.write(found, folder)
    (folder / "recommender.py").write_text(runner(), "utf-8")


def runner() -> str:
    """The source of `numpy_runner` with the two modules that it imports in the place of the imports."""
    sources = [Path(str(module.__file__)).read_text("utf-8") for module in (array_ops, network, numpy_runner)]
    own = sources.pop()
    docstring_end = own.index('"""', 3) + 4
    lines = [line for line in own[docstring_end:].splitlines() if not line.startswith("from llmrec_jax")]
    return "\n".join([own[:docstring_end], *(source.split('"""', 2)[2] for source in sources), *lines]) + "\n"
