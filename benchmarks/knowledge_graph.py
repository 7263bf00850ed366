"""What a knowledge graph adds to the untrained answer, as text and as a part of it, on cold items or on all.

    python -m benchmarks.knowledge_graph DATA movies books
    python -m benchmarks.cold_items DATA movies --to COLD/movies && python -m benchmarks.knowledge_graph COLD movies

Prints a Markdown table: NDCG@10 on test events, the ratio and the difference to the answer without the graph in the
same regime, with its 95 % interval (paired bootstrap over users). In the regime `full`, weights are fitted on the
validation events; in the rows with weight 1, the part gets this weight after the fit. The row "number of facts" is a
control: it adds, instead of the part, the logarithm of each item's number of facts, the same for all users, with the
weight that is best on validation events. It tells what there is to gain from knowing which items have many facts.
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

WEIGHTS = (0.1, 0.2, 0.4, 0.8, 1.6)  # of the number of facts


def main() -> None:
    """Parse the arguments, print the table."""
    arguments = parser_of(__doc__).parse_args()
    print("| domain | regime | graph | test NDCG@10 | ratio | difference |\n|---|---|---|---|---|---|")
    for name in arguments.domains:
        with tempfile.TemporaryDirectory() as folder:
            data = DataConfig(root=arguments.root, sources=("demo:films",), target=name, cache_dir=arguments.cache_dir)
            plain = dataclasses.replace(data, root=folder)
            _copy_without_graph(Path(data.root) / name, Path(folder) / name)
            for regime in ("zero-shot", "full"):
                _print_rows(name, regime, _methods(plain, data, regime, arguments.encoder))


def _copy_without_graph(folder: Path, to: Path) -> None:
    to.mkdir()
    for file in (ITEMS, EVENTS):
        shutil.copyfile(find(folder, file), to / find(folder, file).name)
    (to / "domain.json").write_text(json.dumps({"order": read_settings(folder).order}))


def _methods(plain: DataConfig, data: DataConfig, regime: str, encoder: str) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the NDCG@10 of each user with a test event; without the graph first."""
    texts = dataclasses.replace(data, graph_text=True)
    corpus, blend = _answer(plain, regime, encoder)
    yield "-", _ndcg(blend, corpus.case(corpus.target, "test"))
    _, blend_text = _answer(texts, regime, encoder, 0.0)
    yield "as text", _ndcg(blend_text, corpus.case(corpus.target, "test"))
    if regime == "full":
        yield "a part, fitted", _ndcg(_answer(data, regime, encoder)[1], corpus.case(corpus.target, "test"))
    yield "a part, weight 1", _ndcg(_answer(data, regime, encoder, 1.0)[1], corpus.case(corpus.target, "test"))
    yield "both, weight 1", _ndcg(_answer(texts, regime, encoder, 1.0)[1], corpus.case(corpus.target, "test"))
    yield "number of facts", _number_of_facts(corpus, load_corpus(data, 64, seed=0), blend)


def _answer(data: DataConfig, regime: str, encoder: str, weight: float | None = None) -> tuple[Corpus, Blend]:
    corpus = load_corpus(dataclasses.replace(data, **REGIMES[regime]), 64, seed=0)
    features_IF = features(corpus, data, encoder)
    config = AnswerConfig(graph_weight=weight)
    blend = make_answer(corpus, Domains(lambda _: features_IF, no_model(corpus)), config).blends["test"]
    return corpus, blend


def _number_of_facts(corpus: Corpus, with_graph: Corpus, blend: Blend) -> np.ndarray:
    """The control (see the top of the file)."""
    log_I = np.log1p([len(facts) for facts in with_graph.domains[-1].facts]).astype(np.float32)
    prior_I = (log_I - log_I.mean()) / log_I.std()
    part = Part("facts", lambda histories: np.broadcast_to(prior_I, (len(histories), len(prior_I))))

    def with_weight(weight: float) -> Blend:
        return dataclasses.replace(blend, parts=(*blend.parts, part), weights={**blend.weights, "facts": weight})

    valid = corpus.case(corpus.target, "valid")
    best = max(WEIGHTS, key=lambda weight: _ndcg(with_weight(weight), valid).mean())
    return _ndcg(with_weight(best), corpus.case(corpus.target, "test"))


def _ndcg(blend: Blend, case: Case) -> np.ndarray:
    return ndcg(rank_blend(blend, case.histories, case.target_N)["answer"].rank_N)


def _print_rows(name: str, regime: str, methods: Iterator[tuple[str, np.ndarray]]) -> None:
    first_N = None
    for method, ndcg_N in methods:
        first_N = ndcg_N if first_N is None else first_N
        low, high = paired_bootstrap(ndcg_N - first_N)
        ratio = ndcg_N.mean() / first_N.mean()
        difference = f"{ratio:.3f} | {(ndcg_N - first_N).mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        print(
            f"| {name} | {regime} | {method} | {ndcg_N.mean():.4f} | {'- | -' if method == '-' else difference} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
