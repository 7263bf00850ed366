"""The options against imbalance on a skewed mixture: `python -m benchmarks.imbalance DATA --encoder FOLDER`.

One model is trained on a shop of 12,435 users (video_games), one of 610 (movies) and the target of 458 (gift_cards),
once as `NAMED` says and once with each option. Prints a Markdown table: NDCG@10 of the model on validation events of
each domain, and over all of their users by how often the item was bought: at most 4 times in training (tail), 5 to 19
(middle), 20 or more (head). Chooses nothing by these events: every run takes its last step. No test event is ranked.
"""

import argparse
import contextlib
import dataclasses
import shlex
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console

from llmrec_jax.cli.training import parser as config_parser
from llmrec_jax.config import Config, DataConfig, EncoderConfig, LossConfig, ModelConfig, TrainConfig
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train import session
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.interrupts import Interrupts

NAMED = Config(
    data=DataConfig(sources=("video_games", "movies"), target="gift_cards", target_share=0.1, max_history=20),
    encoder=EncoderConfig(mode="frozen"),
    model=ModelConfig(item_features="text+id", width=64, num_layers=1, num_heads=2, dropout=0.3),
    loss=LossConfig(ranking="softmax", temperature=0.07),
    train=TrainConfig(steps=300, batch_size=128, eval_every=0, selection="last_step"),
)
SWITCHES = (
    "",
    "--data.source_temperature 4",
    "--loss.domain_weights group_dro",
    "--loss.logit_adjustment 0.5",
    "--loss.propensity 0.5",
    "--loss.focal 2",
    "--data.augment crop",
    "--data.augment mask",
    "--data.augment reorder",
    "--data.field_dropout 0.2",
)
SLICES = ("tail", "middle", "head")
EDGES = (5, 20)  # training events at which the middle and the head begin


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("--encoder", help="a pretrained encoder; without one, a small one is trained")
    parser.add_argument("--cache-dir")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(arguments)
    data = dataclasses.replace(NAMED.data, root=given.root, cache_dir=given.cache_dir or NAMED.data.cache_dir)
    encoder = dataclasses.replace(NAMED.encoder, pretrained=given.encoder, mode="frozen" if given.encoder else "full")
    base = dataclasses.replace(NAMED, data=data, encoder=encoder)
    names = [*base.data.sources, base.data.target, *SLICES]
    print(f"| change | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for row in SWITCHES:
        config, *_ = tyro.cli(config_parser(base, "NAME"), args=["imbalance", *shlex.split(row)])
        seeds = [_measured(dataclasses.replace(config, seed=seed)) for seed in range(given.seeds)]
        cells = [f"{value:.4f}" for value in np.mean(seeds, axis=0)]
        print(f"| {f'`{row}`' if row else 'none'} | {' | '.join(cells)} |", flush=True)


def _measured(config: Config) -> list[float]:
    """NDCG@10 of each domain, then of each of `SLICES`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        quiet = Console(quiet=True)
        fitted = session.fit(config, Path(folder), quiet, Interrupts(), experiment_lib.build, Evaluator)
    corpus, mesh, size = fitted.run.corpus, make_mesh(config.mesh), config.train.eval_batch_size
    found, counts = [], []
    for domain in range(len(corpus.domains)):
        case = corpus.case(domain, "valid")
        predictor = fitted.evaluator.predictor(fitted.state.params, domain)
        found.append(ndcg(rank_case(predictor, case, mesh=mesh, batch_size=size).rank_N))
        counts.append(corpus.train_counts(domain)[case.target_N])
    jax.clear_caches()
    ndcg_N, slice_N = np.concatenate(found), np.searchsorted(EDGES, np.concatenate(counts), side="right")
    return [float(values.mean()) for values in (*found, *(ndcg_N[slice_N == each] for each in range(len(SLICES))))]


if __name__ == "__main__":
    main()
