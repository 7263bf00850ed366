"""The inputs of the rating task: the ratings of each domain, and their predictions by matrix factorization.

The head is trained on the residual of the factorization, so a rating that is trained on is predicted by a
factorization that is fitted on other users (cross-fitting over folds of users). A held-out
rating is predicted by one that is fitted on all users.

Shape letters: A ratings of a domain, users end to end; F features.
"""

import numpy as np

from llmrec_jax.baselines import rating as baseline
from llmrec_jax.data.batches.targets import Table
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.data.domains.rated import Rated, rated

FOLDS = 5
FEATURES = 5


def training_ratings(corpus: Corpus, domain: int) -> tuple[Rated, np.ndarray]:
    """All ratings of a domain, and a mask [A] of those that may be trained on: of the target those of `kept` users."""
    split = corpus.splits[domain]
    users = np.ones(len(split.train_end), bool)
    if domain == corpus.target:
        users = corpus.protocol.kept & corpus.protocol.trains_on_target
    found = rated(corpus.domains[domain], split)
    return found, found.training(split, users)


def rating_levels(corpus: Corpus) -> dict[str, tuple[float, ...]]:
    """The distinct ratings, ascending, of each domain in the batches that has ratings to train on."""
    levels = {}
    for number, (domain, rows) in enumerate(zip(corpus.domains, corpus.plan.rows, strict=True)):
        if rows:
            found, trains_A = training_ratings(corpus, number)
            if len(values := np.unique(found.ratings_A[trains_A])):
                levels[domain.name] = tuple(values.tolist())
    return levels


def rating_tables(corpus: Corpus) -> list[Table | None]:
    """The ratings that the batches read, one table per domain; None for one without rows or ratings."""
    return [_table(corpus, domain) if rows else None for domain, rows in enumerate(corpus.plan.rows)]


def _table(corpus: Corpus, domain: int) -> Table | None:
    found, trains_A = training_ratings(corpus, domain)
    if not trains_A.any():
        return None
    users_A, items_A, ratings_A = found.users_A[trains_A], found.items_A[trains_A], found.ratings_A[trains_A]
    scale = scale_of(ratings_A)
    _, user_A = np.unique(users_A, return_inverse=True)
    num_users = int(user_A.max()) + 1
    fold_A = (np.random.default_rng([domain, num_users]).permutation(num_users) % FOLDS)[user_A]
    prior_A, features_AF = np.zeros(len(user_A)), np.zeros((len(user_A), FEATURES))
    for fold in range(FOLDS):
        is_in_A = fold_A == fold
        others_A = ~is_in_A if (~is_in_A).any() else is_in_A
        model = baseline.fit(user_A[others_A], items_A[others_A], ratings_A[others_A], _num_items(corpus, domain))
        offsets = np.searchsorted(user_A[is_in_A], np.arange(num_users + 1))
        parts = baseline.predict(model, items_A[is_in_A], ratings_A[is_in_A], offsets)
        prior_A[is_in_A], features_AF[is_in_A] = prior(parts), features(parts, scale)
    at_A = found.at_A[trains_A]
    has_history_A = at_A > corpus.splits[domain].offsets[users_A]
    columns = ratings_A, prior_A, np.full(len(at_A), scale), features_AF  # of `types.Ratings`
    return Table(
        at_A=at_A[has_history_A],
        items_A=(items_A + corpus.joint.starts[domain]).astype(np.int32)[has_history_A],
        columns=tuple(column.astype(np.float32)[has_history_A] for column in columns),
    )


def scale_of(ratings_A: np.ndarray) -> float:
    """The standard deviation of ratings, the unit of the loss and of the features; 1 if all of them are equal."""
    return float(ratings_A.std()) if np.ptp(ratings_A) else 1.0


def prior(parts: baseline.RatingParts) -> np.ndarray:
    """The prediction of the matrix factorization [A]."""
    return parts.mean_A + parts.item_A + parts.user_A + parts.factors_A


def features(parts: baseline.RatingParts, scale: float) -> np.ndarray:
    """The inputs of the head [A, F]: the parts of the prior in units of `scale`, and their numbers of ratings."""
    counts = [np.log1p(count_A) / 5 for count_A in (parts.user_count_A, parts.item_count_A)]
    return np.stack([parts.item_A / scale, parts.user_A / scale, parts.factors_A / scale, *counts], axis=1)


def fitted(corpus: Corpus, domain: int, found: Rated, trains_A: np.ndarray) -> baseline.BiasedMF:
    """The matrix factorization of all ratings of a domain that may be trained on."""
    return baseline.fit(
        found.users_A[trains_A], found.items_A[trains_A], found.ratings_A[trains_A], _num_items(corpus, domain)
    )


def _num_items(corpus: Corpus, domain: int) -> int:
    return len(corpus.domains[domain].item_ids)
