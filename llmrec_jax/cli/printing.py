"""How verbs take folders and print facts: for people, or as one JSON object."""

import json as json_lib
from pathlib import Path
from typing import Any

import tyro

Folder = tyro.conf.Positional[Path]


def print_facts(json: bool, facts: dict[str, Any], text: str) -> None:
    """Print the facts as one JSON object, or the text."""
    print(json_lib.dumps(facts, allow_nan=False) if json else text)


def listed(counts: dict[str, int]) -> str:
    """`{"users": 3}` as "3 users"."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
