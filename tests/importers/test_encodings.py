# ruff: noqa: RUF001
"""Encodings are found by what stands in a file; the times of a column by their form."""

import datetime

import pytest

from llmrec_jax.importers.clock import Clock, fits
from llmrec_jax.importers.encodings import detect
from llmrec_jax.importers.files import find

TEXTS = {
    "cp1252": "Bücher für Käufer – neu €; Größe 42, Straße; Menü à la carte; l’été",
    "latin-1": "Café au lait; Élan; Españolito; naïve; Smörgåsbord",
    "mac_roman": "Bücher für Käufer; Größe 42, Straße; Menü à la carte; Élan",
    "cp850": "Bücher für Käufer; Größe 42, Straße; Menü à la carte; Élan",
    "cp1250": "Książka łódź żółta; Pan Wołodyjowski; Świat według Kiepskich; źródło",
    "cp1251": "название товара; книга о море; красная шапка",
    "koi8_r": "название товара; книга о море; красная шапка",
    "cp932": "海のカフェとストーン; 本とコーヒー; ペンケース",
    "euc_jp": "海のカフェとストーン; 本とコーヒー; ペンケース",
    "gb18030": "海边的咖啡馆和石头; 红色的书包; 学习用品商店里的铅笔",
    "big5": "海邊的咖啡館和石頭; 紅色的書包; 學習用品商店裡的鉛筆",
    "euc_kr": "바다의 카페와 돌; 빨간 가방; 학용품 가게의 연필",
    "utf-8": "Café – 海边 книга 🎉",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_is_recognised(tmp_path, encoding):
    text = "id,title\n" + "".join(f"{n},{part.strip()}\n" for n, part in enumerate(TEXTS[encoding].split(";")))
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    (file,) = find([tmp_path])
    found = detect(file)
    assert found is not None
    assert (tmp_path / "a.csv").read_bytes().decode(found) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_wide_encodings_and_marks(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("id,title\n1,Café\n".encode(encoding))
    (file,) = find([tmp_path])
    assert (tmp_path / "a.csv").read_bytes().decode(detect(file) or "").splitlines() == ["id,title", "1,Café"]


def test_bytes_are_no_text_and_one_bad_letter_does_not_change_the_encoding(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 4)
    assert detect(find([tmp_path])[0]) is None
    (tmp_path / "a").write_bytes("é".encode() * 20 + b"\xe9\n")
    assert detect(find([tmp_path])[0]) == "utf-8"


DAY = datetime.datetime(2020, 5, 31, 10, 13, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "cells",
    [
        ["31.05.2020 10:13", "01.02.2020 10:13"],
        ["05/31/2020 10:13 AM", "01/02/2020 1:00 PM"],
        ["31/05/2020 10:13", "01/02/2020 13:00:05"],
        ["2020-05-31T10:13:00Z", "2020-06-01T00:00:00+02:00"],
        ["2020/5/31 10:13", "2020/6/1"],
        ["31-May-2020 10:13:00", "01-Jun-2020 10:00:00"],
        ["Sun May 31 03:13:00 -0700 2020", "Mon Jun 01 00:00:00 +0000 2020"],
        ["Sun, 31 May 2020 10:13:00 GMT", "Mon, 01 Jun 2020 10:13:00 GMT"],
        ["May 31, 2020 10:13", "Jun 1, 2020 09:00"],
        ["20200531101300", "20200601000000"],
        ["43982.425694444", "43983"],
        ["1590919980", "1590919981"],
        ["1590919980.000", "1590919981.5"],
        ["1590919980000", "1590919980001"],
        [1590919980.0, 1590919981.0],
        [DAY, DAY],
        [DAY.replace(tzinfo=None)],
        ["31.5.20 10:13 Uhr", "1.6.20 09:00 Uhr"],
    ],
    ids=str,
)
def test_times_are_read_in_any_form(cells):
    assert fits(cells) == 1.0
    assert Clock(cells)(cells[0]) == pytest.approx(DAY.timestamp() * 1e9, abs=5e8)


def test_what_is_no_time():
    assert fits(["1", "2", "3"]) == 0.0
    assert fits(["Drama", "2001"]) == 0.0
    clock = Clock(["1600000000"])
    for wrong, reason in (("soon", "not understood"), ("31.13.2020", "not understood"), ("1969-01-01", "before 1970")):
        with pytest.raises(ValueError, match=reason):
            clock(wrong)
    assert not Clock(["01/02/2020", "03/04/2020"]).is_certain
    assert Clock(["13/02/2020"]).is_certain
