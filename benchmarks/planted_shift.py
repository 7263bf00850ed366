"""Adaptation between the built-in shops with a planted shift: `python benchmarks/planted_shift.py [--methods M ...]`.

Every method that aligns item vectors, zero-shot, beside training on the source alone: a Markdown table of the target's
test NDCG@10 and of the proxy A-distance of the item vectors, five seeds. What the best possible is, see `demo_shift`.

The weight of a method is the one of `WEIGHTS` with the highest NDCG@10 on the target's validation events under another
seed. Real zero-shot runs have no such events to choose by; see `llmrec adapt`.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import numpy as np
from scipy import stats

from benchmarks.report import host_line
from llmrec_jax.config import (
    AdaptConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.domains import demo_shift
from llmrec_jax.evaluate.host_ranking import rank_scores
from llmrec_jax.evaluate.ranking import rank
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.parallel import make_layout
from llmrec_jax.predictor import ScorePredictor
from llmrec_jax.selection.distances import negative_a_distance
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.experiment import Experiment, assemble
from llmrec_jax.train.prepared import Data, prepare
from llmrec_jax.train.state import Params, new_state
from llmrec_jax.train.step import train_step

NONE = "none"
SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), 5
WEIGHTS = {  # to choose from, `adapt.weight`
    "coral": (0.1, 0.3, 1.0),
    "mmd": (0.03, 0.1, 0.3),
    "sliced_wasserstein": (0.03, 0.1, 0.3),
    "sinkhorn": (0.1, 0.3, 1.0),
    "dann": (0.03, 0.1, 0.3),
    "wdgrl": (0.01, 0.03, 0.1),
    "contrastive": (0.1, 0.3, 1.0),
    "afn": (0.01, 0.1, 1.0),
}
ORDERS = 20  # of books with the same score
Result = dict[str, float]  # "valid" and "test": NDCG@10 of the model on the target; "a_distance" of item vectors


def config(cache_dir: str) -> Config:
    """A one-layer BERT of width 16, trained from scratch, and the mean of the history as the user tower."""
    return Config(
        data=DataConfig(
            sources=("demo:shift_source",),
            target="demo:shift_target",
            target_fraction=0.0,
            max_history=8,
            max_tokens=18,
            vocab_size=2000,
            unlabelled_items=64,
            cache_dir=cache_dir,
        ),
        encoder=EncoderConfig(num_layers=1, width=16, num_heads=2, dropout=0.0),
        model=ModelConfig(width=16, user_tower="mean", num_layers=1, num_heads=2, dropout=0.0),
        loss=LossConfig(ranking="in_batch", temperature=0.1),
        mesh=MeshConfig(data=1),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=10),
        train=TrainConfig(steps=150, batch_size=32, eval_every=0),
    )


class Trainer:
    """Trains with one method under several seeds and weights; compiles once."""

    def __init__(self, data: Data, method: str):
        """`data` of `config`; the method is a name in `losses.methods`."""
        adapt = AdaptConfig(method=method, weight=1.0)
        self._experiment = assemble(data, dataclasses.replace(data.config, adapt=adapt))
        self._fit = jax.jit(_fit(self._experiment))

    def __call__(self, seed: int, weight: float) -> Result:
        """Train with this seed and `adapt.weight`, and evaluate.

        The seed decides the parameters and which part of one order of batches is read: all batches have the same shape.
        """
        experiment, steps = self._experiment, self._experiment.config.train.steps
        every = [make_batch(experiment.corpus.plan, seed * steps + step) for step in range(steps)]
        batches = jax.tree.map(lambda *arrays: np.stack(arrays), *every)
        return evaluate(experiment, self._fit(np.uint32(seed), batches, experiment.catalog, np.float32(weight)))


def _fit(experiment: Experiment) -> Callable[..., Params]:
    """A whole run as one program, which takes the seed and the weight of the adaptation as arguments."""

    def fit(seed: jax.Array, batches: Any, catalog: Any, weight: jax.Array) -> Params:
        def weighted(name: str, term: Any) -> Any:
            is_adaptation = name != "ranking" and term.weight != 0.0
            return term._replace(weight=lambda _: term.weight * weight) if is_adaptation else term

        terms = {name: weighted(name, term) for name, term in experiment.spec.terms.items()}
        spec = experiment.spec._replace(terms=terms)
        state = new_state(experiment._init_params, spec.tx, seed)
        state, _ = jax.lax.scan(lambda state, batch: train_step(state, batch, catalog, spec=spec), state, batches)
        return state.params

    return fit


def evaluate(experiment: Experiment, params: Params) -> Result:
    """NDCG@10 of the model on the target, and the proxy A-distance of the item vectors of the two shops."""
    mesh, target = make_layout(experiment.config.mesh).mesh, experiment.corpus.target
    evaluator = Evaluator(experiment, mesh)
    predictor = evaluator.predictor(params, target)
    result = {}
    for split in ("valid", "test"):
        case = experiment.corpus.case(target, split)
        users_ND = predictor.users(case.histories)
        ranks = rank(users_ND, predictor.items_ID, case.target_N, case.histories, mesh=mesh, batch_size=256)
        result[split] = float(ndcg(ranks.rank_N).mean())
    vectors_ID = evaluator.item_vectors(params)[:, : experiment.config.model.width]
    first = experiment.corpus.items(target).start
    return result | {"a_distance": -negative_a_distance(vectors_ID[:first], vectors_ID[first:])}


def known(data: Data) -> dict[str, float]:
    """Test NDCG@10 of the best possible ranking, and of the best of one who knows only the source's words.

    Books with the same score are ranked in random order, as a model would; the mean over `ORDERS` of them.
    """
    case, truths = data.corpus.case(data.corpus.target, "test"), demo_shift.items("shift_target")[1]
    rng = np.random.default_rng(0)

    def score(scores_NI: np.ndarray) -> float:
        def untied(histories: Sequence[np.ndarray]) -> np.ndarray:
            return scores_NI + 5e-6 * rng.random(scores_NI.shape)

        predictor = ScorePredictor("", len(truths), untied)
        ranks = [rank_scores(predictor, case.histories, case.target_N).rank_N for _ in range(ORDERS)]
        return float(np.mean([ndcg(rank_N) for rank_N in ranks]))

    return {
        "best possible": score(demo_shift.best_scores(truths, case.histories)),
        "best of the source's words": score(demo_shift.blind_scores(truths, case.histories)),
    }


def gain(results: Sequence[Result], baseline: Sequence[Result]) -> tuple[float, float, int]:
    """Of the test NDCG@10, paired over the seeds: the mean gain, its standard error, and how many seeds gain."""
    gains_N = np.array([one["test"] - other["test"] for one, other in zip(results, baseline, strict=True)])
    return float(gains_N.mean()), float(stats.sem(gains_N)), int(np.sum(gains_N > 0))


def best_weight(train: Trainer, weights: Sequence[float]) -> float:
    """The weight with the highest validation NDCG@10 under the seed for this choice."""
    return max(weights, key=lambda weight: train(TUNING_SEED, weight)["valid"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(WEIGHTS))
    methods, start = parser.parse_args().methods, time.perf_counter()
    with tempfile.TemporaryDirectory() as cache_dir:
        data = prepare(config(cache_dir))
        print(*(f"{name}: {figure:.4f}" for name, figure in known(data).items()), sep="\n", end="\n\n")
        print(f"| method | weight | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean | gain | A-distance |")
        print("|---" * (len(SEEDS) + 5) + "|", flush=True)
        baseline: list[Result] = []
        for method in [NONE, *methods]:
            train = Trainer(data, method)
            weight = best_weight(train, WEIGHTS[method]) if method != NONE else 0.0
            found = [train(seed, weight) for seed in SEEDS]
            baseline = baseline or found
            print(row(method, weight, found, baseline), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s on {host_line()}")


def row(method: str, weight: float, found: Sequence[Result], baseline: Sequence[Result]) -> str:
    """A line of the table."""
    mean, error, seeds = gain(found, baseline)
    gained = "" if method == NONE else f"{mean:+.4f} ± {error:.4f}, {seeds} of {len(found)}"
    distance = np.mean([one["a_distance"] for one in found])
    tests = [one["test"] for one in found]
    cells = [method, f"{weight:g}", *(f"{test:.4f}" for test in tests), f"{np.mean(tests):.4f}", gained,
             f"{distance:.2f}"]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
