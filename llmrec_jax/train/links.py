"""Link prediction by the trained model of a run, for the report."""

from typing import Any

import numpy as np

from llmrec_jax.data.corpus import Corpus
from llmrec_jax.evaluate.links import Embeddings, link_prediction
from llmrec_jax.losses.knowledge_graph import SCORES, heads
from llmrec_jax.models.knowledge_graph import SCALE
from llmrec_jax.parallel import to_host
from llmrec_jax.train.state import Params


def link_rows(corpus: Corpus, model: str, params: Params, items_ID: np.ndarray) -> list[dict[str, Any]]:
    """The rows of the report on the task `knowledge_graph`.

    Args:
      corpus: with the graph.
      model: `tasks.knowledge_graph`.
      params: of the model, global arrays.
      items_ID: its item vectors of the joint catalogue.
    """
    assert corpus.graph is not None
    embedded = to_host(params["heads"]["knowledge_graph"])
    relations, tails = (SCALE * np.asarray(embedded[name]["embedding"]) for name in ("relations", "tails"))
    biases = SCALE * np.asarray(embedded["biases"]["embedding"])[:, 0]
    embeddings = Embeddings(np.asarray(heads(items_ID, relations.shape[1])), relations, tails, biases)
    domains = [(domain.name, len(domain.item_ids)) for domain in corpus.domains]
    rows = link_prediction(corpus.graph, SCORES[model], embeddings, domains)
    return [{"task": "knowledge_graph", "split": "held-out triples", **row} for row in rows]
