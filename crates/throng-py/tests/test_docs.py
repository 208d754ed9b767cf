"""Every example of docs/python.md runs, one after the other as on the page."""

import ast
import asyncio
import http.server
import inspect
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import polars as pl
import pytest
import throng
from conftest import ROOT


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = {"item": {"price": 7.5}, "tags": ["a", "b"], "state": "done",
                "usage": {"total_tokens": 612}}  # fmt: skip
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Database:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    async def insert(self, record: dict[str, Any]) -> None:
        self.records.append(record)


def test_every_example_of_the_page_runs(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret of ours")
    pl.DataFrame({"id": range(20)}).write_csv("ids.csv")
    page = (ROOT / "docs/python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(examples) >= 7
    database = Database()
    names: dict[str, Any] = {
        "rows": pl.read_csv("ids.csv"), "db": database, "ids": range(20), "asyncio": asyncio,
        "httpx": httpx, "throng": throng, "url": api, "body": {}, "client": httpx.AsyncClient(),
    }  # fmt: skip
    for example in examples:
        # The second output of the page is of another job.
        code = example.replace("https://api.example", api).replace("300/1m", "3000/1m")
        code = code.replace('"prices.jsonl", resume=True)\nprint(run.to', '"p2.jsonl")\nprint(run.to')
        compiled = compile(code, "python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names["client"] = httpx.AsyncClient()
        done = eval(compiled, names)
        if inspect.iscoroutine(done):
            asyncio.run(done)
    assert len(database.records) == 20 and names["run"].summary.ok == 20
    assert all(r.status_code == 200 for r in names["items"])
