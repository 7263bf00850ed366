"""The page in headless Chromium, on a stand-in for the server: what one sees, the keyboard, hostile titles, the map."""

import re

import pytest

from tests.page.browsing import DESKTOP, PHONE, screenshot, search, settled, shelf
from tests.page.fake_shop import STATIC, FakeShop

HOSTILE = (
    "<img src=x onerror='window.hacked=1'>",
    "<script>window.hacked=2</script>",
    "\"><svg onload=window.hacked=3> 'quoted' &amp; {{7*7}} ${window.hacked=4}",
    "\u202egnirts desrever\u202c " + "long" * 60,
)
FRAME = 1000 / 60  # milliseconds


@pytest.fixture
def shop() -> FakeShop:
    return FakeShop()


@pytest.fixture
def address(serve, shop) -> str:
    return serve(shop)


def test_shelf_follows_what_is_clicked(visit, address, shop):
    page = visit(address)
    popular = shelf(page)
    assert "most popular" in page.inner_text("#shelf-note")
    search(page, "the lighthouse and the whale")
    page.click("#results .row:nth-child(1) .icon")
    first = settled(page, popular)
    own = page.inner_text("#history .row:nth-child(1) .link")
    assert "1 item" in page.inner_text("#shelf-note")
    assert page.inner_text("#results .row:nth-child(1) .link") == own
    assert page.get_attribute("#results .row:nth-child(1) .icon", "aria-pressed") == "true"

    page.click(".card:nth-child(2) .quiet")
    second = settled(page, first)
    assert first[1] not in second
    assert page.locator("#disliked .row").count() == 1
    page.click(".card:nth-child(1) .button")
    third = settled(page, second)
    path, request = shop.requests[-1]
    assert path == "/v1/recommend"
    assert request["disliked"] == [first[1]]
    assert request["history"][1:] == [second[0]]
    assert second[0] not in third
    assert re.search(r"\d ms server", page.inner_text("#latency"))
    page.reload()  # what was chosen is still there
    assert shelf(page) == third
    page.click("#clear")
    assert settled(page, third) == popular


def test_an_example_fills_the_history(visit, address):
    page = visit(address)
    before = shelf(page)
    page.click("#example")
    settled(page, before)
    assert page.locator("#history .row").count() == 3
    assert page.evaluate("document.activeElement.id") == "history-heading"


def test_sheet_says_why_and_what_is_similar(visit, address, shop):
    page = visit(address)
    before = shelf(page)
    search(page, "wizard and dragon")
    page.click("#results .row:nth-child(1) .icon")
    settled(page, before)
    assert page.locator(".card:nth-child(1) .stack i").count() > 1
    assert re.fullmatch(r".+ \d+ % · .+ \d+ %", page.inner_text(".card:nth-child(1) .reason"))
    title = page.inner_text(".card:nth-child(1) h3")
    page.click(".card:nth-child(1) h3 button")
    page.wait_for_selector("#details-similar > div:nth-child(3) .row")
    page.wait_for_selector("#details-why .bars")
    assert page.inner_text("#details-title") == title
    why = page.inner_text("#details-why")
    assert "Trained model" in why
    assert "\N{MINUS SIGN}4 %" in why  # a part that speaks against it
    assert page.inner_text("#history .row .link") in why
    asked = {query["by"] for path, query in shop.requests if path.startswith("/v1/similar/")}
    assert asked == {"text", "purchase", "model"}
    screenshot(page, "sheet")
    page.click("#details-similar .row .link >> nth=0")  # on to a similar item
    page.wait_for_function("title => document.getElementById('details-title').textContent !== title", arg=title)
    page.keyboard.press("Escape")
    assert not page.is_visible("#details")


def test_same_taste_in_another_shop(visit, address):
    page = visit(address)
    before = shelf(page)
    search(page, "soldier in a battle")
    page.click("#results .row:nth-child(1) .icon")
    books = settled(page, before)
    page.check("#shops input[value=films]")
    films = settled(page, books)
    assert all(item_id.startswith("film-") for item_id in films)
    assert "Items of films, ranked by the trained model" in page.inner_text("#shelf-note")
    page.click(".card:nth-child(1) .button")  # a film, from which books follow too
    settled(page, films)
    page.check("#shops input[value=books]")
    page.wait_for_function("() => document.querySelector('.card').dataset.id.startsWith('book-')")
    assert page.locator("#history .row").count() == 2


def test_an_added_item_is_ranked_and_can_be_removed(visit, address, shop):
    page = visit(address)
    before = shelf(page)
    search(page, "violin and orchestra")
    page.click("#results .row:nth-child(1) .icon")
    settled(page, before)
    page.click("#fill")
    page.wait_for_function("() => document.getElementById('add-title').value")
    page.click("#add-form [type=submit]")
    page.wait_for_selector("#added .badge")
    assert re.search(r"Rank \d+ for your history of 1 item\.", page.inner_text("#added"))
    added = shop.shops["books"][-1]
    page.wait_for_selector(f".card[data-id='{added['item_id']}'] .badge:visible")
    assert "451 items. The model is trained on films only" in page.inner_text("#facts")
    page.click("#added .quiet")
    page.wait_for_selector(f".card[data-id='{added['item_id']}']", state="detached")
    assert len(shop.shops["books"]) == 450


def test_titles_are_text_and_never_run(visit, serve):
    shop = FakeShop(HOSTILE)
    address = serve(shop)
    page = visit(address, viewport=PHONE)
    search(page, " ".join(HOSTILE))
    for number in range(len(HOSTILE)):
        page.locator("#results .row .icon[aria-pressed=false]").first.click()
        page.wait_for_function("n => document.querySelectorAll('#history .row').length === n", arg=number + 1)
    shown = page.locator("#results").inner_text()
    for title in HOSTILE[:3]:
        assert title in shown
    page.click("#history .row .link >> nth=0")
    page.wait_for_selector("#details-similar .row")
    page.wait_for_selector("#details-why .bars")
    assert page.inner_text("#details-title") in HOSTILE
    page.keyboard.press("Escape")
    page.click("#clear")
    page.wait_for_selector(".card .cover")
    page.hover("#canvas")
    assert page.evaluate("window.hacked") is None
    assert page.locator("body :is(img, svg:not([aria-hidden]), script)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    screenshot(page, "hostile-titles-phone")


def test_files_have_no_inline_code_and_build_no_markup():
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:|https?://", html)
    for file in STATIC.glob("*.js"):
        pattern = r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://|setAttribute\(\"style"
        assert not re.search(pattern, file.read_text()), file.name
    assert "http" not in (STATIC / "style.css").read_text()


def test_by_keyboard_alone(visit, address):
    page = visit(address)
    before = shelf(page)

    def focused(expression: str = "id"):
        return page.evaluate(f"document.activeElement.{expression}")

    def tab_to(selector: str, most: int = 40) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        raise AssertionError(f"no way to {selector}")

    page.keyboard.press("Tab")
    assert "Skip" in focused("textContent")
    tab_to("#query")
    page.keyboard.type("a detective and a murder")
    page.wait_for_selector("#results .row")
    page.keyboard.press("Tab")
    assert focused("textContent") == "Skip the results"
    tab_to("#results .icon")
    page.keyboard.press("Space")
    first = settled(page, before)
    page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Added: ')")
    assert focused("ariaPressed") == "true"  # the focus stays where it was
    tab_to(".card .quiet")
    page.keyboard.press("Enter")
    settled(page, first)
    assert page.evaluate("document.activeElement.closest('.card') !== null")  # on the next card
    tab_to(".card h3 button")
    title = focused("textContent")
    page.keyboard.press("Enter")
    assert focused() == "details-title"
    page.keyboard.press("Escape")
    assert focused("textContent") == title
    tab_to("#canvas", 80)
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('map-status').textContent.startsWith('In the middle: ')")
    middle = page.inner_text("#map-status").removeprefix("In the middle: ")
    page.keyboard.press("Enter")
    assert page.inner_text("#details-title") == middle
    page.keyboard.press("Escape")
    tab_to("#add-title")
    page.keyboard.type("The Keyboard")
    page.keyboard.press("Enter")
    page.wait_for_selector("#added .badge")


def test_a_search_that_finds_nothing_says_so(visit, address):
    page = visit(address)
    nothing = {"items": [], "unknown": [], "fallback": False, "milliseconds": 1}
    page.route("**/v1/search", lambda route: route.fulfill(json=nothing))
    page.fill("#query", "qqq")
    page.wait_for_selector("#results li")
    assert page.inner_text("#results") == (
        "Nothing found: no item has these words. Words that all items have do not count."
    )
    page.fill("#query", "")
    page.wait_for_selector("#results li", state="detached")


@pytest.mark.parametrize("width", [320, 390])
def test_phone_width_needs_no_sideways_scrolling(visit, address, width):
    page = visit(address, viewport={"width": width, "height": 740}, has_touch=True)
    before = shelf(page)
    search(page, "comet")
    page.click("#results .row:nth-child(1) .icon")
    settled(page, before)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".card h3 button >> nth=0")
    page.wait_for_selector("#details-similar .row")
    assert page.evaluate("document.getElementById('details').scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_map_of_twelve_thousand_items_moves_within_a_frame(visit, serve):
    address = serve(FakeShop(points=12_000))
    page = visit(address)
    search(page, "the lighthouse and the whale")
    page.wait_for_function("() => document.getElementById('map-facts').textContent.startsWith('12,000 ')")
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 200)
    page.mouse.down()
    for step in range(60):
        page.mouse.move(box["x"] + 400 + step, box["y"] + 200 + step / 2)
    page.mouse.up()
    for _ in range(30):
        page.click("#zoom-in", no_wait_after=True) if _ < 3 else page.mouse.move(box["x"] + 300 + _, box["y"] + 150)
    milliseconds = float(re.search(r"([\d.]+) ms per frame", page.inner_text("#map-facts"))[1])
    assert milliseconds < FRAME
    page.click("#zoom-all")
    screenshot(page, "map-12000")


def test_map_lights_up_what_is_found_and_names_what_is_hovered(visit, address):
    page = visit(address)
    page.wait_for_function("() => document.getElementById('map-facts').textContent.startsWith('450 ')")
    pixels = """() => {
      const colour = getComputedStyle(document.querySelector('.swatch.lit')).color.match(/\\d+/g).map(Number);
      const canvas = document.getElementById('canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let n = 0; n < data.length; n += 4) count += colour.every((value, c) => data[n + c] === value);
      return count;
    }"""
    page.wait_for_timeout(50)
    assert page.evaluate(pixels) == 0
    search(page, "chess and grandmaster")
    page.wait_for_timeout(100)
    assert page.evaluate(pixels) > 100
    box = page.locator("#canvas").bounding_box()
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    for step in range(0, 300, 3):
        page.mouse.move(box["x"] + box["width"] / 2 - 150 + step, box["y"] + box["height"] / 2)
        if page.is_visible("#tip"):
            break
    title = page.inner_text("#tip")
    assert title
    page.mouse.down()
    page.mouse.up()
    assert page.inner_text("#details-title") == title


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(visit, address, viewport, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(address, viewport=viewport, scheme=scheme)

    def check(where: str) -> None:
        violations = axe.Axe().run(page).response["violations"]
        serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations if v["impact"] in ("serious", "critical")]
        assert not serious, where

    check("at the start")
    before = shelf(page)
    search(page, "wedding")
    page.click("#results .row:nth-child(1) .icon")
    before = settled(page, before)
    page.click(".card .quiet >> nth=0")
    settled(page, before)
    page.fill("#add-title", "The New One")
    page.click("#add-form [type=submit]")
    page.wait_for_selector("#added .badge")
    check("in use")
    name = f"page-{'phone' if viewport is PHONE else 'desktop'}-{scheme}"
    screenshot(page, name)
    page.click(".card h3 button >> nth=0")
    page.wait_for_selector("#details-similar > div:nth-child(3) .row")
    page.wait_for_selector("#details-why .bars")
    check("with the sheet")


def test_theme_follows_the_system_until_it_is_chosen(visit, address):
    page = visit(address, scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert light != dark
    page.click("text=Dark theme")
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    assert page.inner_text("#theme") == "Light theme"


def test_error_of_the_server_is_shown(visit, address, shop):
    page = visit(address, expected="status of 503")
    page.check("#shops input[value=films]")
    page.wait_for_function("() => document.querySelector('.card').dataset.id.startsWith('film-')")
    page.route("**/v1/recommend", lambda route: route.fulfill(status=503, json={"error": {"message": "<b>busy</b>"}}))
    with page.expect_response("**/v1/recommend"):
        page.check("#shops input[value=books]")
    page.wait_for_selector("#alert")
    assert page.inner_text("#alert") == "<b>busy</b>"


def test_key_is_asked_for(visit, serve):
    address = serve(FakeShop(), key="secret")
    page = visit(address, cards=False, expected="status of 401")
    page.fill("#key-value", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
