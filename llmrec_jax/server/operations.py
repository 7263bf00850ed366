"""What each route does. A docstring is the summary in /openapi.json; types of arguments and results are its schemas.

`routes` decodes the request into `asked` before and encodes the result after. A function that is not `async` runs in a
thread. A `UserError` becomes status 422.
"""

import numpy as np

from llmrec_jax.inference.recommender import Recommender
from llmrec_jax.inference.results import NOT_CALIBRATED
from llmrec_jax.server import requests, responses
from llmrec_jax.server.context import Context
from llmrec_jax.server.errors import ApiError
from llmrec_jax.server.recommending import Job, conditions, shelf
from llmrec_jax.version import __version__


async def recommend(server: Context, asked: requests.Recommend) -> responses.Shelf:
    """Recommend items for a history."""
    served = server.bundles.get(asked.bundle)
    if asked.probabilities:
        _check_probabilities(served.recommender, asked)
    return await server.batcher.submit(Job(served, asked))


def search(server: Context, asked: requests.Search) -> responses.Shelf:
    """Search the catalogue by free text."""
    recommender = server.bundles.get(asked.bundle).recommender
    return shelf(recommender, recommender.search(asked.query, asked.k, where=conditions(asked.where)))


def similar(server: Context, asked: requests.Similar, item_id: str) -> responses.Shelf:
    """Items that are similar by text, by what is bought together, or by the trained model."""
    recommender = server.bundles.get(asked.bundle).recommender
    _check_known(recommender, item_id)
    return shelf(recommender, recommender.similar(item_id, asked.k, by=asked.by))


def explain(server: Context, asked: requests.Explain) -> responses.Explained:
    """Explain the score of an item for a history: parts of the answer, items of the history, words of its text."""
    recommender = server.bundles.get(asked.bundle).recommender
    _check_known(recommender, asked.item_id)
    unknown = set(recommender.unknown(asked.history))
    found = recommender.explain([item_id for item_id in asked.history if item_id not in unknown], asked.item_id)
    history = [responses.Share(item_id, recommender.item(item_id).title, share) for item_id, share in found.history]
    return responses.Explained(found.parts, history, [responses.Word(word, share) for word, share in found.words])


def list_items(server: Context, asked: requests.Listing) -> responses.Catalogue:
    """List the catalogue, or the items whose title contains a text."""
    items = server.bundles.get(asked.bundle).recommender.items
    if asked.query:
        text = asked.query.casefold()
        items = [item for item in items if text in item.title.casefold()]
    page = [
        responses.Listed(item.item_id, item.title, item.category, item.brand, item.is_new, dict(item.attributes))
        for item in items[asked.offset : asked.offset + asked.limit]
    ]
    return responses.Catalogue(page, len(items), asked.offset, asked.limit)


def add_items(server: Context, asked: requests.AddItems) -> responses.Changed:
    """Add items by their text, without training. They can be recommended at once, and are lost at a restart."""
    served = server.bundles.get(asked.bundle)
    served.add(asked.items)
    return responses.Changed(len(asked.items), len(served.recommender.items))


def remove_items(server: Context, asked: requests.RemoveItems) -> responses.Changed:
    """Remove items from the catalogue; they come back at a restart if the bundle has them."""
    served = server.bundles.get(asked.bundle)
    served.remove(asked.item_ids)
    return responses.Changed(len(asked.item_ids), len(served.recommender.items))


def catalogue_map(server: Context, asked: requests.OfBundle) -> responses.CatalogueMap:
    """All items in two dimensions: principal components of their vectors."""
    recommender = server.bundles.get(asked.bundle).recommender
    while True:
        items, xy_I2 = recommender.items, recommender.map()
        if items is recommender.items:  # else another request changed the catalogue between the two
            break
    return responses.CatalogueMap(
        [item.item_id for item in items],
        [item.title for item in items],
        np.round(xy_I2.astype(np.float64), 4).tolist(),
        [item.category for item in items],
    )


def embed(server: Context, asked: requests.Embed) -> responses.Embeddings:
    """Embed texts as item vectors; compatible with OpenAI's embeddings."""
    served = server.bundles.get(asked.model, "model")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    vectors_QD = served.recommender.encode(texts)
    data = [responses.Embedding("embedding", n, vector_D.tolist()) for n, vector_D in enumerate(vectors_QD)]
    return responses.Embeddings("list", data, served.name, responses.Usage())


def info(server: Context) -> responses.Info:
    """Bundles that are served."""
    found = {}
    for name, served in server.bundles.by_name.items():
        recommender, facts = served.recommender, served.facts
        sizes = recommender.target, list(recommender.shops), len(recommender.items)
        calibrated = recommender.has_probabilities
        found[name] = responses.BundleInfo(*sizes, facts.regime, facts.verdict, facts.weights, calibrated)
    return responses.Info(found, server.bundles.default, __version__)


async def healthz(server: Context) -> responses.Health:
    """Whether the process answers."""
    return responses.Health("ok")


async def readyz(server: Context) -> responses.Health:
    """Whether requests are accepted: 200, or 503 before the start and during the shutdown."""
    if not server.is_ready:
        raise ApiError(503, "starting or stopping", headers={"Retry-After": "1"})
    return responses.Health("ok")


def _check_probabilities(recommender: Recommender, asked: requests.Recommend) -> None:
    reason = None
    if not recommender.has_probabilities:
        reason = NOT_CALIBRATED
    elif asked.disliked or asked.shop not in (None, recommender.target):
        reason = f"they are calibrated for {recommender.target!r} without disliked items; leave out disliked and shop"
    if reason is not None:
        raise ApiError(422, f"probabilities: {reason}", "probabilities")


def _check_known(recommender: Recommender, item_id: str) -> None:
    if recommender.unknown([item_id]):
        raise ApiError(404, f"item_id: there is no item {item_id!r}", "item_id")
