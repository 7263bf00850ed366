"""What the tests of the page share: a stand-in served on a port of its own, and looking at the page."""

import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn

from tests.conftest import REPO
from tests.page.fake_shop import FakeShop, app

SCREENSHOTS = REPO / "runs" / "screenshots"  # not under version control
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


@contextlib.contextmanager
def serving(shop: FakeShop, key: str | None = None) -> Iterator[str]:
    """The address at which a stand-in serves the page."""
    config = uvicorn.Config(app(shop, key), port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def shelf(page) -> list[str]:
    """The ids on the shelf, after the last request is answered."""
    page.wait_for_selector("#cards:not([aria-busy])")
    return page.eval_on_selector_all(".card", "cards => cards.map(card => card.dataset.id)")


def settled(page, before: list[str]) -> list[str]:
    """The ids on the shelf once they differ from `before`."""
    known = "known => String([...document.querySelectorAll('.card')].map(card => card.dataset.id)) !== String(known)"
    page.wait_for_function(known, arg=before)
    return shelf(page)


def search(page, query: str) -> None:
    """Search, and wait for results."""
    page.fill("#query", query)
    page.wait_for_selector("#results .row")


def screenshot(page, name: str) -> None:
    """Keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
