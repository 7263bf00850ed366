"""A stand-in for the server that the page talks to: bag-of-words scores over the built-in shops, no model."""

import functools
import json
import time
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import llmrec_jax
from llmrec_jax.data.domains import demo

STATIC = Path(llmrec_jax.__file__).parent / "server" / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PARTS = {"text": 0.5, "co_purchase": 1.0, "popularity": 0.2, "model": 1.5}
VERDICT = "books: the answer is level with the best baseline, ease: the interval of the difference holds 0"
WIDTH = 256


@functools.cache
def vector(text: str) -> np.ndarray:
    """Counts of the words of a text, hashed."""
    counts = np.zeros(WIDTH)
    for word in text.lower().replace(".", " ").replace(",", " ").split():
        if len(word) > 3:
            counts[sum(ord(letter) * (place + 1) for place, letter in enumerate(word)) % WIDTH] += 1
    return counts / (np.linalg.norm(counts) or 1)


@functools.cache
def lines(name: str) -> list[bytes]:
    """Those of a built-in shop's catalogue."""
    return demo.generate(name)["items.jsonl"].splitlines()


class FakeShop:
    """Answers of the shape of the real server's; `hostile` titles stand first in the catalogue."""

    def __init__(self, hostile: tuple[str, ...] = (), points: int = 0):
        self.points, self.requests = points, list[tuple[str, dict]]()
        self.shops = {name: self._read(name) for name in ("books", "films")}
        for number, title in enumerate(hostile):
            item = {"item_id": f'"/../<i>{number}', "title": title, "category": title, "brand": title}
            self.shops["books"].insert(number, item)

    @staticmethod
    def _read(name: str) -> list[dict]:
        return [json.loads(line) for line in lines(name)]

    def found(self, shop: str, wanted: np.ndarray, k: int, without: set[str], explain: bool = False) -> list[dict]:
        rows = []
        for rank, item in enumerate(self.shops[shop]):
            if item["item_id"] not in without:
                text = float(vector(" ".join(str(value) for value in item.values())) @ wanted)
                parts = {"text": text / 2, "co_purchase": text**2, "popularity": 0.1 / (1 + rank), "model": text - 0.1}
                row = {key: item.get(key) for key in ("item_id", "title", "category", "brand")}
                row |= {"score": sum(parts.values()), "is_new": item.get("is_new", False)}
                row["attributes"] = {"price": item["price"]} if "price" in item else {}
                rows.append(row | ({"parts": parts} if explain else {}))
        return sorted(rows, key=lambda row: -row["score"])[:k]

    def by_id(self) -> dict[str, dict]:
        return {item["item_id"]: item for shop in ("films", "books") for item in self.shops[shop]}

    def taste(self, ids: list[str]) -> np.ndarray:
        known = self.by_id()
        texts = [" ".join(str(value) for value in known[item_id].values()) for item_id in ids if item_id in known]
        return np.sum([vector(text) for text in texts], axis=0) if texts else np.zeros(WIDTH)


def app(shop: FakeShop, key: str | None = None) -> Starlette:
    """The routes that the page uses."""

    async def body(request: Request) -> dict:
        given = json.loads(await request.body())
        shop.requests.append((request.url.path, given))
        return given

    def shelf(items: list[dict], unknown: list[str], fallback: bool, started: float) -> JSONResponse:
        milliseconds = 1000 * (time.perf_counter() - started)
        return JSONResponse({"items": items, "unknown": unknown, "fallback": fallback, "milliseconds": milliseconds})

    async def recommend(request: Request) -> JSONResponse:
        started, given = time.perf_counter(), await body(request)
        history, disliked, known = given["history"], given.get("disliked", []), shop.by_id()
        wanted = shop.taste(history) - 0.5 * shop.taste(disliked)
        found = shop.found(
            given.get("shop") or "books", wanted, given.get("k", 10), {*history, *disliked}, given.get("explain", False)
        )
        unknown = [item_id for item_id in history if item_id not in known]
        return shelf(found, unknown, len(unknown) == len(history), started)

    async def search(request: Request) -> JSONResponse:
        started, given = time.perf_counter(), await body(request)
        return shelf(shop.found("books", vector(given["query"]), given["k"], set()), [], False, started)

    async def similar(request: Request) -> JSONResponse:
        started, item_id = time.perf_counter(), request.path_params["item_id"]
        shop.requests.append((request.url.path, dict(request.query_params)))
        if item_id not in {item["item_id"] for item in shop.shops["books"]}:
            return failure(404, f"no item {item_id!r}")
        k = int(request.query_params["k"])
        return shelf(shop.found("books", shop.taste([item_id]), k, {item_id}), [], False, started)

    async def explain(request: Request) -> JSONResponse:
        given, known = await body(request), shop.by_id()
        item = known[given["item_id"]]
        own = [
            {"item_id": i, "title": known[i]["title"], "share": float(shop.taste([i]) @ shop.taste([item["item_id"]]))}
            for i in given["history"]
        ]
        words = [{"word": word, "share": 0.3 / (1 + n)} for n, word in enumerate(item["title"].split())]
        parts = {"text": 0.4, "co_purchase": 0.3, "popularity": -0.05, "model": 0.6}
        return JSONResponse({"parts": parts, "history": own, "words": words})

    async def items(request: Request) -> JSONResponse:
        if request.method == "GET":
            query, offset, limit = (request.query_params.get(name) for name in ("query", "offset", "limit"))
            listed = [item for item in shop.shops["books"] if (query or "").lower() in item["title"].lower()]
            start = int(offset or 0)
            return JSONResponse({"items": listed[start : start + int(limit or 50)], "total": len(listed)})
        given = await body(request)
        if request.method == "POST":
            shop.shops["books"] += [item | {"is_new": True} for item in given["items"]]
        else:
            gone = set(given["item_ids"])
            shop.shops["books"] = [item for item in shop.shops["books"] if item["item_id"] not in gone]
        return JSONResponse({"changed": 1, "items": len(shop.shops["books"])})

    async def catalogue_map(request: Request) -> JSONResponse:
        listed = shop.shops["books"]
        rng = np.random.default_rng(0)
        plane = rng.normal(size=(WIDTH, 2))
        xy = np.array([vector(item["title"] + " " + (item.get("description") or "")) @ plane for item in listed])
        ids, titles = [item["item_id"] for item in listed], [item["title"] for item in listed]
        more = max(0, shop.points - len(listed))
        xy = np.concatenate([xy, rng.normal(size=(more, 2)) * xy.std(axis=0)])
        ids += [f"more-{n}" for n in range(more)]
        titles += [f"More {n}" for n in range(more)]
        return JSONResponse({"item_ids": ids, "titles": titles, "xy": xy.tolist(), "category": [None] * len(ids)})

    async def info(request: Request) -> JSONResponse:
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            return failure(401, "wrong key; send it as 'Authorization: Bearer KEY'")
        books = {
            "target": "books", "shops": ["films", "books"], "items": len(shop.shops["books"]), "regime": "transductive",
            "verdict": VERDICT, "parts": PARTS,
        }  # fmt: skip
        return JSONResponse({"bundles": {"demo": books}, "default": "demo", "version": "0"})

    async def page(request: Request) -> FileResponse:
        return FileResponse(STATIC / "index.html")

    def failure(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": {"message": message, "field": None}}, status)

    routes = [
        Route("/v1/recommend", recommend, methods=["POST"]),
        Route("/v1/search", search, methods=["POST"]),
        Route("/v1/similar/{item_id:path}", similar),
        Route("/v1/explain", explain, methods=["POST"]),
        Route("/v1/items", items, methods=["GET", "POST", "DELETE"]),
        Route("/v1/map", catalogue_map),
        Route("/v1/info", info),
        Route("/", page),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    served = Starlette(routes=routes)

    async def with_policy(scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await served(scope, receive, send_with_policy)

    return with_policy
