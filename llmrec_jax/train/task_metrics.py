"""The metrics of the tasks on the target's held-out events, for the report.

Shape letters: A ratings of the target, users end to end; N of those that are evaluated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from llmrec_jax.baselines import rating as baseline
from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.data.domains.impressions import of_domain
from llmrec_jax.data.domains.split import Split
from llmrec_jax.models.heads import HEADS
from llmrec_jax.parallel import to_host
from llmrec_jax.predictor import Histories, VectorPredictor
from llmrec_jax.train.impressions import list_metrics
from llmrec_jax.train.init_from import facts_of
from llmrec_jax.train.ratings import features, fitted, prior, scale_of, training_ratings
from llmrec_jax.types import Head

Predict = Callable[..., Any]


def rating_rows(corpus: Corpus, predictor: VectorPredictor, head: Predict) -> list[dict[str, Any]]:
    """Errors of the rating head and of the baselines; none if no rating of the target may be trained on.

    Every held-out rating (`Rated.held_out`) is predicted from all that its user rated before. Predictions are clipped
    to the range of the training ratings.

    Args:
      corpus: the data of the run.
      predictor: the model on the target.
      head: `predict` of `models.rating_head.Rating`.
    """
    domain, split = corpus.target, corpus.splits[corpus.target]
    found, trains_A = training_ratings(corpus, domain)
    if not trains_A.any():
        return []
    model = fitted(corpus, domain, found, trains_A)
    parts = baseline.predict(model, found.items_A, found.ratings_A, found.offsets)
    trained_A = found.ratings_A[trains_A]
    scale, low, high = scale_of(trained_A), trained_A.min(), trained_A.max()
    rows = []
    for name in ("valid", "test"):
        number_N = found.held_out(split, name)
        if name == "valid":
            number_N = number_N[corpus.protocol.kept[found.users_A[number_N]]]
        if not len(number_N):
            continue
        rows_N = baseline.RatingParts(*(part_A[number_N] for part_A in parts))
        user_N, at_N = found.users_A[number_N], found.at_A[number_N]
        events = [slice(split.offsets[user], at) for user, at in zip(user_N, at_N, strict=True)]
        users_ND = predictor.users(histories_of(split, events))
        more = prior(rows_N), np.full(len(number_N), scale), features(rows_N, scale)
        arrays = users_ND, predictor.items_ID[found.items_A[number_N]], *more
        predicted = {
            "model": np.asarray(head(*(np.asarray(array, np.float32) for array in arrays))),
            "global_mean": rows_N.mean_A,
            "biases": rows_N.mean_A + rows_N.item_A + rows_N.user_A,
            "biased_mf": prior(rows_N),
        }
        for method, rating_N in predicted.items():
            error_N = np.clip(rating_N, low, high).astype(np.float64) - found.ratings_A[number_N]
            rows.append(
                {
                    "task": "rating",
                    "method": method,
                    "domain": corpus.domains[domain].name,
                    "split": name,
                    "rmse": float(np.sqrt(np.mean(error_N**2))),
                    "mae": float(np.mean(np.abs(error_N))),
                    "users": len(np.unique(user_N)),
                    "events": len(number_N),
                }
            )
    return rows


def click_rows(corpus: Corpus, predictor: VectorPredictor) -> list[dict[str, Any]]:
    """How the model and popularity rank the lists of shown items that are held out; none if there are none.

    The score is that of recommending: the history before the list against each item of it. Regimes without users of the
    target are evaluated too.
    """
    if (found := of_domain(corpus.domains[corpus.target])) is None:
        return []
    split, counts_I = corpus.splits[corpus.target], corpus.train_counts(corpus.target)
    rows = []
    for name in ("valid", "test"):
        numbers = found.held_out(split, name)
        if name == "valid":
            numbers = numbers[corpus.protocol.kept[found.users_Q[numbers]]]
        if not len(numbers):
            continue
        events = [
            slice(split.offsets[user], at)
            for user, at in zip(found.users_Q[numbers], found.at(split)[numbers], strict=True)
        ]
        sizes = np.diff(found.offsets)[numbers]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        member_A = np.repeat(found.offsets[numbers] - offsets[:-1], sizes) + np.arange(offsets[-1])
        item_A, clicked_A = found.items_A[member_A], found.clicked_A[member_A]
        users_ND = np.repeat(predictor.users(histories_of(split, events)), sizes, axis=0)
        scores = {
            "model": np.einsum("nd,nd->n", users_ND, predictor.items_ID[item_A], dtype=np.float64),
            "popularity": counts_I[item_A],
        }
        for method, scores_A in scores.items():
            facts = {"task": "click", "method": method, "domain": corpus.domains[corpus.target].name, "split": name}
            counts = {"users": len(np.unique(found.users_Q[numbers])), "lists": len(numbers)}
            rows.append(facts | list_metrics(scores_A, clicked_A, offsets) | counts)
    return rows


def perplexity_rows(config: Config) -> list[dict[str, Any]]:
    """The perplexity of held-out texts before and after the run of a language model that `train.init_from` names."""
    if config.train.init_from is None or config.model.item_features == "id":
        return []
    facts = facts_of(config.train.init_from)
    return [
        {
            "task": "language_model",
            "method": when,
            "domain": "+".join(facts["domains"]),
            "split": "held_out",
            "perplexity": perplexity,
            "texts": facts["held_out_texts"],
        }
        for when, perplexity in facts.get("perplexity", {}).items()
    ]


def histories_of(split: Split, events: Sequence[slice]) -> Histories:
    """The histories that consist of these events of a domain, with their times if they have any."""
    times = None if split.times_E is None else [split.times_E[before] for before in events]
    return Histories([split.items_E[before] for before in events], times)


def predictions_of(head: Head, width: int, params: Any) -> Predict:
    """The `predict` of a head as a function of arrays, compiled; on this process alone.

    Args:
      head: what the term made it from.
      width: of the vectors.
      params: of the head, global arrays.
    """
    module = nnx.eval_shape(lambda: HEADS[head.kind](width, **head.options, rngs=nnx.Rngs(0)))
    graphdef, own = nnx.graphdef(module), to_host(params)
    return jax.jit(lambda *arrays: nnx.merge(graphdef, own).predict(*arrays))
