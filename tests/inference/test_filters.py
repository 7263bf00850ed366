"""Filters: values of fields, ranges of numbers, allowed ids, removed items."""

import numpy as np
import pytest

from llmrec_jax.inference.bundle import BundleItem
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.filters import allowed

ITEMS = [
    BundleItem("a", "A", "shop", category="Beauty, Skin Care", brand="Ada", attributes={"price": 5, "size": "XL"}),
    BundleItem(
        "b", "B", "shop", category="beauty > hair", brand="Bo", attributes={"price": "$12.50", "code": 9780306406157}
    ),
    BundleItem("c", "C", "shop", brand="ADA", attributes={"price": 20.0, "stock": "true", "code": 9780306406164}),
    BundleItem("d", "D", "shop", category="Beauty", brand="Bo", attributes={"price": "12,50"}, is_removed=True),
    BundleItem("a", "Of another shop", "other", category="Beauty"),
]
NOTHING = np.zeros((5, 0), np.float32)
CATALOG = Catalog(
    items=ITEMS,
    number={"a": 0, "b": 1, "c": 2, "d": 3},
    vectors_ID=NOTHING,
    popularity_I=np.zeros(5),
    target_J=np.arange(4),
    position_I=np.array([0, 1, 2, 3, -1]),
    channels={},
    target="shop",
)


def found(where=None, among=None, shop="shop"):
    allowed_J = allowed(CATALOG, shop, where, among)
    return "".join(ITEMS[n].item_id for n in CATALOG.shelf(shop)[allowed_J])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, "abc"),
        ({}, "abc"),
        ({"category": "beauty"}, "ab"),
        ({"category": "Skin care"}, "a"),
        ({"category": "Beauty, Skin Care"}, "a"),
        ({"category": ["hair", "skin care"]}, "ab"),
        ({"category": "beau"}, ""),
        ({"category": []}, ""),
        ({"brand": "ada", "category": "beauty"}, "a"),
        ({"brand": {"Ada", "Bo"}}, "abc"),
        ({"price": {"min": 5, "max": 12.5}}, "ab"),
        ({"price": {"min": 12.5}}, "bc"),
        ({"price": {"max": np.float32(5)}}, "a"),
        ({"price": 20}, "c"),
        ({"price": np.int64(20)}, "c"),
        ({"code": 9780306406157}, "b"),
        ({"code": 9780306406157.0}, "b"),
        ({"code": "9780306406157"}, "b"),
        ({"code": 10**400}, ""),
        ({"price": 20.0, "stock": "true"}, "c"),
        ({"size": "xl"}, "a"),
    ],
)
def test_where(where, expected):
    assert found(where) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("beauty", "where is a str; pass a dict"),
        ({"prize": 3}, "no item has a field 'prize'; fields of the items: brand, category, code, price, size, stock"),
        ({"price": {"from": 3}}, r"price: {'from': 3} is not a range such as"),
        ({"price": {}}, "price: {} is not a range"),
        ({"price": {"min": "3"}}, "price: min is '3', not a number"),
        ({"price": {"min": float("nan")}}, "price: min is nan, not a number"),
        ({"price": {"min": 3, "max": 2}}, "min is 3 and max is 2: no number is in this range"),
        ({"brand": None}, "brand: None is neither a text nor a number"),
        ({"brand": [True]}, "brand: True is neither a text nor a number"),
    ],
)
def test_filters_that_are_refused(where, message):
    with pytest.raises(ValueError, match=message):
        found(where)


def test_among():
    assert found(among=["a", "d", "nowhere"]) == "a"
    assert found(among={"b", "c"}, where={"brand": "ada"}) == "c"
    assert found(among=[]) == ""
    assert found(among=["a"], shop="other") == "a"
    with pytest.raises(ValueError, match="among is a str; pass a list of ids"):
        found(among="a")


def test_an_item_added_later_is_found_by_its_fields():
    assert found({"size": "xl"}) == "a"
    grown = CATALOG.with_items([BundleItem("e", "E", "shop", attributes={"size": "XL"})], NOTHING[:1], {})
    assert allowed(grown, "shop", {"size": "xl"}, None).tolist() == [True, False, False, False, True]
