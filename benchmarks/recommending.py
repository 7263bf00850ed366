"""Speed and quality of a `Recommender`: `python benchmarks/recommending.py BUNDLE [--domain FOLDER] [--json]`.

added      items of the catalogue added again under new ids, with a fresh recommender: seconds and items per second
answered   histories of five items: one call each, and in batches of 16
indexed    with the extra `index`: the share of the exact top 10 that is in the approximate one, and its speed
searched   with --domain, which holds the whole descriptions: the query is characters 200 to 300 of an item's
           description, which no text of the bundle contains; the rank of the item by the text part (what `search`
           uses), by its vectors or TF-IDF of the whole text alone, by TF-IDF of title and brand alone, and by the
           trained model
"""

import argparse
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import msgspec
import numpy as np
import scipy.sparse

from benchmarks.report import show
from llmrec_jax import Recommender
from llmrec_jax.baselines.channel import Matrix
from llmrec_jax.baselines.readers import Fitted
from llmrec_jax.data.domains.folders import ITEMS, decompressed, find
from llmrec_jax.data.domains.records import DESCRIPTION_CHARS, Item, plain
from llmrec_jax.inference.search import channel_scores

QUERY = 100  # characters
MOST_QUERIES = 300
Row = dict[str, Any]


def added(folder: Path, count: int) -> Iterator[Row]:
    """Add `count` items in one call, the encoder not loaded before."""
    recommender = Recommender.load(folder)
    items = [recommender.items[n % len(recommender.items)].as_record() for n in range(count)]
    records = [msgspec.structs.asdict(item) | {"item_id": f"again-{n}"} for n, item in enumerate(items)]
    for record in records:
        del record["attributes"]
    start = time.perf_counter()
    recommender.add_items(records)
    seconds = time.perf_counter() - start
    yield {"work": f"add {count:,} items", "value": seconds, "unit": "s"}
    yield {"work": f"add {count:,} items", "value": count / seconds, "unit": "items/s"}


def answered(recommender: Recommender, histories: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Times of calls, compilation left out."""
    recommender.recommend(histories[0]), recommender.recommend_many(histories[:16])
    one = [_seconds(functools.partial(recommender.recommend, history)) for history in histories]
    yield {"work": "recommend, p50", "value": 1000 * float(np.median(one)), "unit": "ms"}
    yield {"work": "recommend, p99", "value": 1000 * float(np.percentile(one, 99)), "unit": "ms"}
    batches = [histories[n : n + 16] for n in range(0, len(histories), 16)]
    many = [_seconds(functools.partial(recommender.recommend_many, batch)) for batch in batches]
    yield {"work": "recommend_many of 16, a history, p50", "value": 1000 * float(np.median(many)) / 16, "unit": "ms"}


def indexed(recommender: Recommender, histories: Sequence[Sequence[str]]) -> Iterator[Row]:
    """The approximate index against the exact list."""
    expected = recommender.recommend_many(histories)
    seconds = _seconds(recommender.build_index)
    found = recommender.recommend_many(histories)
    shares = [len(set(one.ids) & set(other.ids)) / len(other) for one, other in zip(found, expected, strict=True)]
    times = [_seconds(functools.partial(recommender.recommend, history)) for history in histories]
    yield {"work": "build the index", "value": seconds, "unit": "s"}
    yield {"work": "recall of the exact top 10 by the index", "value": float(np.mean(shares)), "unit": "share"}
    yield {"work": "recommend by the index, p50", "value": 1000 * float(np.median(times)), "unit": "ms"}


def enlarged(recommender: Recommender, times: int) -> None:
    """Make the catalogue larger: copies of its items with the same terms, and with noise on their dense vectors."""
    catalog, rng = recommender._catalog, np.random.default_rng(0)
    rows = np.arange((times - 1) * len(catalog.target_J)) % len(catalog.target_J)
    items = [catalog.items[catalog.target_J[row]] for row in rows]
    copies = [msgspec.structs.replace(item, item_id=f"{item.item_id}-{n}") for n, item in enumerate(items)]

    def noisy(table: np.ndarray) -> np.ndarray:
        found = table + np.abs(table).mean() * rng.standard_normal(table.shape, np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True) if table.shape[1] > 1 else table

    @functools.cache
    def extended(number: int) -> Matrix:
        table = tables[number]
        if isinstance(table, np.ndarray):
            return np.concatenate([table, noisy(table[rows])])
        return scipy.sparse.vstack([table, table[rows]], "csr")

    tables: dict[int, Matrix] = {
        id(table): table
        for part in catalog.channels.values()
        for channel, _ in part
        for table in (channel.as_history_IV, channel.as_item_IV)
    }

    def grown(fitted: Fitted) -> Fitted:
        channel = fitted.channel
        if channel.as_item_IV is None:
            nothing = np.zeros((len(rows), 0), np.float32)
            return fitted._replace(channel=channel.with_items(nothing, nothing))
        both = extended(id(channel.as_history_IV)), extended(id(channel.as_item_IV))
        return fitted._replace(channel=dataclasses.replace(channel, as_history_IV=both[0], as_item_IV=both[1]))

    channels = {name: [grown(fitted) for fitted in part] for name, part in catalog.channels.items()}
    recommender._catalog = catalog.with_items(copies, noisy(catalog.vectors_ID[catalog.target_J][rows]), channels)


def searched(recommender: Recommender, domain: Path) -> Iterator[Row]:
    """The quality of searches for what an item's indexed text leaves out."""
    queries, wanted = _queries(recommender, domain)
    parts = _text_channels(recommender)
    ways: dict[str, Callable[[str], np.ndarray]] = {
        "text part": lambda query: np.sum([scores(query) for scores in parts.values()], axis=0),
        **{f"{name} alone": scores for name, scores in parts.items()},
    }
    if recommender._network.reads_text:
        vectors_JD = recommender._catalog.vectors_ID[recommender._catalog.target_J]
        ways["trained model"] = lambda query: vectors_JD @ recommender._network.item_vectors([query])[0]
    for name, scores in ways.items():
        ranks = []
        for query, position in zip(queries, wanted, strict=True):
            scores_J = scores(query)
            ranks.append(1 + np.sum(scores_J > scores_J[position]) + (np.sum(scores_J == scores_J[position]) - 1) / 2)
        rank_N = np.array(ranks)
        for work, value in (("recall@10", (rank_N <= 10).mean()), ("MRR", (1 / rank_N).mean())):
            yield {"work": f"search by {name}, {work}, {len(queries)} queries", "value": float(value), "unit": "share"}


def _text_channels(recommender: Recommender) -> dict[str, Callable[[str], np.ndarray]]:
    """Scores of a query by each channel that `search` sums."""

    def of(fitted: Any) -> Callable[[str], np.ndarray]:
        return lambda query: channel_scores(
            fitted, Item("", query), lambda: recommender._network.text_features([query])
        )

    return {fitted.channel.name: of(fitted) for fitted in recommender._catalog.query_channels}


def _queries(recommender: Recommender, domain: Path) -> tuple[list[str], list[int]]:
    """Held-out parts of descriptions, and the positions of their items among the target's."""
    with decompressed(find(domain, ITEMS)) as file:
        rows = [msgspec.json.decode(line) for line in file if line.strip()]
    position = {item.item_id: n for n, item in enumerate(recommender.items)}
    found = []
    for row in rows:
        description = row.get("description") or ""
        text = plain(" ".join(description) if isinstance(description, list) else str(description))
        query = text[DESCRIPTION_CHARS : DESCRIPTION_CHARS + QUERY].strip()
        if len(query) > QUERY // 2 and str(row["item_id"]) in position:
            found.append((query, position[str(row["item_id"])]))
    rng = np.random.default_rng(0)
    chosen = [found[n] for n in rng.permutation(len(found))[:MOST_QUERIES]]
    return [query for query, _ in chosen], [place for _, place in chosen]


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--domain", type=Path, help="domain folder of the target, for the searches")
    parser.add_argument("--add", type=int, default=1000, help="items to add")
    parser.add_argument("--times", type=int, default=1, help="how often to copy the catalogue before answering")
    parser.add_argument("--index", action="store_true", help="also build the approximate index")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(arguments)
    rows = list(added(args.bundle, args.add))
    recommender = Recommender.load(args.bundle)
    rng = np.random.default_rng(0)
    ids = np.array([item.item_id for item in recommender.items])
    histories = [list(rng.choice(ids, 5, replace=False)) for _ in range(64)]
    if args.domain:
        rows += searched(recommender, args.domain)
    if args.times > 1:
        enlarged(recommender, args.times)
    rows += answered(recommender, histories)
    if args.index:
        rows += indexed(recommender, histories)
    show(rows, f"{args.bundle}, {len(ids):,} items, answered from {len(recommender.items):,}", as_json=args.json)


if __name__ == "__main__":
    main()
