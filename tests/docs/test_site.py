"""The site of docs/ builds without a warning, has every page in its navigation, and loads nothing from other hosts."""

import dataclasses
import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmrec_jax.config import Config
from llmrec_jax.losses import adaptation
from tests.docs.pages import REPO


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=REPO, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return folder


def test_every_page_is_in_the_navigation():
    pages = re.findall(r"^ +- [^\n]*: (\w+\.md)$", (REPO / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(pages) == sorted(page.name for page in (REPO / "docs").glob("*.md"))


class Loaded(html.parser.HTMLParser):
    """Collects the addresses that a browser loads with a page."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "link" and attributes.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(attributes.get("href") or "")
        self.found += [attributes[name] or "" for name in ("src", "srcset", "poster", "data") if name in attributes]


def test_pages_load_nothing_from_other_hosts(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list((REPO / "docs").glob("*.md")))
    for page in pages:
        parser = Loaded()
        parser.feed(page.read_text())
        assert parser.found, page
        for address in parser.found:
            assert not re.match(r"(https?:)?//", address), (page, address)
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(https?:)?//", style.read_text()), style


def test_the_reference_has_the_public_names(site):
    def anchors(page: str) -> set[str]:
        return set(re.findall(r'id="(llmrec_jax[\w.]+)"', Path(site, page).read_text()))

    python = {anchor.rpartition(".")[2] for anchor in anchors("api.html")}
    assert {"Recommender", "recommend", "search", "evaluate", "from_pretrained", "save_pretrained"} <= python
    assert not any(name.startswith("_") for name in python)
    assert {f"llmrec_jax.losses.adaptation.{name}" for name in adaptation.__all__} <= anchors("api_losses.html")
    fields = {tuple(anchor.split(".")[-2:]) for anchor in anchors("configuration.html")}
    sections = {type(value).__name__: value for value in vars(Config()).values() if dataclasses.is_dataclass(value)}
    assert {(name, field) for name, section in sections.items() for field in vars(section)} <= fields
    assert len(sections) >= 9
    assert ("Config", "seed") in fields
