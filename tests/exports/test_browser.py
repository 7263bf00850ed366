"""The page of the `browser` export in headless Chromium: items and scores, titles as text, and the advice without a
runtime.

Ranking needs onnxruntime-web, which is not a dependency: $LLMREC_ORT_WEB names a folder with its files (dist/ of the
npm package; `.ci/run` fetches it); without it that test is skipped.
"""

import functools
import http.server
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.exports import browser_export
from llmrec_jax.exports.scorer import scorer_of
from tests import loopback

CHROMIUM = os.environ.get("LLMREC_CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
EVIL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"no Chromium at {CHROMIUM}")


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def served(folder):
    return loopback.served(functools.partial(Files, directory=folder))


@pytest.fixture
def page():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page()
        browser.close()


@pytest.fixture
def exported(bundle, tmp_path):
    browser_export.write(scorer_of(bundle), tmp_path)
    return tmp_path


def test_without_the_runtime_the_page_says_what_to_do(page, exported):
    with served(exported) as address:
        page.goto(address)
        page.wait_for_function("document.getElementById('status').textContent.includes('onnxruntime-web')")
    assert all(name in page.text_content("#status") for name in RUNTIME)
    assert page.is_disabled("#query")


def test_ranks_as_the_recommender_does(page, exported, bundle):
    runtime = os.environ.get("LLMREC_ORT_WEB")
    if runtime is None:
        pytest.skip("no onnxruntime-web: LLMREC_ORT_WEB is not set")
    for name in RUNTIME:
        shutil.copy(Path(runtime) / name, exported)
    items = (exported / "items.json").read_text().replace(bundle.items[-1].title, EVIL.replace('"', '\\"'))
    (exported / "items.json").write_text(items)
    live = Recommender(bundle)
    title = {item.item_id: item.title for item in bundle.items}
    with served(exported) as address:
        page.goto(address)
        history = []
        for item_id in (None, "book-0003", "book-0011", "film-0002"):  # the last is of the other shop
            if item_id is not None:
                page.fill("#query", title[item_id])
                page.click("#found button")
                history.append(item_id)
            page.wait_for_selector("#shelf[aria-busy=false]")
            assert_agrees(page, live.recommend(history, k=10))
        page.fill("#query", "onerror")
        assert page.text_content("#found button") == EVIL
        assert page.title() == "Recommendations"


def assert_agrees(page, expected):
    rows = page.eval_on_selector_all(
        "#shelf li", "rows => rows.map(row => [row.dataset.item, Number(row.dataset.score)])"
    )
    assert [item_id for item_id, _ in rows] == expected.ids
    np.testing.assert_allclose([score for _, score in rows], [row.score for row in expected], rtol=0, atol=1e-4)
