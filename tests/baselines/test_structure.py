"""Structure in titles: what is read from them, and the shares of a catalogue below which it is not used."""

import numpy as np
import pytest

from llmrec_jax.baselines.parts import text_channels
from llmrec_jax.baselines.structure import facet_rows, series_rows
from llmrec_jax.baselines.terms import facet, last_of_title, volumes
from llmrec_jax.data.domains.records import Item


def items(*titles):
    return [Item(f"i{n}", title) for n, title in enumerate(titles)]


def no_features():
    raise AssertionError("no encoder is needed")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Wyrd Sisters (Discworld, #6; Witches #2)", [("discworld", 6), ("witches", 2)]),
        ("Transmetropolitan, Vol. 1: Back (Transmetropolitan, #1)", [("transmetropolitan", 1)]),
        ("Saga Volume 12", [("saga", 12)]),
        ("Night Watch Book 3", [("night watch", 3)]),
        ("Console 2", []),  # another product, not the next volume
        ("#717", []),
        ("Brewer No. 12345", []),
        ("Level 2.0 #1.5", []),
    ],
)
def test_volumes_of_titles(title, expected):
    assert volumes(items(title)[0]) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [("Crysis - PC", "pc"), ("Oblivion -Xbox 360", "xbox 360"), ("Heat (1995)", "1995"), ("A - B (PS4)", "ps4"),
     ("Spider-Man", ""), ("Sonic", ""), ("Fez [PC]", "pc")],
)  # fmt: skip
def test_the_last_part_of_titles(title, expected):
    assert last_of_title(items(title)[0]) == expected


def test_a_known_facet_is_found_inside_a_title_the_longest_one_first():
    known = {"xbox", "xbox 360", "pc"}
    assert facet(items("Controller for Xbox 360 and PC")[0], known) == ["xbox 360"]
    assert facet(items("PC game - New")[0], known) == ["pc"]
    assert facet(items("Boxed")[0], known) == []


def test_the_next_volume_is_matched_and_one_added_later_too():
    shop = items("Saga #1", "Saga #2", "Saga #4", "Other #3", "Plain")
    (fitted,) = text_channels(shop, None)["structure"]
    np.testing.assert_array_equal(fitted.channel.scores([np.array([0])]) > 0, [[False, True, False, False, False]])
    grown = fitted.with_items([Item("new", "Saga #3"), Item("first", "Other #4")], no_features).channel
    found_NI = grown.scores([np.array([1]), np.array([5]), np.array([3])]) > 0
    assert [list(np.flatnonzero(row)) for row in found_NI] == [[5], [2], [6]]


def test_series_need_a_share_of_the_titles():
    pair, others = ["Saga #1", "Saga #2"], [f"Plain {word}" for word in "abcdefghijklmnopqrstuvwxyz"]
    assert series_rows(items(*pair, *others[:37])) is not None
    assert series_rows(items(*pair, *others, *(f"{other} x" for other in others))) is None
    assert series_rows(items(*(f"{other} #1" for other in others))) is None  # no two of one series


def test_facets_need_a_share_of_the_titles_and_several_values():
    games = [f"Game {n} - {platform}" for platform in ("PC", "Wii", "PS4", "DS", "Xbox") for n in range(5)]
    rows = facet_rows(items(*games))
    assert rows is not None
    same_II = (rows.as_history_IV @ rows.as_item_IV.T).toarray()
    np.testing.assert_array_equal(same_II, np.kron(np.eye(5), np.ones((5, 5))))
    assert facet_rows(items(*games[:20])) is None  # four facets
    assert facet_rows(items(*games, *(f"Plain {n}" for n in range(70)))) is None  # 25 of 95 titles


@pytest.mark.parametrize("fit", [series_rows, facet_rows])
def test_a_twin_added_later_has_the_rows_of_the_item(fit):
    shop = items(
        *(f"Saga (Saga, #{n}) - {platform}" for platform in ("PC", "Wii", "PS4", "DS", "Xbox") for n in range(5)),
    )
    rows = fit(shop)
    twins = rows.reader.rows(shop[3:6], no_features)
    for side, added in zip((rows.as_history_IV, rows.as_item_IV), twins, strict=True):
        assert (side[3:6] != added).nnz == 0
