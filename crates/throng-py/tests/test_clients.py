"""httpx and requests through the limiter, judged by the server's own count."""

import asyncio
import http.server
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests
import throng
import throng.httpx
import throng.requests
from conftest import Mock

Start = Callable[..., Mock]


def test_httpx_with_100_tasks_is_never_over(mock: Start) -> None:
    server = mock("--limit", "40/500ms", "--latency", "uniform:5ms:40ms")

    async def run() -> list[int]:
        transport = throng.httpx.Transport(throng.RateLimiter("40/500ms"))
        async with httpx.AsyncClient(transport=transport) as client:
            urls = [f"{server.url}?symbols=S{i}" for i in range(150)]
            return [r.status_code for r in await asyncio.gather(*map(client.get, urls))]

    assert asyncio.run(run()) == [200] * 150
    assert server.judge()["refused"] == 0 and 20 <= server.most() <= 40


def test_httpx_and_requests_in_threads_are_never_over(mock: Start) -> None:
    server = mock("--limit", "20/500ms")
    limiter = throng.RateLimiter("20/500ms")
    session = throng.requests.limited(requests.Session(), limiter)
    with httpx.Client(transport=throng.httpx.Transport(limiter)) as client:
        with ThreadPoolExecutor(20) as pool:
            urls = [f"{server.url}?symbols=S{i}" for i in range(40)]
            statuses = [r.status_code for r in pool.map(client.get, urls)]
            statuses += [r.status_code for r in pool.map(session.get, urls)]
    assert statuses == [200] * 80
    assert server.judge()["refused"] == 0 and server.most() <= 20


@pytest.fixture
def script() -> Iterator[tuple[str, list[str]]]:
    """A server that redirects, refuses, fails and closes, and notes what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            times = asked.count(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers = 200, {}
            if self.path == "/there":
                status, headers = 302, {"location": "/here"}
            elif self.path == "/refuses" and times == 1:
                status, headers = 429, {"retry-after": "0.3"}
            elif self.path == "/fails" and times < 3:
                status = 503
            elif self.path == "/closes" and times == 1:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "content-length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


CASES = {
    "GET /there": (200, 2),
    "GET /refuses": (200, 2),
    "POST /refuses": (200, 2),
    "GET /fails": (200, 3),
    "POST /fails": (503, 1),
    "GET /closes": (200, 2),
    "POST /closes": (None, 1),
}


def taken(limiter: throng.RateLimiter) -> int:
    return int(limiter.snapshot()["limits"][0]["most"])


@pytest.mark.parametrize("client", ["httpx", "httpx-async", "requests"])
def test_each_retry_and_redirect_takes_a_permit(
    client: str, script: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("throng._retry.backoff", lambda attempt: 0.0)
    url, asked = script
    for case, (status, sent) in CASES.items():
        limiter = throng.RateLimiter("1000/1h")
        asked.clear()
        method, path = case.split()
        found = ask(client, limiter, method, url + path)
        assert (found, len(asked), taken(limiter)) == (status, sent, sent), (case, asked)


def ask(client: str, limiter: throng.RateLimiter, method: str, url: str) -> int | None:
    body = b"{}" if method == "POST" else None
    try:
        if client == "requests":
            session = throng.requests.limited(requests.Session(), limiter)
            return session.request(method, url, data=body).status_code
        transport = throng.httpx.Transport(limiter)
        if client == "httpx":
            with httpx.Client(transport=transport, follow_redirects=True) as one:
                return one.request(method, url, content=body).status_code

        async def run() -> int:
            async with httpx.AsyncClient(transport=transport, follow_redirects=True) as one:
                return (await one.request(method, url, content=body)).status_code

        return asyncio.run(run())
    except (requests.ConnectionError, httpx.TransportError):
        return None


@pytest.mark.parametrize("client", ["httpx", "httpx-async", "requests"])
def test_nothing_is_sent_with_a_permit_that_is_too_old(
    client: str, script: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    permits, sent = [], throng.Permit.sent

    def first_is_too_old(permit: throng.Permit) -> None:
        permits.append(permit)
        if len(permits) == 1:
            permit.cancel()
            raise throng.PermitExpired
        sent(permit)

    monkeypatch.setattr(throng.Permit, "sent", first_is_too_old)
    limiter = throng.RateLimiter("1/1h")
    url, asked = script
    assert ask(client, limiter, "GET", url + "/") == 200
    assert (len(permits), len(asked), taken(limiter)) == (2, 1, 1)


@pytest.mark.parametrize("client", ["httpx", "httpx-async", "requests"])
def test_what_was_not_sent_gives_its_permit_back(client: str) -> None:
    limiter = throng.RateLimiter("1/1h")
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("throng._retry.backoff", lambda attempt: 0.0)
            assert ask(client, limiter, "GET", "http://127.0.0.1:9/") is None
    assert limiter.try_acquire()


def test_one_transport_serves_both_kinds_of_client(mock: Start) -> None:
    url = f"{mock().url}?symbols=A"
    limiter = throng.RateLimiter("100/1h")
    transport = throng.httpx.Transport(limiter)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport) as client:
            return (await client.get(url)).status_code

    with httpx.Client(transport=transport) as client:
        assert (client.get(url).status_code, asyncio.run(ask())) == (200, 200)
        assert client.get(url).status_code == 200
    assert taken(limiter) == 3
    for wrong in (throng.httpx.Transport, lambda it: throng.requests.limited(requests.Session(), it)):
        with pytest.raises(TypeError, match="limiter is '3/1s': give a throng.RateLimiter"):
            wrong("3/1s")  # type: ignore[arg-type]


def test_a_permit_is_settled_by_the_answer(mock: Start) -> None:
    server = mock()
    limiter = throng.RateLimiter("100/1h", "1000 tokens/1h")
    transport = throng.httpx.Transport(limiter, cost=lambda request: {"tokens": 900})
    with httpx.Client(transport=transport) as client:
        r = client.get(f"{server.url}?symbols=A")
        r.extensions["permit"].settle(tokens=50)
        client.get(f"{server.url}?symbols=A")
    session = throng.requests.limited(
        requests.Session(), limiter, cost=lambda request: {"tokens": 50}
    )
    session.get(f"{server.url}?symbols=A").permit.settle(tokens=100)  # type: ignore[attr-defined]
    assert limiter.try_acquire(tokens=1) is None


def test_the_requests_in_flight_end_with_their_bodies(mock: Start) -> None:
    server = mock()
    limiter = throng.RateLimiter(in_flight=1)
    with httpx.Client(transport=throng.httpx.Transport(limiter)) as client:
        for _ in range(3):
            assert client.get(f"{server.url}?symbols=A").status_code == 200
        with client.stream("GET", f"{server.url}?symbols=A") as r:
            assert limiter.try_acquire() is None
            r.read()
    session = throng.requests.limited(requests.Session(), limiter)
    kept = [session.get(f"{server.url}?symbols=A") for _ in range(3)]
    assert [r.status_code for r in kept] == [200] * 3
