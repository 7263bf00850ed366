"""Rows of a log and prepared users, as bytes that go from one machine to another.

Shape letters: E rows of a log, in any order.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from llmrec_jax.data.domains.arrange import ARRAYS, WEIGHTS, Part
from llmrec_jax.data.domains.events import CODES

USER, LIST, PLACE = 0, 6, 8  # indices into `Rows.columns`
BY_USER = {"offsets": (*ARRAYS[:-1], *WEIGHTS), "low_offsets": ("low_items_A", "low_ratings_A", "low_place_A")}
DTYPES = dict.fromkeys(("items_E", "low_items_A", "shown_items_A"), np.int32) | {
    **dict.fromkeys(("ratings_E", "weights_E", "first_weights_E", "low_ratings_A"), np.float32),
    **dict.fromkeys(("timestamps_E", "low_place_A", "shown_place_Q"), np.int64),
    "shown_clicked_A": np.bool_,
}
# Sent as numbers per user, or per list; in a prepared folder they are the sums (int64), or the user of each list.
COUNTS = ("offsets", "low_offsets", "shown_users_Q", "shown_offsets")


class Rows(NamedTuple):
    """Rows of a log in file order. Users and lists of shown items are numbered by first appearance."""

    user_ids: list[str]
    list_ids: list[str]
    columns: list[np.ndarray]  # [E] each, in the order of `event_rows.Row`

    def lists_by_user(self) -> Iterator[str]:
        """The id of each list, once for each user who has rows of it."""
        pairs = np.unique(np.stack([self.columns[LIST], self.columns[USER]]), axis=1)
        yield from (self.list_ids[number] for number in pairs[0] if number >= 0)


class User(msgspec.Struct, array_like=True, frozen=True):
    """A prepared user."""

    place: int  # of the user's first row
    user_id: str
    arrays: dict[str, bytes]  # those of a prepared folder, see `DTYPES` and `COUNTS`


class _Block(msgspec.Struct, array_like=True, frozen=True):
    user_ids: list[str]
    list_ids: list[str]
    columns: list[bytes]


def blocks(rows: Rows, num_buckets: int) -> Iterator[tuple[int, bytes]]:
    """The rows of the users of each bucket, as bytes; a hash of the user's id chooses the bucket."""
    users, user_E = np.unique(rows.columns[USER], return_inverse=True)
    bucket = np.array([zlib.crc32(rows.user_ids[user].encode()) % num_buckets for user in users], np.int64)
    order_E = np.argsort(bucket[user_E], kind="stable")
    found, start = np.unique(bucket[user_E][order_E], return_index=True)
    for number, chosen in zip(found, np.split(order_E, start[1:]), strict=True):
        columns = [column[chosen] for column in rows.columns]
        user_ids = _renumber(columns, USER, rows.user_ids)
        list_ids = _renumber(columns, LIST, rows.list_ids)
        block = _Block(user_ids, list_ids, [column.tobytes() for column in columns])
        yield int(number), msgspec.msgpack.encode(block)


def joined(encoded: Iterable[bytes]) -> Rows:
    """The rows of blocks in any order."""
    users: dict[str, int] = {}
    lists: dict[str, int] = {}
    parts = []
    for data in encoded:
        block = msgspec.msgpack.decode(data, type=_Block)
        columns = [np.frombuffer(column, code) for column, code in zip(block.columns, CODES, strict=True)]
        for index, ids, numbers in ((USER, block.user_ids, users), (LIST, block.list_ids, lists)):
            number = [numbers.setdefault(name, len(numbers)) for name in ids]
            columns[index] = np.array([*number, -1], np.int32)[columns[index]]  # -1, no list, stays -1
        parts.append(columns)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order_E = np.argsort(columns[PLACE])
    columns = [column[order_E] for column in columns]
    return Rows(_renumber(columns, USER, [*users]), _renumber(columns, LIST, [*lists]), columns)


def _renumber(columns: list[np.ndarray], index: int, ids: Sequence[str]) -> list[str]:
    """Number the values of a column anew by first appearance, -1 excepted; the ids of the new numbers."""
    column = columns[index]
    values, first, value_E = np.unique(column, return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[values[order] >= 0]
    numbers = np.full(len(values), -1, np.int32)
    numbers[order] = np.arange(len(order))
    columns[index] = numbers[value_E]
    return [ids[value] for value in values[order]]


def users_of(part: Part, places: Mapping[str, int]) -> Iterator[User]:
    """The users of a part; `places` are those of their first rows."""
    lists = None
    if "shown_users_Q" in part.arrays:
        lists = np.searchsorted(part.arrays["shown_users_Q"], np.arange(len(part.user_ids) + 1))
    for user, user_id in enumerate(part.user_ids):
        arrays: dict[str, np.ndarray] = {}
        for offsets, names in BY_USER.items():
            if offsets in part.arrays:
                begin, end = part.arrays[offsets][user : user + 2]
                arrays |= {name: part.arrays[name][begin:end] for name in names if name in part.arrays}
                arrays[offsets] = end - begin
        if lists is not None:
            begin, end = lists[user : user + 2]
            bounds = part.arrays["shown_offsets"][begin : end + 1]
            shown = slice(bounds[0], bounds[-1])
            arrays |= {"shown_users_Q": end - begin, "shown_offsets": np.diff(bounds)}
            arrays |= {name: part.arrays[name][shown] for name in ("shown_items_A", "shown_clicked_A")}
            arrays["shown_place_Q"] = part.arrays["shown_place_Q"][begin:end]
        encoded = {name: np.asarray(array, DTYPES.get(name, np.int64)).tobytes() for name, array in arrays.items()}
        yield User(places[user_id], user_id, encoded)
