"""Finds the encoding of a text file: by its byte order mark, else UTF-8 if it is valid, else by its letters.

The whole file is read for this, because the first letter that is not ASCII may stand anywhere.
"""

import codecs
import re

from llmrec_jax.data.domains.folders import is_text
from llmrec_jax.importers.files import File

CHUNK = 2**20
MAX_NULS = 0.02  # share of zero bytes in a text that is not UTF-16
EVIDENCE = 2**18  # bytes around letters that are not ASCII
MARKS = (  # the longer marks first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
CONTROL = re.compile(rb"[\x02-\x08\x0e-\x1f]")  # ^A separates the columns of Hive
INVALID = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, after decoding
ASCII = bytes(range(128))
HIGH = re.compile(rb"[\x80-\xff]")
HIGH_RUN = re.compile(rb"[\x80-\xff]+")
# What no word has, so that the letter was written in another encoding: a sign or a capital within it, a raised figure
# at its beginning. Quotation marks, dashes and the like may stand between letters.
WRONG_IN_WORD = re.compile(
    r"[^\W\d_][\x80-\xa9\xab-\xb3\xb5\xb6\xb8\xb9\xbb-\xbf\u02c7-\u02dd\u201a\u201d\u201e\u2020-\u2122\u2200-\u25ff]{1,3}"
    r"[^\W\d_]"
    r"|(?<!\w)[\xa3\xaf\xb3\xb9\xbc\xbe][^\W\d_]"
    r"|[a-z][\xc0-\xde\u0141\u0152\u015a\u0160\u0178\u017b\u017d][a-z]"
)
WESTERN = ("cp1252", "cp1250", "mac_roman", "cp850")  # the likeliest first
PAIR = re.compile(rb"[\x81-\xfe][\x40-\xfe]")  # two bytes that are one letter of Japanese, Korean or Chinese
KANA = re.compile("[\u3041-\u30ff]")
CYRILLIC = re.compile("[\u0430-\u044f]")  # lowercase, which running text mostly is


def detect(file: File) -> str | None:
    """The name of a Python codec; None if the file is no text."""
    start = file.start(4096)
    for mark, name in MARKS:
        if start.startswith(mark):
            return name
    if start.count(0) > MAX_NULS * len(start):
        return _wide(start)
    if len(CONTROL.findall(start)) > MAX_NULS * len(start):
        return None
    evidence = _not_utf8(file)
    return "utf-8" if evidence is None else _legacy(evidence)


def _wide(start: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of ASCII letters is zero."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    if odd > 4 * even + 1 and odd > len(start) // 8:
        return "utf-16-le"
    return "utf-16-be" if even > 4 * odd + 1 and even > len(start) // 8 else None


def _not_utf8(file: File) -> bytes | None:
    """The lines that are not ASCII; None if the file is UTF-8, but for a fifth of its letters at most."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    valid = invalid = 0.0  # letters that are not ASCII
    evidence = bytearray()
    with file.open() as data:
        while chunk := data.read(CHUNK):
            text = decoder.decode(chunk)
            if chunk.isascii():
                continue
            wrong = 0 if is_text(text) else len(INVALID.findall(text))
            invalid += wrong
            valid += (len(chunk.translate(None, ASCII)) - wrong) / 2  # most letters have two bytes
            if wrong and len(evidence) < EVIDENCE:
                evidence += b"\n".join(line for line in re.split(rb"[\r\n]", chunk) if HIGH.search(line))[:EVIDENCE]
    invalid += len(decoder.decode(b"", final=True))
    return bytes(evidence) if invalid > valid / 4 else None


def _legacy(evidence: bytes) -> str:
    """The likely encoding of text that is not UTF-8."""
    high = len(HIGH.findall(evidence))
    if len(KANA.findall(evidence.decode("cp932", "replace"))) > high / 8:
        return "cp932"  # the second bytes of its letters are often ASCII
    in_runs = sum(len(run) for run in HIGH_RUN.findall(evidence) if len(run) > 2)
    if in_runs > high / 2:  # in western languages, letters with accents rarely follow one another
        return _eastern(evidence)
    wrong = {name: len(WRONG_IN_WORD.findall(evidence.decode(name, "replace"))) for name in WESTERN}
    best = min(WESTERN, key=wrong.__getitem__)
    if wrong[best] < wrong["cp1252"] / 10:  # else the text was damaged before
        return best
    # cp1252 has letters at 0x80 to 0x9f, where latin-1 has none.
    return "cp1252" if re.search(rb"[\x80-\x9f]", evidence) else "latin-1"


def _eastern(evidence: bytes) -> str:
    """An encoding of Cyrillic, Japanese, Korean or Chinese, by the bytes that common letters have in it."""
    high = len(HIGH.findall(evidence))
    cyrillic = {name: len(CYRILLIC.findall(evidence.decode(name, "replace"))) for name in ("cp1251", "koi8_r", "cp866")}
    best = max(cyrillic, key=cyrillic.__getitem__)
    if cyrillic[best] > 0.65 * high:
        return best
    pairs = PAIR.findall(evidence)

    def share(first: range, second: range = range(256)) -> float:
        return sum(pair[0] in first and pair[1] in second for pair in pairs) / max(1, len(pairs))

    if share(range(0x81, 0xA0)) > 0.3:
        return "cp932"  # without kana
    if share(range(256), range(0x40, 0x7F)) > 0.15:
        return "big5"
    if share(range(0xA4, 0xA6)) > 0.15:
        return "euc_jp"
    return "gb18030" if share(range(0xC9, 0xF8)) > 0.1 else "euc_kr"
