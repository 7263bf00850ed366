"""Initial id embeddings and item biases from co-purchase and popularity counts (`model.start=counts`)."""

import jax
import numpy as np
from flax import traverse_util

from llmrec_jax.baselines.start_vectors import co_purchase_vectors, popularity_biases
from llmrec_jax.cluster import array_of_first
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.train.state import TrainState

IDS, BIAS = ("item_tower", "ids", "embedding"), ("scoring", "bias")


def with_counts(state: TrainState, corpus: Corpus) -> TrainState:
    """`state` with id embeddings and biases counted in each domain, sharded the same way.

    Only events that are trained on are counted. The embeddings of different domains have nothing in common.
    """
    flat = traverse_util.flatten_dict(state.params)
    vectors, biases = [], []
    for domain, (split, users) in enumerate(zip(corpus.splits, corpus.plan.users, strict=True)):
        is_trained = np.zeros(len(split.train_end), bool)
        is_trained[users] = corpus.plan.rows[domain] > 0
        items_E, users_E = corpus.train_events(domain, is_trained)
        num_items = len(corpus.domains[domain].item_ids)
        width = flat[IDS].shape[1]
        vectors.append(co_purchase_vectors(items_E, users_E, num_items, width, is_ordered=split.is_ordered))
        biases.append(popularity_biases(items_E, num_items))
    for path, parts in ((IDS, vectors), (BIAS, biases)):
        if path in flat:
            flat[path] = jax.device_put(array_of_first(np.concatenate(parts)), flat[path].sharding)
    return state._replace(params=traverse_util.unflatten_dict(flat))
