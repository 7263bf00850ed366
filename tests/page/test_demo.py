"""`llmrec demo`: trains once, serves the page to this machine, and the page works on the real server."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import urllib.request
import webbrowser

import pytest

from llmrec_jax import cli, recipes
from llmrec_jax import config as config_lib
from llmrec_jax.config import AdaptConfig
from tests.conftest import REPO
from tests.page.browsing import screenshot, search, settled, shelf

COMMAND = sys.modules["llmrec_jax.cli.demo"]  # `cli.demo` is the function

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The work folder of a demo that took a single step."""
    folder, cache = tmp_path_factory.mktemp("demo") / "run", tmp_path_factory.mktemp("cache")
    config = config_lib.load(recipes.find("demo"))
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, cache_dir=str(cache)),
        encoder=dataclasses.replace(config.encoder, num_layers=1, width=16, num_heads=2),  # quick to compile
        model=dataclasses.replace(config.model, width=16, user_tower="mean"),
        adapt=AdaptConfig(),
        train=dataclasses.replace(config.train, steps=1, batch_size=8),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(COMMAND, "configuration", lambda: config)
        assert cli.main(["demo", "--workdir", str(folder), "--no-serve"]) == 0
    return folder


@pytest.fixture(scope="module")
def address(workdir):
    """The address that `llmrec demo` prints; it ends at a Ctrl-C."""
    command = [sys.executable, "-m", "llmrec_jax", "demo", "--workdir", str(workdir), "--port", "0"]
    with subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert "using the model in" in process.stderr.readline()
        found = re.search(r"the page is at (http://127\.0\.0\.1:\d+); Ctrl-C stops it", process.stderr.readline())
        assert found
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_second_demo_uses_the_same_model(workdir, monkeypatch, capsys):
    monkeypatch.setattr(COMMAND, "run", lambda *_, **__: pytest.fail("trained again"))
    assert cli.main(["demo", "--workdir", str(workdir), "--no-serve"]) == 0
    assert f"using the model in {workdir}" in capsys.readouterr().err


def test_taken_port_is_said_before_the_training(address, tmp_path, capsys):
    port = address.rpartition(":")[2]
    assert cli.main(["demo", "--workdir", str(tmp_path), "--port", port]) == 2
    assert f"port {port}" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_browser_is_opened_only_if_asked(workdir, monkeypatch):
    from llmrec_jax import server
    from llmrec_jax.server import listening

    opened = list[str]()
    monkeypatch.setattr(server, "create_app", lambda bundles, hosts: None)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(listening, "run", lambda app, socket, timeout, started: started("http://127.0.0.1:1"))
    arguments = ["demo", "--workdir", str(workdir), "--port", "0"]
    assert cli.main(arguments) == 0
    assert not opened
    assert cli.main([*arguments, "--open"]) == 0
    assert opened == ["http://127.0.0.1:1"]


def test_page_is_served_with_a_strict_policy(address):
    with urllib.request.urlopen(address) as response:
        policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_page_works_on_the_real_server(visit, address):
    page = visit(address)
    before = shelf(page)
    assert re.search(r"\d+\.90", page.inner_text(".card >> nth=0"))  # a price
    search(page, "a lighthouse, a captain and a storm")
    page.click("#results .row:nth-child(1) .icon")
    first = settled(page, before)
    page.click(".card:nth-child(1) .quiet")
    second = settled(page, first)
    assert first[0] not in second
    page.wait_for_function("() => document.getElementById('map-facts').textContent.startsWith('450 ')")

    page.click(".card:nth-child(1) h3 button")
    for column in (1, 3):  # a new model may know no pair for the second, by purchases
        page.wait_for_selector(f"#details-similar > div:nth-child({column}) .row")
    page.wait_for_selector("#details-why .bars")
    assert page.inner_text("#details-why").count("%") > 5
    page.keyboard.press("Escape")

    page.check("#shops input[value=films]")
    films = settled(page, second)
    assert all(item_id.startswith("film-") for item_id in films)
    page.click(".card:nth-child(1) .button")
    settled(page, films)
    page.check("#shops input[value=books]")
    page.wait_for_function("() => document.querySelector('.card').dataset.id.startsWith('book-')")

    page.click("#fill")
    page.wait_for_function("() => document.getElementById('add-title').value")
    page.click("#add-form [type=submit]")
    page.wait_for_selector("#added .badge")
    page.wait_for_function("() => document.getElementById('map-facts').textContent.startsWith('451 ')")
    page.click("#added .quiet")
    page.wait_for_function("() => document.getElementById('map-facts').textContent.startsWith('450 ')")
    screenshot(page, "demo")
