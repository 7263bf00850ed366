"""Computes a batch of requests for recommendations: one call of `recommend_many` for those with the same options."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from llmrec_jax.inference.filters import Condition
from llmrec_jax.inference.recommender import Recommendations, Recommender
from llmrec_jax.server.bundles import Served
from llmrec_jax.server.requests import Range, Recommend, Where
from llmrec_jax.server.responses import Found, Shelf


class Job(NamedTuple):
    """A request and the bundle that it asks."""

    served: Served
    asked: Recommend


def compute(jobs: Sequence[Job]) -> list[Shelf | Exception]:
    """The answer of each job, or its exception."""
    groups: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for number, (served, asked) in enumerate(jobs):
        groups[id(served), _options(asked)].append(number)
    answers: list[Shelf | Exception] = [AssertionError("not computed")] * len(jobs)
    for numbers in groups.values():
        recommender = jobs[numbers[0]].served.recommender
        requests = [jobs[number].asked for number in numbers]
        found: Sequence[Shelf | Exception]
        try:
            found = _recommended(recommender, requests)
        except Exception as error:
            found = [error] if len(requests) == 1 else [_alone(recommender, asked) for asked in requests]
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
    return answers


def shelf(recommender: Recommender, found: Recommendations, probabilities: bool = False) -> Shelf:
    """A response from what a recommender found."""
    items = []
    for n, row in enumerate(found):
        item = recommender.item(row.item_id)
        parts = msgspec.UNSET if found.parts is None else found.parts[n]
        facts = item.category, item.brand, item.is_new, dict(item.attributes)
        one = Found(row.item_id, row.title, row.score, *facts, parts)
        if probabilities:
            one.probability = None if found.probabilities is None else found.probabilities[n]
        items.append(one)
    return Shelf(items, found.unknown, found.fallback, 0.0)


def conditions(where: Where) -> dict[str, Condition] | None:
    """`where` as `Recommender` takes it."""
    if not where:
        return None
    return {name: _range(value) if isinstance(value, Range) else value for name, value in where.items()}


def _range(value: Range) -> dict[str, float]:
    return {name: limit for name in ("min", "max") if (limit := getattr(value, name)) is not None}


def _recommended(recommender: Recommender, requests: Sequence[Recommend]) -> list[Shelf]:
    """Requests that differ in their histories and `k` only."""
    one, most = requests[0], max(asked.k for asked in requests)
    lists = recommender.recommend_many(
        [asked.history for asked in requests],
        most,
        disliked=one.disliked,
        where=conditions(one.where),
        among=one.among,
        seen=one.seen,
        diversity=one.diversity,
        new=one.new,
        explain=one.explain,
        shop=one.shop,
    )
    shelves = []
    for asked, found in zip(requests, lists, strict=True):
        answer = shelf(recommender, found, asked.probabilities)
        del answer.items[asked.k :]
        shelves.append(answer)
    return shelves


def _alone(recommender: Recommender, asked: Recommend) -> Shelf | Exception:
    try:
        return _recommended(recommender, [asked])[0]
    except Exception as error:
        return error


def _options(asked: Recommend) -> bytes:
    """Equal for requests that one call can answer. With these options a longer list may start in another way."""
    k = asked.k if asked.diversity or asked.new else 1
    return msgspec.json.encode(msgspec.structs.replace(asked, history=[], k=k))
