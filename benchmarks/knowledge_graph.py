"""What a knowledge graph adds to the untrained answer, as text and as a part of it, on cold items or on all.

    python -m benchmarks.knowledge_graph DATA movies
    python -m benchmarks.cold_items DATA movies --to COLD/movies && python -m benchmarks.knowledge_graph COLD movies

Prints a Markdown table: NDCG@10 on test events, the ratio and the difference to the answer without the graph in the
same regime, with its 95 % interval (paired bootstrap over users). Several domains are pooled, for draws of `cold_items`
with several seeds. In the regime `full`, weights are fitted on validation events; a row with a weight gives it to the
part after the fit. The rows "number of facts" are a control: they add, instead of the part, the logarithm of each
item's number of facts, standardized and the same for all users. They tell what there is to gain from knowing which
items have many facts. The row "text, weight x 2" doubles the weight of the part `text` instead, which helps cold items
in the regime `full` as well.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.answers import REGIMES, features, no_model, parser_of
from llmrec_jax.blend import Blend
from llmrec_jax.blend.answer import Part
from llmrec_jax.config import AnswerConfig, DataConfig
from llmrec_jax.data.corpus import Case, Corpus, load_corpus
from llmrec_jax.data.domains.folders import EVENTS, ITEMS, find
from llmrec_jax.data.domains.settings import read_settings
from llmrec_jax.evaluate.host_ranking import rank_blend
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap
from llmrec_jax.train.answer import Domains, make_answer

WEIGHTS = (0.5, 1.0, 2.0)  # of the part
CONTROL = (0.2, 0.4)  # weights of the number of facts


def main() -> None:
    """Parse the arguments, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--graph-text", action="store_true", help="also measure facts as text; encodes every item anew")
    arguments = parser.parse_args()
    print("| regime | graph | test NDCG@10 | ratio | difference |\n|---|---|---|---|---|")
    for regime in ("zero-shot", "full"):
        found: dict[str, list[np.ndarray]] = {}
        for name in arguments.domains:
            with tempfile.TemporaryDirectory() as folder:
                data = DataConfig(
                    root=arguments.root, sources=("demo:films",), target=name, cache_dir=arguments.cache_dir
                )
                plain = dataclasses.replace(data, root=folder)
                _copy_without_graph(Path(data.root) / name, Path(folder) / name)
                for method, ndcg_N in _methods(plain, data, regime, arguments.encoder, arguments.graph_text):
                    found.setdefault(method, []).append(ndcg_N)
        _print_rows(regime, {method: np.concatenate(parts) for method, parts in found.items()})


def _copy_without_graph(folder: Path, to: Path) -> None:
    to.mkdir()
    for file in (ITEMS, EVENTS):
        shutil.copyfile(find(folder, file), to / find(folder, file).name)
    (to / "domain.json").write_text(json.dumps({"order": read_settings(folder).order}))


def _methods(
    plain: DataConfig, data: DataConfig, regime: str, encoder: str, graph_text: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the NDCG@10 of each user with a test event; without the graph first."""
    corpus, blend = _answer(plain, regime, encoder)
    case = corpus.case(corpus.target, "test")
    yield "-", _ndcg(blend, case)
    if graph_text:
        yield "as text", _ndcg(_answer(dataclasses.replace(data, graph_text=True), regime, encoder, 0.0)[1], case)
    corpus, with_graph = _answer(data, regime, encoder)
    if regime == "full":
        yield "a part, fitted", _ndcg(with_graph, case)
    for weight in WEIGHTS:
        weights = {**with_graph.weights, "graph": weight}
        yield f"a part, weight {weight:g}", _ndcg(dataclasses.replace(with_graph, weights=weights), case)
    log_I = np.log1p([len(facts) for facts in corpus.domains[-1].facts]).astype(np.float32)
    prior_I = (log_I - log_I.mean()) / log_I.std()
    part = Part("facts", lambda histories: np.broadcast_to(prior_I, (len(histories), len(prior_I))))
    weights = {**blend.weights, "text": 2 * blend.weights["text"]}
    yield "text, weight x 2", _ndcg(dataclasses.replace(blend, weights=weights), case)
    for weight in CONTROL:
        control = Blend(blend.num_items, (*blend.parts, part), {**blend.weights, "facts": weight})
        yield f"number of facts, weight {weight:g}", _ndcg(control, case)


def _answer(data: DataConfig, regime: str, encoder: str, weight: float | None = None) -> tuple[Corpus, Blend]:
    corpus = load_corpus(dataclasses.replace(data, **REGIMES[regime]), 64, seed=0)
    features_IF = features(corpus, data, encoder)
    config = AnswerConfig(graph_weight=weight)
    blend = make_answer(corpus, Domains(lambda _: features_IF, no_model(corpus)), config).blends["test"]
    return corpus, blend


def _ndcg(blend: Blend, case: Case) -> np.ndarray:
    return ndcg(rank_blend(blend, case.histories, case.target_N)["answer"].rank_N)


def _print_rows(regime: str, methods: dict[str, np.ndarray]) -> None:
    first_N = methods["-"]
    for method, ndcg_N in methods.items():
        low, high = paired_bootstrap(ndcg_N - first_N)
        ratio = ndcg_N.mean() / first_N.mean()
        difference = f"{ratio:.3f} | {(ndcg_N - first_N).mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        cells = f"{regime} | {method} | {ndcg_N.mean():.4f} | {'- | -' if method == '-' else difference}"
        print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
