"""The parts of the untrained answer added one by one, on all training events of several domains.

    python -m benchmarks.parts DATA scientific beauty

Prints a Markdown table: Recall@10 / NDCG@10 on test events, and the difference in NDCG@10 to the row above with its
95 % interval (paired bootstrap over users). The weights are those of the whole answer. What a trained model adds to it
is in the report of each run, as the method `without model`.
"""

import dataclasses

import numpy as np

from benchmarks.answers import features, no_model, parser_of
from llmrec_jax.blend.answer import MODEL
from llmrec_jax.config import AnswerConfig, DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.evaluate.host_ranking import rank_blend
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap
from llmrec_jax.train.answer import Domains, make_answer


def main() -> None:
    """Parse the arguments, print the table."""
    arguments = parser_of(__doc__).parse_args()
    print("| domain | parts | test | difference to the row above |\n|---|---|---|---|")
    for name in arguments.domains:
        data = DataConfig(root=arguments.root, sources=("demo:films",), target=name, cache_dir=arguments.cache_dir)
        _print_rows(data, arguments.encoder)


def _print_rows(data: DataConfig, encoder: str) -> None:
    corpus = load_corpus(data, 64, seed=0)
    features_IF = features(corpus, data, encoder)
    blend = make_answer(corpus, Domains(lambda _: features_IF, no_model(corpus)), AnswerConfig()).blends["test"]
    case, parts, above_N = corpus.case(corpus.target, "test"), [part for part in blend.weights if part != MODEL], None
    for number, part in enumerate(parts, start=1):
        weights = {name: weight if name in parts[:number] else 0.0 for name, weight in blend.weights.items()}
        ranks = rank_blend(dataclasses.replace(blend, weights=weights), case.histories, case.target_N)["answer"]
        found, ndcg_N = metrics(ranks.rank_N), ndcg(ranks.rank_N)
        name, plus = (data.target, "") if number == 1 else ("", "+ ")
        test = f"{found['recall@10']:.4f} / {found['ndcg@10']:.4f}"
        print(f"| {name} | {plus}{part} | {test} | {_difference(ndcg_N, above_N)} |", flush=True)
        above_N = ndcg_N


def _difference(ndcg_N: np.ndarray, above_N: np.ndarray | None) -> str:
    if above_N is None:
        return "-"
    low, high = paired_bootstrap(ndcg_N - above_N)
    return f"{(ndcg_N - above_N).mean():+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()
