"""The benchmark of title-only twins: its document, on an untrained bundle."""

import json

from benchmarks import twins
from tests.inference.untrained import run_and_bundle


def test_document(tmp_path, capsys, monkeypatch):
    _, bundle = run_and_bundle(tmp_path, "text")
    monkeypatch.chdir(tmp_path)  # of the cache
    twins.main([str(bundle), "--users", "5", "--json"])
    document = json.loads(capsys.readouterr().out)
    value = {row["work"]: row["value"] for row in document["rows"]}
    assert (value["users"], value["items"]) == (5, 450)
    assert 1 <= value["rank of the twin, median"] <= 451
    assert 0 <= value["twin among the first 20"] <= 100
    assert -1 <= value["cosine of item and twin, mean"] <= 1
