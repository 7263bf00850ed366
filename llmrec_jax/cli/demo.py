"""The command `demo`: trains a small model on the two built-in shops, once, and serves the page on it."""

import sys
import webbrowser
from pathlib import Path

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.cli.serve import LOCAL
from llmrec_jax.cli.training import run
from llmrec_jax.config import Config
from llmrec_jax.train.interrupts import Interrupts

HOST = "127.0.0.1"


def demo(workdir: Path = Path("runs/demo"), port: int = 8000, open: bool = False, serve: bool = True) -> int:
    """See recommendations on a page within two minutes: trains a small model on two built-in shops, films and books,
    and serves it to this machine. Needs no data and no network. The next call uses the same model. Ctrl-C stops it.

    Example: llmrec demo --open

    Args:
      workdir: The work folder of the run. Delete it to train again.
      port: Port of the page; 0: any free one.
      open: Open the page in the browser.
      serve: Serve the page; without it, only train.
    """
    from llmrec_jax.server import create_app, listening

    if not serve:
        train_once(workdir)
        return 0

    def started(url: str) -> None:
        print(f"the page is at {url}; Ctrl-C stops it", file=sys.stderr, flush=True)
        if open:
            webbrowser.open(url)

    with listening.bound(HOST, port) as socket:  # before the training: the port may be taken
        train_once(workdir)
        listening.run(create_app({"demo": workdir}, hosts=LOCAL), socket, timeout=5, started=started)
    return 0


def train_once(workdir: Path) -> None:
    """Train, unless the folder already has the bundle and the report of a run."""
    if (workdir / "bundle" / "config.json").is_file() and (workdir / "report.json").is_file():
        print(f"using the model in {workdir}; delete the folder to train again", file=sys.stderr, flush=True)
        return
    print("training a small model on the two built-in shops, films and books: one to two minutes", file=sys.stderr)
    with Interrupts() as interrupts:
        run(configuration(), workdir, interrupts)


def configuration() -> Config:
    """That of the recipe `demo`."""
    return config_lib.load(recipes.find("demo"))
