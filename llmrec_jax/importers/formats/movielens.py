"""MovieLens: 100K (u.data, u.item), 1M and 10M (`::`), and the CSV files of all others; also MovieTweetings.

Files without a header are told by their shape: the number of columns and what is in them.
"""

import re
from collections.abc import Sequence

from llmrec_jax.importers.profile import profile
from llmrec_jax.importers.table import Cells, Table, derived, each, renamed

FORMAT = "MovieLens"
RATINGS = ("user_id", "item_id", "rating", "timestamp")
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
BEFORE_GENRES = 5  # columns of u.item before the flags: id, title, two dates, link
COPIES = re.compile(r"(u|r)(\d|[ab])\.(base|train|test)")  # splits of the ratings in u.data or ratings.dat
CSV_ROLES = {"user_id": "userId", "item_id": "movieId", "rating": "rating", "timestamp": "timestamp"}
EXTRA = (  # files of links, tags and the tag genome
    {"movieId", "imdbId", "tmdbId"}, {"userId", "movieId", "tag", "timestamp"}, {"movieId", "tagId", "relevance"},
    {"tagId", "tag"},
)  # fmt: skip


def recognise(tables: Sequence[Table]) -> list[Table]:
    """Name the columns of MovieLens files."""
    names = {table.name.rsplit("/", 1)[-1] for table in tables}
    genres = next((list(map(str, table.values("1"))) for table in tables if _is_genres(table)), list(GENRES))
    return [_one(table, bool(names & {"u.data", "ratings.dat"}), genres) for table in tables]


def _one(table: Table, has_whole: bool, genres: list[str]) -> Table:
    stem = table.name.rsplit("/", 1)[-1]
    if has_whole and COPIES.fullmatch(stem):
        return table.ignored("a part of the ratings that another file has")
    if not table.has_header:
        return _by_shape(table, genres)
    columns = set(table.columns)
    if {"userId", "movieId", "rating"} <= columns:
        roles = {role: column for role, column in CSV_ROLES.items() if column in columns}
        return renamed(table, table.columns, kind="events", format=FORMAT, roles=roles)
    if {"movieId", "title"} <= columns:
        roles = {"item_id": "movieId", "title": "title"} | ({"category": "genres"} if "genres" in columns else {})
        return renamed(table, table.columns, kind="items", format=FORMAT, roles=roles)
    return table.ignored("not needed") if columns in EXTRA else table


def _by_shape(table: Table, genres: list[str]) -> Table:
    size, mark = len(table.columns), table.separator
    if size == 4 and mark in ("::", "\t", " ") and _are_ratings(table):
        return renamed(table, RATINGS, kind="events", format=FORMAT, roles={name: name for name in RATINGS})
    if mark == "::" and size == 3 and not profile(table, "2").is_number:
        names = ("item_id", "title", "category")
        return renamed(table, names, kind="items", format=FORMAT, roles={name: name for name in names})
    if mark == "::":
        return table.ignored("not needed")  # users, tags
    if mark == "|" and size == BEFORE_GENRES + len(genres) and profile(table, str(size)).high <= 1:
        return _movies_100k(table, genres)
    if mark == "|" and (_is_genres(table) or (size == 5 and set(table.values("3")) <= {"M", "F"})):
        return table.ignored("not needed")
    return table


def _are_ratings(table: Table) -> bool:
    user, item, rating, time = (profile(table, column) for column in table.columns)
    return user.is_whole and item.is_whole and rating.is_number and rating.high <= 100 and time.times > 0.9


def _is_genres(table: Table) -> bool:
    if table.separator != "|" or len(table.columns) != 2 or table.has_header:
        return False
    return [str(value) for value in table.values("2")] == [str(n) for n in range(len(table.sample))]


def _movies_100k(table: Table, genres: list[str]) -> Table:
    def convert(cells: Cells) -> Cells:
        own = [genre for genre, flag in zip(genres, cells[BEFORE_GENRES:], strict=True) if flag.strip() == "1"]
        return cells[0], cells[1], own

    names = ("item_id", "title", "category")
    roles = {name: name for name in names}
    return derived(table, names, each(convert), table.columns, kind="items", format=FORMAT, roles=roles)
