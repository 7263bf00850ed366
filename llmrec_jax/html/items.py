"""Sections on the items: a map of their vectors, and example histories with their recommendations.

Shape letters: those of `types`; N items of a group.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmrec_jax.evaluate.adaptation_facts import principal
from llmrec_jax.html.charts import COLOURS, legend, points
from llmrec_jax.html.elements import Html, join, note, percent, spaced, tag, title
from llmrec_jax.html.files import Missing, Run

MOST_POINTS = 1000  # of a domain
OPEN = 2  # users whose shelves are open
EVENTS = {"none": (0, 1), "1 to 4": (1, 5), "5 to 19": (5, 20), "20 or more": (20, np.inf)}  # training events


def maps(run: Run) -> Html:
    """The items of all domains on the first two principal components of the model's vectors."""
    items, (vectors_ID, events_I) = run.items, run.item_arrays
    if len(items) != len(vectors_ID) or not len(items):
        raise Missing("the bundle's items and vectors do not fit together")
    domain_I = np.array([item.get("domain", "") for item in items])
    names = list(dict.fromkeys(domain_I.tolist()))  # the target is the last
    width = run.config.get("model", {}).get("width", vectors_ID.shape[1])  # without the column of the item bias
    drawn = {name: _sample(np.flatnonzero(domain_I == name)) for name in names}
    others = np.concatenate([np.zeros(0, int), *(drawn[name] for name in names[:-1])])
    target = drawn[names[-1]]
    if len(target) < 3:
        raise Missing("the target has fewer than three items")
    others_N2, target_N2, share = principal(vectors_ID[others, :width], vectors_ID[target, :width])
    place_2 = np.concatenate([others_N2, target_N2])
    groups, start = [], 0
    for number, name in enumerate(names):
        groups.append((name, place_2[start : start + len(drawn[name])], f"c{number % COLOURS}"))
        start += len(drawn[name])
    charts = []
    if len(names) > 1:
        colours = [(f"{name}{' (target)' if name == names[-1] else ''}", colour) for name, _, colour in groups]
        charts.append(tag("div", points("Items by domain", groups), legend(colours)))
    by_events = [(label, target_N2[(events_I[target] >= low) & (events_I[target] < high)], f"o{number}")
                 for number, (label, (low, high)) in enumerate(EVENTS.items())]  # fmt: skip
    by_events = [group for group in by_events if len(group[1])]
    chart = points(f"Items of {names[-1]} by training events", by_events)
    charts.append(tag("div", chart, legend([(label, colour) for label, _, colour in by_events])))
    found = [tag("div", *charts, class_="charts")]
    variance = f"{percent(share[0])} and {percent(share[1])} of the variance"
    found.append(note(f"The first two principal components of the model's item vectors, {variance}; at most "
                      f"{MOST_POINTS:,} items of a domain, drawn at random."))  # fmt: skip
    distance = (run.report.get("adaptation") or {}).get("a_distance_items")
    if distance:
        said = f"{distance['start']:.2f} at the start, {distance['end']:.2f} at the end"
        found.append(note(f"A-distance of the items of sources and target (0: alike, 2: fully separable): {said}."))
    return join(found)


def people(run: Run) -> Html:
    """Ten users: what they bought, what came next, and the answer's best items."""
    users = run.shelves["users"]
    if not users:
        raise Missing("the run has no test users")
    parts = list(dict.fromkeys(name for user in users for item in user["shelf"] for name in item["parts"]))
    colours = {name: f"c{number % COLOURS}" for number, name in enumerate(parts)}
    best = max((_positive(item) for user in users for item in user["shelf"]), default=0.0) or 1.0
    found = [_person(number, user, colours, best) for number, user in enumerate(users, 1)]
    hits = sum(user["next"]["place"] <= len(user["shelf"]) for user in users)
    said = (f"{len(users)} test users, drawn at random. For {hits} of them, the item chosen next is in the list. "
            "The bar under an item shows the positive parts of its score.")  # fmt: skip
    return join([note(said), legend([(spaced(name), colours[name]) for name in parts]), *found])


def _person(number: int, user: Mapping[str, Any], colours: Mapping[str, str], best: float) -> Html:
    wanted, shown = user["next"], len(user["history"])
    history = [tag("li", title(item["title"]), _new(item)) for item in user["history"]]
    length = f"{shown} items" if shown == user["length"] else f"the last {shown} of {user['length']} items"
    place = f"rank {wanted['place']:,}{'' if wanted['place'] <= len(user['shelf']) else ', not in the list'}"
    left = tag(
        "div",
        tag("h4", f"History, oldest first: {length}"),
        tag("ol", *history, class_="plain"),
        tag("h4", f"Chosen next: {place}"),
        tag("ol", tag("li", title(wanted["title"]), _new(wanted)), class_="plain"),
    )
    shelf = [_recommended(item, item["item_id"] == wanted["item_id"], colours, best) for item in user["shelf"]]
    right = tag("div", tag("h4", "Recommended"), tag("ol", *shelf))
    summary = tag("summary", f"User {number}", tag("small", f"{length}; chosen next: {place}"))
    is_open = "" if number <= OPEN else None
    return tag("details", summary, tag("div", left, right, class_="people"), class_="person", open=is_open)


def _recommended(item: Mapping[str, Any], is_hit: bool, colours: Mapping[str, str], best: float) -> Html:
    marked = tag("span", "chosen next", class_="tagged") if is_hit else None
    bars = (
        tag("i", class_=colours[name], style=f"width:{100 * value / best:.1f}%")
        for name, value in item["parts"].items()
        if value > 0
    )
    bar = tag("span", *bars, class_="parts", aria_hidden="true")
    return tag("li", title(item["title"]), marked, _new(item), bar, class_="hit" if is_hit else None)


def _new(item: Mapping[str, Any]) -> Html | None:
    return None if item["events"] else tag("span", "no training events", class_="tagged new")


def _positive(item: Mapping[str, Any]) -> float:
    return sum(value for value in item["parts"].values() if value > 0)


def _sample(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(numbers)[:MOST_POINTS])
