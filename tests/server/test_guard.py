"""What applies to every request: key, host, limits, headers of security; the page and its files."""

import asyncio
import contextlib
import threading

import httpx
import pytest
from starlette.testclient import TestClient

from llmrec_jax.errors import UserError
from llmrec_jax.server import Limits, create_app
from llmrec_jax.server.bundles import Bundles
from llmrec_jax.server.listening import bound
from llmrec_jax.server.routes import OPERATIONS

KEY = "correct horse"


@pytest.fixture(scope="module")
def loaded(bundle):
    """Bundles that the apps of this file share, so that each is made at once."""
    return Bundles({"shop": bundle}, Limits(batch=1))


@pytest.fixture
def served(loaded, monkeypatch):
    """Makes an app with other settings."""
    monkeypatch.setattr("llmrec_jax.server.app.Bundles", lambda *_: loaded)

    @contextlib.contextmanager
    def serve(limits=Limits(), api_key=None, hosts=None):  # noqa: B008
        with TestClient(create_app({}, limits, api_key, hosts)) as client:
            yield client

    return serve


def test_a_key_is_asked_for(served):
    with served(api_key=KEY) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"},
                        {"authorization": "Bearer \xfcber".encode("latin-1")}):  # fmt: skip
            response = client.get("/v1/info", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1/info", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_only_the_own_names_are_answered(served):
    """A page whose name is made to point to 127.0.0.1 reaches the server under that name."""
    with served(hosts=["localhost", "127.0.0.1", "[::1]"]) as client:
        for host, status in [("evil.example", 400), ("localhost.evil.example:8000", 400), ("", 400),
                             ("localhost:8000", 200), ("127.0.0.1", 200), ("LocalHost", 200),
                             ("[::1]:8000", 200)]:  # fmt: skip
            assert client.get("/healthz", headers={"host": host}).status_code == status, host


def test_every_response_has_the_headers_of_security(served):
    with served(api_key=KEY) as client:
        for path in ("/", "/healthz", "/v1/info", "/nowhere", "/static/nothing"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "server" not in headers


def test_a_body_over_the_limit_is_refused(served):
    def chunks():
        for _ in range(3):
            yield b" " * 1000

    with served(Limits(body_bytes=2000)) as client:
        json = {"content-type": "application/json"}
        assert client.post("/v1/search", content=b" " * 2001, headers=json).status_code == 413
        assert client.post("/v1/search", content=chunks(), headers=json).status_code == 413
        assert client.post("/v1/search", json={"query": "story"}).status_code == 200


@pytest.fixture
def blocked(loaded, monkeypatch):
    """Makes recommending wait for an event."""
    event = threading.Event()
    recommender = loaded.get(None).recommender
    answer = recommender.recommend_many
    monkeypatch.setattr(recommender, "recommend_many", lambda *a, **k: event.wait(10) and answer(*a, **k))
    yield event
    event.set()


def test_too_many_requests_are_told_to_come_again(served, blocked):
    with served(Limits(concurrency=2)) as client:

        async def main():
            transport = httpx.ASGITransport(client.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                ask = lambda: http.post("/v1/recommend", json={"history": []})  # noqa: E731
                tasks = [asyncio.create_task(ask()) for _ in range(2)]
                await asyncio.sleep(0.05)
                refused, probe = await ask(), await http.get("/healthz")
                blocked.set()
                return refused, probe, await asyncio.gather(*tasks)

        refused, probe, answers = asyncio.run(main())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert probe.status_code == 200
        assert [answer.status_code for answer in answers] == [200, 200]
        assert client.post("/v1/recommend", json={"history": []}).status_code == 200


def test_a_request_that_takes_too_long_is_given_up(served, blocked):
    with served(Limits(timeout=0.1)) as client:
        response = client.post("/v1/recommend", json={"history": []})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "0.1 seconds" in response.json()["error"]["message"]
        blocked.set()


def test_a_bug_is_logged_and_not_told(served, loaded, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret of /etc/passwd")

    for name in ("recommend_many", "search"):
        monkeypatch.setattr(loaded.get(None).recommender, name, broken)
    with served() as client:
        for path, body in (("/v1/recommend", {"history": []}), ("/v1/search", {"query": "x"})):
            response = client.post(path, json=body)
            assert response.status_code == 500
            assert set(response.json()) == {"error"}
            assert "secret" not in response.text
        assert caplog.text.count("secret of /etc/passwd") >= 2
        assert 'route="/v1/search",status="500"} 1.0' in client.get("/metrics").text


def test_not_ready_before_the_start_and_after_the_end(served):
    with served() as client:
        pass
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_only_files_of_the_page_are_served(served, monkeypatch, tmp_path):
    (tmp_path / "static" / "icons").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<!doctype html>")
    (tmp_path / "static" / "app.js").write_text("let x")
    (tmp_path / "static" / "icons" / "a.svg").write_text("<svg/>")
    (tmp_path / "secret.py").write_text("secret")
    monkeypatch.setattr("llmrec_jax.server.pages.resources.files", lambda _: tmp_path)
    with served() as client:
        page = client.get("/")
        assert (page.text, page.headers["content-type"]) == ("<!doctype html>", "text/html; charset=utf-8")
        script = client.get("/static/app.js", headers={"range": "bytes=0-1"})
        assert (script.status_code, script.text) == (200, "let x")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert client.get("/static/icons/a.svg").headers["content-type"] == "image/svg+xml"
        assert client.get("/static/app.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304
        for path in ("/static/../secret.py", "/static/%2e%2e/secret.py", "/static/", "/static//etc/passwd"):
            assert client.get(path).status_code == 404, path


def test_operations_have_unique_routes():
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)


def test_a_port_in_use_is_told():
    with bound("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(UserError, match="cannot listen"):
            bound("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_does_not_exist_is_told(port):
    with pytest.raises(UserError, match=f"--port {port}: must be between 0 and 65535"):
        bound("127.0.0.1", port)
