"""A headless Chromium for each file of tests, and windows that notice every fault."""

import contextlib
from pathlib import Path

import pytest

from tests.page.browsing import DESKTOP, serving

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not there")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """Serves a stand-in and gives its address."""
    with contextlib.ExitStack() as stack:
        yield lambda shop, key=None: stack.enter_context(serving(shop, key))


@pytest.fixture
def visit(browser, serve):  # `serve` is named so that it ends after the windows are closed
    """Opens an address in a new window. At the end, nothing may have failed, been refused, or been fetched elsewhere.

    The browser's error of a status that the test provokes is `expected`.
    """
    faults, contexts = list[str](), []

    def visit(address: str, *, viewport=DESKTOP, scheme="light", cards: bool = True, expected: str = "none", **options):
        def on_console(message):
            if message.type == "error" and expected not in message.text:
                faults.append(message.text)

        context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", on_console)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(address) else faults.append(request.url))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(address)
        if cards:
            page.wait_for_selector(".card")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not faults
