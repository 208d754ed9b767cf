"""Records as they come, and the two hooks."""

import asyncio
import csv
import gc
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import throng
from conftest import NAME, PRICE, Mock, symbols

Start = Callable[..., Mock]


def job_of(server: Mock, **more: Any) -> throng.Job:
    return throng.Job(url=server.quote(), extract={"price": PRICE, "name?": NAME}, **more)


async def collect(stream: throng.Stream) -> list[dict[str, Any]]:
    return [record async for record in stream]


async def async_rows(number: int) -> AsyncIterator[dict[str, Any]]:
    for row in symbols(number):
        yield row
        if row["symbol"].endswith("7"):
            await asyncio.sleep(0.001)


def test_records_come_by_for_and_async_for(mock: Start) -> None:
    server = mock()
    job = job_of(server)
    rows = symbols(300)
    pl.DataFrame(rows).write_csv("rows.csv")
    for given in (lambda: rows, lambda: iter(rows), lambda: "rows.csv", lambda: pl.DataFrame(rows)):
        records = list(job.stream(given()))
        assert sorted(r["_row"] for r in records) == list(range(300)) and all(
            r["_ok"] and r["name"] == f"{r['symbol']} Inc." for r in records
        )
        records = asyncio.run(collect(job.stream(given())))
        assert len(records) == 300
    assert len(asyncio.run(collect(job.stream(async_rows(300))))) == 300
    (names,) = {tuple(record) for record in job.stream(symbols(1))}
    assert names == ("symbol", "price", "name", "_row", "_ok", "_status", "_error", "_detail",
                     "_attempts", "_ms")  # fmt: skip


def test_a_stream_has_its_summary_at_the_end(mock: Start) -> None:
    stream = job_of(mock(), summary={"n": "count(price)"}).stream(symbols(20))
    with pytest.raises(RuntimeError, match="once the last record was taken"):
        stream.summary
    assert len(list(stream)) == 20
    assert (stream.summary.ok, stream.summary["n"]) == (20, 20)


def test_rows_are_taken_as_they_are_needed(mock: Start) -> None:
    server = mock("--latency", "1ms")
    taken = itertools.count()
    last = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal last
        for number in taken:
            last = number
            yield {"symbol": f"S{number}"}

    with job_of(server, workers=1, concurrency=4).stream(endless()) as stream:
        first = list(itertools.islice(stream, 50))
    assert len(first) == 50 and last < 5_000
    assert server.judge()["requests"] < 5_000


def test_a_row_need_not_wait_for_the_next_one(mock: Start) -> None:
    rows: queue.Queue[dict[str, Any]] = queue.Queue()
    stream = job_of(mock()).stream(iter(rows.get, None))
    for number in range(5):
        rows.put({"symbol": f"S{number}"})
        assert next(stream)["symbol"] == f"S{number}"
    rows.put(None)  # type: ignore[arg-type]
    assert list(stream) == []


def test_an_error_of_the_rows_is_raised(mock: Start) -> None:
    def wrong() -> Iterator[dict[str, Any]]:
        yield from symbols(10)
        raise ValueError("no more")

    async def wrong_too() -> AsyncIterator[dict[str, Any]]:
        for row in symbols(10):
            yield row
        raise ValueError("no more")

    job = job_of(mock())
    with pytest.raises(ValueError, match="no more"):
        list(job.stream(wrong()))
    with pytest.raises(ValueError, match="no more"):
        asyncio.run(collect(job.stream(wrong_too())))
    with pytest.raises(TypeError, match="row 0 is int"):
        list(job.stream([7]))
    with pytest.raises(TypeError, match="use `async for`"):
        list(job.stream(async_rows(3)))


def test_a_stream_that_is_left_ends_its_run(mock: Start) -> None:
    server = mock("--limit", "50/1s")
    before = threading.active_count()
    for record in job_of(server, rate="50/1s").stream(symbols(100_000)):
        assert record["_ok"]
        break
    gc.collect()

    async def leave() -> None:
        async for _ in job_of(server, rate="50/1s", account="other").stream(async_rows(100_000)):
            break
        gc.collect()

    asyncio.run(leave())
    gc.collect()
    assert server.judge()["requests"] <= 200
    assert threading.active_count() <= before


def test_a_task_that_is_cancelled_ends_its_run(mock: Start) -> None:
    server = mock("--latency", "20s")

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(collect(job_of(server).stream(symbols(10))), 0.3)

    asyncio.run(wait())


def test_a_stream_can_have_a_file_and_go_on(mock: Start) -> None:
    server = mock()
    rows = pl.DataFrame(symbols(40))
    job = job_of(server)
    stream = job.stream(rows, "out.jsonl")
    for _ in itertools.islice(stream, 5):
        pass
    stream.close()
    rest = list(job.stream(rows, "out.jsonl", resume=True))
    assert len(Path("out.jsonl").read_text().splitlines()) == 40 and len(rest) <= 40
    assert repr(stream).endswith("failed, over>")
    # A file that another run is writing is named at once.
    with job.stream(iter(rows.to_dicts() * 500), "other.jsonl") as stream:
        next(stream)
        with pytest.raises(throng.PlanError, match="other.jsonl is in use: process"):
            list(job.stream(rows, "other.jsonl", resume="changed"))
    assert len(list(job.stream(rows, "other.jsonl", resume="changed"))) <= 40


def test_many_streams_share_an_event_loop(mock: Start) -> None:
    server = mock()
    # A period that holds the whole test, however slow the machine is.
    limiter = throng.RateLimiter("400/1h")

    async def all_of_them() -> list[list[dict[str, Any]]]:
        job = job_of(server, limiter=limiter)
        return await asyncio.gather(*(collect(job.stream(async_rows(30))) for _ in range(5)))

    assert [len(records) for records in asyncio.run(all_of_them())] == [30] * 5
    assert limiter.snapshot()["limits"][0]["most"] == 150


def test_hooks_make_requests_and_values(mock: Start) -> None:
    server = mock()
    job = throng.Job(url=server.host, rate="1000/1s", summary={"most": "max(n)"})

    @job.request
    def request(row: dict[str, Any]) -> throng.Request:
        return throng.Request(f"/v6/finance/quote/?symbols={row['symbol']}")

    @job.process
    def process(row: dict[str, Any], answer: throng.Answer) -> dict[str, Any]:
        assert answer.status == 200 and answer.url.endswith(row["symbol"])
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.text.encode() == answer.body
        if row["symbol"] == "S3":
            raise ValueError("not this one")
        return {"n": len(answer.json()["quoteResponse"]["result"]), "row": row["symbol"]}

    run = job.run(symbols(100), "out.jsonl")
    assert (run.summary.ok, run.summary.failed) == (99, 1)
    assert run.summary.failures == {"hook failed": 1} and run.summary["most"] == 1
    (failed,) = run.failures
    line = process.__code__.co_firstlineno + 6
    assert failed["_detail"] == f"ValueError: not this one (line {line}, in process)"
    assert all(record["n"] == 1 for record in run if record["_ok"])
    assert len([r for r in job.stream(symbols(100)) if r["_ok"]]) == 99
    assert server.judge()["requests"] == 200
    again = job.run(symbols(100), "out.jsonl", resume=True)
    assert again.summary.skipped == 100


def test_a_hook_may_give_a_url_a_body_and_another_attempt(mock: Start) -> None:
    server = mock()
    tried: dict[str, int] = {}
    job = throng.Job(url=server.host, retries=2)

    @job.request
    def request(row: dict[str, Any]) -> str:
        return f"{server.url}?symbols={row['symbol']}"

    @job.process(values=["tries"])
    def process(row: dict[str, Any], answer: throng.Answer) -> dict[str, Any]:
        symbol = row["symbol"]
        tried[symbol] = tried.get(symbol, 0) + 1
        if tried[symbol] < (3 if symbol == "S1" else 9 if symbol == "S2" else 1):
            raise throng.Retry("not there yet", after=0.01)
        return {"tries": tried[symbol]}

    run = job.run(symbols(3), "out.csv")
    with open("out.csv") as file:
        rows = {row["symbol"]: row for row in csv.DictReader(file)}
    assert (rows["S0"]["tries"], rows["S1"]["tries"]) == ("1", "3")
    assert rows["S2"]["_error"] == "hook failed" and rows["S2"]["_attempts"] == "3"
    assert run.summary.failed == 1


def test_a_request_of_a_hook_has_a_body_headers_and_a_cost() -> None:
    assert throng.Request("u", json={"a": "ü"})._parts() == (
        "POST", "u", [("content-type", "application/json")], '{"a": "ü"}'.encode(), []
    )  # fmt: skip
    request = throng.Request("u", method="PUT", headers={"a": "b"}, body="x", cost={"tokens": 2})
    assert request._parts() == ("PUT", "u", [("a", "b")], b"x", [("tokens", 2)])


def test_a_wrong_hook_fails_its_rows_or_is_refused(mock: Start) -> None:
    server = mock()
    job = throng.Job(url=server.host)
    requests: list[tuple[Any, str]] = [
        (7, "the hook gave int"), ("/a b", "/a b"), (throng.Request("/", "G T"), "")
    ]  # fmt: skip
    for result, why in requests:
        job.request(lambda row: result)
        (record,) = job.stream(symbols(1))
        assert record["_error"] == "input" and why in record["_detail"], record
    job = throng.Job(url=server.quote())
    wrong: list[tuple[Any, str]] = [
        ([1], "values are a dict"), ({"a": b""}, "bytes is no value"),
        ({"_row": 1}, "a name of throng's own"),
    ]  # fmt: skip
    for values, why in wrong:
        job.process(lambda row, answer: values)
        (record,) = job.stream(symbols(1))
        assert record["_error"] == "hook failed" and why in record["_detail"], record

    async def hook(row: dict[str, Any]) -> str:
        return ""

    with pytest.raises(TypeError, match="hook is async: a hook is a plain function"):
        job.request(hook)  # type: ignore[arg-type]
    with pytest.raises(throng.PlanError, match="a hook makes the values of the answers"):
        job = job_of(server)
        job.process(lambda row, answer: {})
        job.run(symbols(1))
