"""The trained model alone under changes of `configs/transfer_full.py`, each compared with the configuration as it is.

    python -m benchmarks.model_alone DATA scientific
    python -m benchmarks.model_alone DATA scientific --row="--seed 1" --row="--model.width 64 --model.start random"

A row is a change, written as arguments of `train.py`. Prints a Markdown table: Recall@10 / NDCG@10 of the model at the
step that validation selects, on validation and test events, the difference to the first row in NDCG@10 on test events
with its 95 % interval (paired bootstrap over users), the step, and the minutes of training. Fits no answer.
"""

import argparse
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cli.training import parser as config_parser
from llmrec_jax.config import Config
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train import session
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.interrupts import Interrupts

CONFIG = Path(__file__).parents[1] / "configs" / "transfer_full.py"
# The first parameters, which a step at the rate 0 does not change; the configuration without each of its choices.
ROWS = (
    "--train.steps 1 --train.eval_every 0",
    "--loss.no_mask_history",
    "--model.start random",
    "--model.no_item_bias",
    "--model.width 128",
    "--model.text_map trained",
)


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("domain")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--row", action="append", help="arguments of train.py; once for each row")
    parser.add_argument("--cache-dir")
    given = parser.parse_args(arguments)
    shop = ["--data.root", given.root, "--data.target", given.domain]
    if given.cache_dir:
        shop += ["--data.cache_dir", given.cache_dir]
    print("| change | validation | test | difference, 95 % interval | step | minutes |")
    print("|---|---|---|---|---|---|")
    first_N = None
    for row in ("", *(given.row or ROWS)):
        config, *_ = tyro.cli(
            config_parser(config_lib.load(given.config), "NAME"), args=[str(given.config), *shop, *shlex.split(row)]
        )
        cells, ndcg_N, facts = _measured(config)
        first_N = ndcg_N if first_N is None else first_N
        low, high = paired_bootstrap(ndcg_N - first_N)
        difference = f"{(ndcg_N - first_N).mean():+.4f} [{low:+.4f}, {high:+.4f}]" if row else "-"
        print(f"| {f'`{row}`' if row else 'none'} | {' | '.join([*cells, difference, *facts])} |", flush=True)


def _measured(config: Config) -> tuple[list[str], np.ndarray, list[str]]:
    """The cells of validation and test, NDCG@10 of each test user, and the selected step and the minutes."""
    # The table alone is on stdout.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        quiet = Console(quiet=True)
        fitted = session.fit(config, Path(folder), quiet, Interrupts(), experiment_lib.build, Evaluator)
    evaluator, corpus, mesh = fitted.evaluator, fitted.run.corpus, make_mesh(config.mesh)
    predictor = evaluator.predictor(fitted.state.params, corpus.target)
    ranks = [
        rank_case(predictor, case, mesh=mesh, batch_size=config.train.eval_batch_size).rank_N
        for case in corpus.report_cases()
    ]
    jax.clear_caches()
    cells = [f"{found['recall@10']:.4f} / {found['ndcg@10']:.4f}" for found in map(metrics, ranks)]
    return cells, ndcg(ranks[-1]), [f"{fitted.best['step']:.0f}", f"{fitted.seconds['train'] / 60:.1f}"]


if __name__ == "__main__":
    main()
