"""Arguments of the `Recommender`: which are accepted, and the errors for the others."""

import numpy as np
import pytest

from llmrec_jax.inference.arguments import as_count, as_ids, as_items, as_texts, as_times

KNOWN = {"a", "7", "8"}


@pytest.mark.parametrize(
    ("history", "ids"),
    [
        (["a", "b"], ["a", "b"]),
        (("a",), ["a"]),
        ([7, np.int64(8), "a"], ["7", "8", "a"]),
        (np.array(["a", "7"]), ["a", "7"]),
        (np.array([7, 8]), ["7", "8"]),
        (iter(["a"]), ["a"]),
        ([], []),
        (["\ud83d"], ["\ud83d"]),  # unknown, and warned of
    ],
)
def test_histories_that_are_understood(history, ids):
    found = as_ids(history, KNOWN)
    assert found == ids
    assert {type(item_id) for item_id in found} <= {str}


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("a", r"history is a str; pass a list of ids"),
        (b"a", "history is a bytes"),
        ({"a": 1}, "history is a dict"),
        ({"a"}, "history is a set, which has no order"),
        (None, "history is None; pass a list of ids"),
        (7, "history is 7; pass a list of ids"),
        ([1], "item 0 of the history is the integer 1: ids are strings, and none is '1'"),
        (["a", 7.0], r"item 1 of the history is 7\.0, a float: ids are strings"),
        ([True], "item 0 of the history is True, a bool"),
        ([None], "item 0 of the history is None"),
        ([["a"]], r"item 0 of the history is \['a'\], a list"),
    ],
)
def test_histories_that_are_refused(history, message):
    with pytest.raises(ValueError, match=message):
        as_ids(history, KNOWN)


def test_times():
    found = as_times([5, 5.9, np.float32(7), np.int64(2**40)], 4)
    assert (found.tolist(), found.dtype) == ([5, 5, 7, 2**40], np.int64)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 2], "^2 times for a history of 3 items$"),
        ([1, 3, 2], "time 2 is before time 1: a history is given oldest first"),
        ([1, None, 2], "time 1: None is not a time in seconds"),
        ([1, True, 2], "time 1: True is not a time"),
        ([1, float("nan"), 2], "time 1: nan is not a time"),
        ([1, 2, float("inf")], "time 2: inf is not a time"),
        (["2020-01-31", 2, 3], "time 0: '2020-01-31' is not a time in seconds"),
        (7, "times is 7; pass a list of numbers"),
    ],
)
def test_times_that_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        as_times(times, 3)


def test_counts():
    assert [as_count(k) for k in (3, 3.0, np.int32(3), np.float32(3), 10**30)] == [3, 3, 3, 3, 10**30]
    for k in (0, -1, np.int64(0)):
        with pytest.raises(ValueError, match="ask for at least one item"):
            as_count(k)
    for k in (2.5, float("nan"), float("inf"), "3", None, True, [3]):
        with pytest.raises(ValueError, match="not a whole number"):
            as_count(k)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("hello", "texts is a str; pass a list of texts"),
        (["a", 3], "text 1: 3 is not a string"),
        (["a", "sea \ud83d"], "text 1: character 4 is half of a surrogate pair"),
    ],
)
def test_texts_that_are_refused(texts, message):
    assert as_texts(["a", ""]) == ["a", ""]
    with pytest.raises(ValueError, match=message):
        as_texts(texts)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"item_id": "n", "title": "t"}, "items is a dict; pass a list of dicts"),
        (["n"], "item 0: 'n' is not a dict"),
        ([{"item_id": "n", "title": "\udc00"}], "item 0: title: character 0 is half of a surrogate pair"),
        ([{"item_id": "\udc00", "title": "t"}], "item 0: item_id: character 0"),
        ([{"item_id": "n", "title": "t", "brand": float("nan")}], r"item 0: .*\$\.brand"),
        ([{"item_id": 1.5, "title": "t"}], "item 0: .*item_id"),
        ([{"item_id": True, "title": "t"}], "item 0: .*item_id"),
        ([{"item_id": "n", "title": "t"}, {"item_id": "n", "title": "t"}], "item 1: the id 'n' is taken"),
        ([{"item_id": 7, "title": "t"}], "item 0: the id '7' is taken"),
    ],
)
def test_items_that_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        as_items(items, KNOWN)


def test_items_that_are_understood():
    items = as_items([{"item_id": np.int64(9), "title": "t"}, {"item_id": "n", "title": "u"}], KNOWN)
    assert [(item.item_id, item.title) for item in items] == [("9", "t"), ("n", "u")]


def test_fields_of_new_items_that_are_not_read_are_named_in_a_warning():
    rows = [{"item_id": "c", "title": "t", "price": 3, "tags": ["x"]}, {"item_id": "d", "title": "t", "seen": {}}]
    with pytest.warns(UserWarning, match="^fields of the items that are not read: seen, tags$"):
        new = as_items(rows, KNOWN)
    assert [(item.item_id, item.attributes) for item in new] == [("c", {"price": 3}), ("d", {})]
