"""The evaluation benchmark: small runs, and the format of its output."""

import json

import numpy as np

from benchmarks import evaluation


def rows_of(capsys):
    document = json.loads(capsys.readouterr().out)
    assert document["versions"]["jax"]
    assert all(set(row) == {"work", "value", "unit"} and np.isfinite(row["value"]) for row in document["rows"])
    return {row["work"]: row["value"] for row in document["rows"]}


def test_evaluation_prints_its_document(capsys):
    evaluation.main(["--items", "600", "--users", "30", "--width", "4", "--repeats", "1", "--json"])
    rows = rows_of(capsys)
    assert rows["evaluation, p50"] > 0
    assert rows["table of item vectors"] == 600 * 4 * 4 / 2**20
    assert rows["peak memory of the process"] > 50


def test_real_histories_end_before_the_target(shared_data):
    work = evaluation.domain_work(shared_data / "gift_cards", width=4)
    assert (len(work.users_ND), len(work.items_ID)) == (458, 148)
    assert sum(len(items) for items in work.seen) + len(work.target_N) == 2965
    assert evaluation.run_rank(*work)["recall@50"] > 0.2  # by chance: 50 of 148
