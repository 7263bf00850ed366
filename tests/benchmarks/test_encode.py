"""The encoding benchmark: the format of its output, and that its numbers are consistent."""

import json

import pytest

from benchmarks import encode


def test_document(capsys, shared_data):
    sizes = ["--layers", "1", "--width", "8", "--heads", "2", "--max-tokens", "12"]
    encode.main([str(shared_data / "gift_cards"), *sizes, "--repeats", "2", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["versions"]["jax"]
    assert all(set(row) == {"work", "value", "unit"} for row in document["rows"])
    value = {row["work"]: row["value"] for row in document["rows"]}
    assert value["items"] == pytest.approx(148 / value["catalogue, p50"])
    assert 3 < value["real tokens"] / value["items"] <= 12
    assert 0 <= value["padding among encoded tokens"] < 0.5
    assert value["programs compiled"] in (1, 2)
    assert value["catalogue, p90"] >= value["catalogue, p50"] > 0
