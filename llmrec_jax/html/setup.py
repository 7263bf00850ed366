"""Sections on the setup of a run: data and leaks, configuration, hardware and versions."""

import dataclasses
import json
from typing import Any

from llmrec_jax.config import Config, flatten
from llmrec_jax.html.elements import Html, details, join, note, spaced, table, tag
from llmrec_jax.html.files import Missing, Run

LEAKS = {
    "target_users_in_source": "users of the target that are in this source",
    "target_items_with_id_in_source": "items of the target whose id is in this source",
    "target_items_with_text_in_source": "items of the target whose text is in this source",
    "source_events_after_target_test_cut": "training events of this source after the test events of the target begin",
}


def data(run: Run) -> Html:
    """The domains: counts, order, split, notes."""
    domains = run.report.get("data", {}).get("domains")
    if not domains:
        raise Missing("report.json has no facts of the data")
    columns = ["domain", "order", "split", "users", "trained on", "items", "interactions"]
    cells = [
        [name, f"{facts['order']} ({facts['order_reason']})", facts["split"],
         *(f"{facts[field]:,}" for field in ("users", "trained_users", "items", "interactions"))]
        for name, facts in domains.items()
    ]  # fmt: skip
    found = [table(columns, cells, words=3)]
    for name, facts in domains.items():
        skipped = [f"{count:,} {spaced(reason)}" for reason, count in facts.get("skipped", {}).items()]
        lines = [*facts["notes"], *([f"skipped: {', '.join(skipped)}"] if skipped else [])]
        if facts["repeats_dropped"]:
            lines.append(f"{facts['repeats_dropped']:,} repeated interactions dropped")
        found += [note(f"{name}: {line}") for line in lines]
    return join(found)


def leaks(run: Run) -> Html:
    """The leak report: users, items and texts of the target that are in the sources, and later events."""
    sources = run.report.get("data", {}).get("leaks")
    if sources is None:
        raise Missing("report.json has no leak report")
    if not sources:
        return tag("p", "The run has no source domains that could contain its test events.")
    cells = [
        [said, *(_count(facts.get(name)) for facts in sources.values())]
        for name, said in LEAKS.items()
    ]  # fmt: skip
    return join([table(["", *sources], cells),
                 note("Equal ids mean the same user or item only if both domains use the same ids. data.split=temporal "
                      "or a source that ends earlier, avoids later events of the source.")])  # fmt: skip


def configuration(run: Run) -> Html:
    """The fields that differ from their defaults, then all."""
    values, defaults = flatten(run.config), flatten(json.loads(json.dumps(dataclasses.asdict(Config()))))
    changed = {name: value for name, value in values.items() if name not in defaults or defaults[name] != value}
    cells = [[tag("code", name), shown(value), shown(defaults.get(name))] for name, value in changed.items()]
    others = [[tag("code", name), shown(value)] for name, value in values.items() if name not in changed]
    found = [table(["field", "value", "default"], cells, words=3)]
    found.append(details(f"The {len(others)} fields at their defaults", table(["field", "value"], others, words=2)))
    return join(found)


def environment(run: Run) -> Html:
    """Devices, versions and hashes."""
    versions = run.report.get("versions")
    if not versions:
        raise Missing("report.json has no versions")
    first = {"devices": versions.get("devices", "-"), **versions}
    hashes = run.report.get("hashes", {})
    found = [table(["hardware and software", "version"], first.items(), words=2)]
    if hashes:
        rows = [[name, tag("code", value)] for name, value in hashes.items()]
        found.append(table(["hash of", "SHA-256"], rows, words=2))
        found.append(note("Equal split hashes: the same test events. Equal run hashes: the same results."))
    return join(found)


def shown(value: Any) -> Html:
    """The value of a field of the configuration."""
    return tag("code", value if isinstance(value, str) else json.dumps(value))


def _count(value: int | None) -> Html:
    if value is None:
        return tag("span", "unknown: no times")
    return tag("span", f"{value:,}", class_="care" if value else "fine")
