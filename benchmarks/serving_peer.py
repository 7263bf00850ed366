"""A plain recommender with NumPy and FastAPI, for comparison: the mean of the history's vectors, one product, top k.

    python benchmarks/serving_peer.py VECTORS.npy PORT

Runs in an environment of its own, which needs fastapi, uvicorn and numpy. It compares text vectors alone: no counts, no
trained model, no filters.
"""

import sys

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    """The request."""

    history: list[str]
    k: int = 10


def make_app(vectors_IF: np.ndarray) -> FastAPI:
    """The app over these vectors; the id of item n is item-n."""
    app = FastAPI()

    @app.post("/v1/recommend")
    def recommend(request: Request) -> dict[str, list[dict[str, str | float]]]:
        history = [int(item_id.removeprefix("item-")) for item_id in request.history]
        scores_I = vectors_IF @ vectors_IF[history].mean(axis=0)
        scores_I[history] = -np.inf
        top = np.argpartition(-scores_I, request.k)[: request.k]
        best = top[np.argsort(-scores_I[top])]
        return {"items": [{"item_id": f"item-{n}", "score": float(scores_I[n])} for n in best]}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(np.load(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False)
