# ruff: noqa: E501
"""Small files in the formats that people have, all with the same log and catalogue."""

import csv
import datetime
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = 1_600_000_000
TITLES = ("Café of Stone (1994)", "Night at Sea", 'The "Red" Sea', '"Heroes" and more', "L'été; or not, maybe", "The|Wolf",
          "Tom &amp; Ann", "Élan")  # fmt: skip
ITEMS = [(str(n + 1), title, ("Drama", "Comedy")[n % 2]) for n, title in enumerate(TITLES)]
# user, item, rating, seconds since 1970
LOG = [(str(user), str((user * 3 + n * 5) % 8 + 1), (user + n) % 5 + 1, START + user * 86_400 + n * 3_660)
       for user in range(1, 7) for n in range(5)]  # fmt: skip


def table(rows: list[list[Any]], delimiter: str = ",", **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n", **options).writerows(rows)
    return text.getvalue()


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def rows(separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in LOG)


def stamp(seconds: int, form: str) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(form)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def movielens_dat() -> dict[str, str | bytes]:
    movies = "".join(f"{item}::{title}::{genre}|War\n" for item, title, genre in ITEMS)
    ratings = "".join(f"{user}::{item}::{rating}::{time}\n" for user, item, rating, time in LOG)
    return {"movies.dat": movies.encode("latin-1"), "ratings.dat": ratings, "users.dat": "1::F::1::10::48067\n" * 3,
            "README": "words of the authors\n"}  # fmt: skip


def movielens_100k() -> dict[str, str | bytes]:
    genres = ["unknown", "Action", "Drama", "Comedy"]
    movies = "".join(
        f"{item}|{title.replace('|', ' ')}|01-Jan-1995||http://x/{item}|{'|'.join(str(int(g == genre)) for g in genres)}\n"
        for item, title, genre in ITEMS
    )
    ratings = rows("\t")
    return {"ml-100k/u.data": ratings, "ml-100k/u1.base": ratings[:60], "ml-100k/ua.test": ratings[60:90],
            "ml-100k/u.item": movies.encode("latin-1"), "ml-100k/u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
            "ml-100k/u.genre": "".join(f"{g}|{n}\n" for n, g in enumerate(genres)) + "\n",
            "ml-100k/u.occupation": "artist\nother\n", "ml-100k/u.info": "6 users\n8 items\n"}  # fmt: skip


def movielens_csv() -> dict[str, str | bytes]:
    movies = [["movieId", "title", "genres"], *([item, title, f"{genre}|War"] for item, title, genre in ITEMS)]
    ratings = [["userId", "movieId", "rating", "timestamp"], *(list(row) for row in LOG)]
    tags = [["userId", "movieId", "tag", "timestamp"], *([user, item, "good", time] for user, item, _, time in LOG)]
    return {"movies.csv": table(movies), "ratings.csv": table(ratings), "tags.csv": table(tags),
            "links.csv": table([["movieId", "imdbId", "tmdbId"], *([item, "0114709", "862"] for item, *_ in ITEMS)])}  # fmt: skip


def asin(item: str) -> str:
    return f"B{int(item):09d}"


def amazon_2014() -> dict[str, str | bytes]:
    reviews = [
        {"reviewerID": f"A{user}", "asin": asin(item), "reviewerName": "x", "helpful": [0, 0], "reviewText": "fine",
         "overall": float(rating), "summary": "ok", "unixReviewTime": time, "reviewTime": stamp(time, "%m %d, %Y")}
        for user, item, rating, time in LOG
    ]  # fmt: skip
    meta = [{"asin": asin(item), "title": title, "price": 9.5, "salesRank": {"Toys": 5}, "imUrl": "http://x/1.jpg",
             "brand": "Ann's", "categories": [["Books", genre], ["Books", "New"]], "description": "A book."}
            for item, title, genre in ITEMS]  # fmt: skip
    return {"reviews_Toys_5.json.gz": lines(reviews), "meta_Toys.json.gz": "".join(f"{record!r}\n" for record in meta)}


def amazon_2018() -> dict[str, str | bytes]:
    reviews = [
        {"overall": float(rating), "verified": True, "reviewTime": stamp(time, "%m %d, %Y"), "reviewerID": f"A{user}",
         "asin": asin(item), "style": {"Size:": " L"}, "reviewText": "fine", "summary": "ok", "unixReviewTime": time}
        for user, item, rating, time in LOG
    ]  # fmt: skip
    meta = [{"category": ["Books", genre], "tech1": "", "description": ["A book.", "More"], "title": title,
             "also_buy": [], "brand": "Ann's", "feature": [], "rank": "5 in Books", "main_cat": "Books",
             "price": "$9.50", "asin": asin(item)} for item, title, genre in ITEMS]  # fmt: skip
    return {"Toys_5.json.gz": lines(reviews), "meta_Toys.json.gz": lines(meta)}


def amazon_2023() -> dict[str, str | bytes]:
    reviews = [
        {"rating": float(rating), "title": "ok", "text": "fine,\nreally", "images": [], "asin": f"C{asin(item)}",
         "parent_asin": asin(item), "user_id": f"A{user}", "timestamp": time * 1000, "helpful_vote": 0,
         "verified_purchase": True} for user, item, rating, time in LOG
    ]  # fmt: skip
    meta = [{"main_category": "Books", "title": title, "average_rating": 4.1, "features": ["soft"], "price": None,
             "description": ["A book.", "More"], "store": "Ann's", "categories": ["Books", genre],
             "details": {"ISBN": "1"}, "parent_asin": asin(item)} for item, title, genre in ITEMS]  # fmt: skip
    return {"Toys.jsonl": lines(reviews), "meta_Toys.jsonl": lines(meta)}


def recbole() -> dict[str, str | bytes]:
    log = "timestamp:float\titem_id:token\tuser_id:token\trating:float\n"
    log += "".join(f"{time}.0\t{item}\t{user}\t{rating}\n" for user, item, rating, time in LOG)
    items = "item_id:token\tclass:token_seq\tmovie_title:token_seq\n"
    items += "".join(f"{item}\t{genre} War\t{title}\n" for item, title, genre in ITEMS)
    return {"shop.inter": log, "shop.item": items, "shop.user": "user_id:token\tage:float\n1\t20\n"}


def mind() -> dict[str, str | bytes]:
    users = sorted({user for user, *_ in LOG})
    behaviors = ""
    for number, user in enumerate(users, 1):
        own = [(item, time) for name, item, _, time in LOG if name == user]
        history = " ".join(f"N{item}" for item, _ in own[:-1])
        time = stamp(own[-1][1], "%m/%d/%Y %I:%M:%S %p")
        behaviors += f"{number}\t{user}\t{time}\t{history}\tN{int(own[0][0]) % 8 + 1}-0 N{own[-1][0]}-1\n"
    news = "".join(
        f"N{item}\tnews\t{genre}\t{title}\tAbout\thttps://x/{item}\t[]\t[]\n" for item, title, genre in ITEMS
    )
    return {"behaviors.tsv": behaviors, "news.tsv": news, "entity_embedding.vec": "Q1\t0.1\t0.2\n"}


def goodreads() -> dict[str, str | bytes]:
    form = "%a %b %d %H:%M:%S +0000 %Y"
    log = [{"user_id": f"{int(user):032x}", "book_id": item, "review_id": "r", "is_read": True, "rating": rating,
            "date_added": stamp(time, form), "read_at": ""} for user, item, rating, time in LOG]  # fmt: skip
    books = [{"book_id": item, "title": title, "title_without_series": title, "description": "x", "authors":
              [{"author_id": "7", "role": ""}, {"author_id": "8", "role": "Translator"}], "is_ebook": "false",
              "popular_shelves": [{"count": "9", "name": "to-read"}, {"count": "3", "name": genre}]}
             for item, title, genre in ITEMS]  # fmt: skip
    authors = [{"author_id": "7", "name": "Ann Lee", "ratings_count": "5"}, {"author_id": "8", "name": "Tom"}]
    return {"goodreads_interactions.json.gz": lines(log), "goodreads_books.json.gz": lines(books),
            "goodreads_book_authors.json.gz": lines(authors)}  # fmt: skip


def lastfm_360k() -> dict[str, str | bytes]:
    log = "".join(
        f"{int(user):040x}\t{int(item):08x}-x\t{TITLES[int(item) - 1]}\t{rating}\n" for user, item, rating, _ in LOG
    )
    return {"usersha1-artmbid-artname-plays.tsv": log,
            "usersha1-profile.tsv": "".join(f"{n:040x}\tm\t22\tGermany\tFeb 1, 2007\n" for n in range(1, 7))}  # fmt: skip


def lastfm_1k() -> dict[str, str | bytes]:
    log = "".join(
        f"user_{int(user):06d}\t{stamp(time, '%Y-%m-%dT%H:%M:%SZ')}\ta\tAnn\t{int(item):08x}-x\t{TITLES[int(item) - 1]}\n"
        for user, item, _, time in reversed(LOG)
    )
    return {"userid-timestamp-artid-artname-traid-traname.tsv": log,
            "userid-profile.tsv": "#id\tgender\tage\tcountry\tregistered\nuser_000001\tm\t\tJapan\tAug 13, 2006\n"}  # fmt: skip


def hetrec() -> dict[str, str | bytes]:
    log = "userID\tartistID\tweight\n" + "".join(f"{user}\t{item}\t{rating}\n" for user, item, rating, _ in LOG)
    artists = "id\tname\turl\tpictureURL\n" + "".join(
        f"{item}\t{title}\thttp://x\thttp://y\n" for item, title, _ in ITEMS
    )
    tags = "userID\tartistID\ttagID\ttimestamp\n" + "".join(f"{u}\t{i}\t3\t{t}000\n" for u, i, _, t in LOG)
    return {"user_artists.dat": log, "artists.dat": artists, "user_taggedartists-timestamps.dat": tags,
            "user_friends.dat": "userID\tfriendID\n1\t2\n2\t1\n", "tags.dat": "tagID\ttagValue\n3\tmetal\n"}  # fmt: skip


def excel() -> dict[str, str | bytes]:
    log = [["Kunde", "Artikel", "Bewertung", "Zeit"],
           *([user, item, f"{rating},5", stamp(time, "%d.%m.%Y %H:%M")] for user, item, rating, time in LOG)]  # fmt: skip
    items = [
        ["Artikel", "Titel", "Gruppe", "Preis"],
        *([item, title, genre, "1.234,50 €"] for item, title, genre in ITEMS),
    ]
    return {"log.csv": table(log, ";").replace("\n", "\r\n"),
            "artikel.csv": table(items, ";").replace("\n", "\r\n").encode("cp1252")}  # fmt: skip


SAMPLES: dict[str, Callable[[], dict[str, str | bytes]]] = {
    maker.__name__: maker
    for maker in (movielens_dat, movielens_100k, movielens_csv, amazon_2014, amazon_2018, amazon_2023, recbole, mind,
                  goodreads, lastfm_360k, lastfm_1k, hetrec, excel)
}  # fmt: skip


def number_of(identity: str) -> str:
    """The id in LOG and ITEMS: the number in "B000000003" (or hexadecimal in a hash)."""
    hexadecimal = re.fullmatch(r"([0-9a-f]{8})-x|([0-9a-f]{32}|[0-9a-f]{40})", identity)
    return str(int(hexadecimal[1] or hexadecimal[2], 16) if hexadecimal else int(re.sub(r"\D", "", identity)))
