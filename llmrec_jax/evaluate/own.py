"""Evaluates a recommender of your own on a domain, next to the baselines. Needs no run."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from llmrec_jax.baselines.standard import standard_baselines
from llmrec_jax.config import DataConfig, MeshConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import Evaluation, evaluate_target
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import MatrixPredictor, Predictor, ScorePredictor

Scores = Callable[[Sequence[np.ndarray]], np.ndarray]


def evaluate(
    predictor: Predictor | Scores | np.ndarray,
    domain: str | Path,
    data: DataConfig | None = None,
    *,
    batch_size: int = 256,
) -> Evaluation:
    """Rank every held-out item of a domain by your predictor and by the baselines, as the report of a run does.

    Every item of the domain is ranked, the history excluded; the text baselines use TF-IDF.

    Args:
      predictor: a function from histories to scores [N, I], a matrix of scores [users, I], or a predictor. A history
        is an int32 array of item numbers, oldest first. Items and users are numbered as in `item_ids` and `user_ids`
        of `load_domain(domain, data)`. A matrix ranks the validation and the test event of a user by the same scores.
      domain: a domain folder, or `demo:films` or `demo:books`.
      data: how to read and split it; None: the defaults (leave-one-out).
      batch_size: users on the devices at a time; changes memory and speed only.

    Returns:
      Results (one dict per method and split), each user's rank under every method, and the verdict: the difference to
      the best baseline in NDCG@10 with a 95 % interval. `print_evaluation` prints them.

    Raises:
      ValueError: the domain cannot be read, has no users to test on, or the scores do not have the expected shape.
    """
    corpus = load_corpus(dataclasses.replace(data or DataConfig(), sources=(), target=str(domain)), 1, seed=0)
    num_items, texts = len(corpus.joint), corpus.domains[0].texts
    if isinstance(predictor, np.ndarray):
        if predictor.shape != (shape := (len(corpus.domains[0].user_ids), num_items)):
            raise UserError(f"scores of shape {predictor.shape}; expected {shape}: users and items of the domain")
        predictor = MatrixPredictor("own", predictor)
    elif callable(predictor):
        predictor = ScorePredictor("own", num_items, predictor)
    baselines = standard_baselines(corpus, 0, lambda: tfidf(texts))
    return evaluate_target(corpus, baselines, predictor, mesh=make_mesh(MeshConfig()), batch_size=batch_size)
