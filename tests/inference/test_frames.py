"""A frame of events is recommended for as its users one by one are."""

import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from llmrec_jax import Recommender
from llmrec_jax.inference.histories import read_histories

COLUMNS = {
    "user_id": ["ann", "bob", "ann", "7", "ann"],
    "item_id": ["book-0001", "film-0003", "book-0002", "nowhere", "book-0003"],
    "rating": [1.0, None, 3.0, 4.0, 5.0],
    "timestamp": [30, 10, 20, 10, 30],
}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
FRAMES = [COLUMNS, ROWS, pd.DataFrame(COLUMNS), pl.DataFrame(COLUMNS), pa.table(COLUMNS)]


@pytest.mark.parametrize("events", FRAMES, ids=lambda frame: type(frame).__module__)
def test_a_frame_gives_what_its_users_give(text_run, events):
    r = Recommender.load(text_run[1])
    found = r.recommend_frame(events, k=4, explain=True)
    assert list(found) == ["ann", "bob", "7"]
    assert found["ann"].ids == r.recommend(["book-0002", "book-0001", "book-0003"], k=4).ids
    assert found["bob"].ids == r.recommend(["film-0003"], k=4).ids
    assert found["bob"].parts is not None
    assert (found["7"].unknown, found["7"].fallback) == (["nowhere"], True)


class Streamed:
    """Has the Arrow C stream and nothing else."""

    def __init__(self, table):
        self.__arrow_c_stream__ = table.__arrow_c_stream__


def test_without_times_the_rows_are_in_order(text_run):
    r = Recommender.load(text_run[1])
    events = Streamed(pa.table(COLUMNS).drop_columns("timestamp"))
    assert r.recommend_frame(events, k=4)["ann"].ids == r.recommend(["book-0001", "book-0002", "book-0003"], k=4).ids
    assert r.recommend_frame({"user_id": [], "item_id": []}) == {}


def test_times_of_several_kinds():
    days = [datetime.date(2024, 5, 2), datetime.date(2024, 5, 1)]
    for times in (days, list(map(str, days)), pd.to_datetime(pd.Series(days)), [1714608000.0, 1714521600000 / 1000]):
        ids, seconds = read_histories({"user_id": [1.0, 1.0], "item_id": [5, 6], "timestamp": times})
        assert (ids, seconds) == ({"1": ["6", "5"]}, [[1714521600, 1714608000]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user": COLUMNS["user_id"]}, r"events: no column 'user_id'; .*rename 'user'"),
        ({"item_id": ["a", None, "b", "c", "d"]}, "events, row 1: item_id is empty"),
        ({"user_id": ["a", "b", "c", float("nan"), "d"]}, "events, row 3: user_id is empty"),
        ({"timestamp": [1, 2, None, 3, 4]}, "events, row 2: timestamp is empty; drop the row"),
        ({"timestamp": [1, 2, 3, "soon", 4]}, "events, row 3: timestamp is neither a number nor"),
        (
            {"timestamp": [1, 2, 3, 1714521600000, 4]},
            "events, row 3: timestamp is in milliseconds, but most are in",
        ),
    ],
)
def test_what_is_wrong_has_its_row(changed, message):
    events = {name: values for name, values in COLUMNS.items() if "user" not in changed or name != "user_id"}
    with pytest.raises(ValueError, match=message):
        read_histories(events | changed)
