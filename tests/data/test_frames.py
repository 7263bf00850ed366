"""Domains from frames: every kind of frame gives the same domain as the folder, and none of the libraries is needed."""

import datetime
import decimal
import subprocess
import sys

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import frames
from llmrec_jax.data.domains.domain import Domain, load_domain
from llmrec_jax.errors import UserError

ITEMS = {
    "item_id": ["a", "b", "c"],
    "title": ["One", "Two", "Drei, 3 €"],
    "price": [1.5, 2.0, None],
    "brand": ["X", None, "Y"],
}
EVENTS = {"timestamp": [30, 10, 20, 1_600_000_000], "user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "a", "c"],
          "rating": [1.0, 4.5, None, 2.0]}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    return DataConfig(cache_dir=str(tmp_path / "cache"))


def rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class OnlyStream:
    """A frame of which nothing is known but the Arrow C stream."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class OnlyInterchange:
    """A frame of which nothing is known but the dataframe interchange protocol."""

    def __init__(self, table):
        self.table = table

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self.table.__dataframe__(nan_as_null, allow_copy)


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def polars_frame(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def lazy_frame(columns):
    return polars_frame(columns).lazy()


def arrow_table(columns):
    return pytest.importorskip("pyarrow").table(columns)


KINDS = [rows, pandas_frame, polars_frame, lazy_frame, arrow_table, lambda columns: OnlyStream(arrow_table(columns)),
         lambda columns: OnlyInterchange(arrow_table(columns))]  # fmt: skip
NAMES = ["dicts", "pandas", "polars", "lazy", "Arrow", "stream", "interchange"]


@pytest.mark.parametrize("make", KINDS, ids=NAMES)
def test_every_kind_of_frame_gives_the_same_domain(config, make):
    domain, same = (
        Domain.from_frames(make(ITEMS), make(EVENTS), data=config),
        Domain.from_frames(ITEMS, EVENTS, data=config),
    )
    assert domain.hash == same.hash
    assert domain.texts == ["One. X", "Two", "Drei, 3 €. Y"]
    histories = {user: domain.history(n).tolist() for n, user in enumerate(domain.user_ids)}
    assert histories == {"u": [1, 0], "v": [0, 2]}
    assert domain.timestamps_E.tolist() == [10, 30, 20, 1_600_000_000]
    assert domain.name == "frames"


def test_the_hash_is_that_of_the_folder(config, tmp_path):
    (tmp_path / "shop").mkdir()
    frames.write(ITEMS, EVENTS, tmp_path / "shop")
    assert (tmp_path / "shop" / "interactions.csv").read_text().splitlines()[:2] == [
        "user_id,item_id,rating,timestamp",
        "u,a,1,30",
    ]
    assert '"price":2}' in (tmp_path / "shop" / "items.jsonl").read_text()
    folder = load_domain(str(tmp_path / "shop"), config)
    domain = Domain.from_frames(ITEMS, EVENTS, name="shop", data=config)
    assert (domain.hash, domain.name) == (folder.hash, "shop")
    pandas = pytest.importorskip("pandas")
    items = pandas.read_json(tmp_path / "shop" / "items.jsonl", lines=True)
    events = pandas.read_csv(tmp_path / "shop" / "interactions.csv")
    assert Domain.from_frames(items, events, data=config).hash == folder.hash


def test_times_and_ids_of_any_type(config):
    pandas = pytest.importorskip("pandas")
    time = datetime.datetime(2020, 5, 31, 10, 13, tzinfo=datetime.UTC)
    seconds = int(time.timestamp())
    written = [[seconds], [seconds * 1000], [float(seconds)], [time], [time.replace(tzinfo=None)], [time.isoformat()],
               pandas.Series([time]), pandas.Series([time]).dt.tz_convert(None)]  # fmt: skip
    for column in written:
        events = pandas.DataFrame({"user_id": [1.0], "item_id": [7], "timestamp": column})
        domain = Domain.from_frames(pandas.DataFrame({"item_id": [7.0], "title": ["T"]}), events, data=config)
        assert (domain.timestamps_E.tolist(), domain.user_ids, domain.item_ids) == ([seconds], ["1"], ["7"])
    events = [{"user_id": np.float32(1), "item_id": np.float32(7), "rating": np.float32("nan")}]
    items = [{"item_id": np.float32(7), "title": ["A", "B"], "price": decimal.Decimal("2.50")}]
    domain = Domain.from_frames(items, events, data=config)
    assert (domain.user_ids, domain.item_ids, domain.titles) == (["1"], ["7"], ["A, B"])
    assert domain.items[0].attributes == {"price": 2.5}


def test_a_frame_with_two_columns_of_a_name(config):
    events = pytest.importorskip("pandas").DataFrame([["u", "a", "b"]], columns=["user_id", "item_id", "item_id"])
    with pytest.raises(UserError, match="events: 'item_id' is the name of several columns"):
        Domain.from_frames(ITEMS, events, data=config)


@pytest.mark.parametrize(
    ("items", "events", "message"),
    [
        ({"id": ["a"], "titel": ["A"]}, EVENTS, "items: no column 'item_id'; it has id, titel"),
        (ITEMS, [], "events: no column 'user_id'; it has none"),
        (ITEMS, {"userid": ["u"], "item_id": ["a"]}, "events: no column 'user_id'.*rename 'userid'"),
        (ITEMS, {"user_id": ["u"], "item_id": ["a"], "timestamp": ["soon"]}, "events, row 0: timestamp is neither"),
        (ITEMS, {"user_id": ["u", None], "item_id": ["a", "b"]}, "events, row 1: user_id is empty"),
        (ITEMS, {"user_id": ["u"], "item_id": ["a", "b"]}, "the columns have different lengths"),
        (ITEMS, {"user_id": ["u"], "item_id": ["a"], "rating": ["good"]}, "events, row 0: could not convert"),
        (ITEMS, [1, 2], "events: a list must contain dicts only"),
        (3, EVENTS, "items: int is not a data frame"),
        ({"item_id": ["a"], "title": [None]}, EVENTS, "items, row 0: title is empty"),
        ({"item_id": ["a", "a"], "title": ["A", "B"]}, EVENTS, "item_id occurs on an earlier line too"),
    ],
)
def test_what_cannot_be_read(config, items, events, message):
    with pytest.raises(UserError, match=message):
        Domain.from_frames(items, events, data=config)


def test_lists_of_shown_items_and_weights(config):
    events = [{"user_id": "u", "item_id": "a"}, {"user_id": "u", "item_id": "b", "action": "click", "impression_id": 1},
              {"user_id": "u", "item_id": "c", "action": "impression", "impression_id": 1}]  # fmt: skip
    domain = Domain.from_frames(ITEMS, events, data=config)
    assert domain.report["impressions"] == 1
    weighted = Domain.from_frames(ITEMS, {"user_id": ["u"], "item_id": ["a"], "weight": [2]}, data=config)
    assert weighted.weights_E is not None
    assert weighted.weights_E.tolist() == [2.0]


def test_no_library_of_frames_is_imported():
    program = """
import sys, tempfile
from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import Domain
with tempfile.TemporaryDirectory() as cache:
    config = DataConfig(cache_dir=cache)
    Domain.from_frames({"item_id": ["a"], "title": ["A"]}, [{"user_id": "u", "item_id": "a"}], data=config)
print({"pandas", "polars", "pyarrow"} & set(sys.modules))
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
