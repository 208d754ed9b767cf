"""Jobs: keywords, plans, runs, and their records in every kind of table."""

import collections
import dataclasses
import datetime
import decimal
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import throng
from conftest import NAME, PRICE, ROOT, Mock, symbols

Start = Callable[..., Mock]


def job_of(server: Mock, **more: Any) -> throng.Job:
    extract = {"price": PRICE, "name?": NAME}
    return throng.Job(url=server.quote(), extract=extract, **more)


def test_the_example_of_the_page(mock: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb
    import pandas
    import polars as pl
    import pyarrow

    server = mock("--api-key", "secret of ours")
    monkeypatch.setenv("API_TOKEN", "secret of ours")
    pl.DataFrame({"id": [f"S{i}" for i in range(30)] + ["--"]}).write_csv("ids.csv")
    job = throng.Job(
        url=server.quote("{{ id }}"),
        headers={"x-api-key": throng.env("API_TOKEN")},
        rate=["300/1m", "10000/1d"],
        extract={"price": PRICE, "note?": ".item.note"},
        summary={"mean_price": "mean(price)"},
    )
    plan = job.plan(pl.read_csv("ids.csv"))
    assert plan.rows == 31 and plan.least_time is not None
    assert "300/1m and 10000/1d" in str(plan) and "secret of ours" not in str(plan)
    assert repr(plan).startswith("<throng.Plan: rows 31, least time ")
    assert server.judge()["requests"] == 0

    run = job.run(pl.scan_csv("ids.csv"), output="prices.jsonl", resume=True)
    frames = [
        run.to_polars().to_dicts(),
        pl.DataFrame(run).to_dicts(),
        pyarrow.table(run).to_pylist(),
        pandas.DataFrame.from_arrow(run).to_dict("records"),
        run.to_pandas().to_dict("records"),
        duckdb.query("select * from run").pl().to_dicts(),  # type: ignore[union-attr]
    ]
    lines = [json.loads(line) for line in open("prices.jsonl")]
    for frame in frames:
        assert [row["id"] for row in frame] == [line["id"] for line in lines]
        assert sum(row["_ok"] for row in frame) == run.summary.ok
    assert [record["price"] for record in run] == [line["price"] for line in lines]
    assert run.summary.ok + run.summary.failed == 31 and [*run.summary.items()][0][0] == "mean_price"
    assert 0 < (run.summary.bound_share or 0) <= 1 and run.summary["mean_price"] > 0
    assert len(run.failures.to_pandas()) == run.summary.failed
    assert "secret of ours" not in Path("prices.jsonl").read_text()


def test_rows_are_any_table_or_iterable(mock: Start, tmp_path: Path) -> None:
    import duckdb
    import pandas
    import polars as pl
    import pyarrow

    @dataclasses.dataclass
    class Item:
        symbol: str

    Named = collections.namedtuple("Named", "symbol")
    server = mock()
    job = job_of(server)
    rows = symbols(3)
    frame = pl.DataFrame(rows)
    frame.write_parquet("rows.parquet")
    frame.write_csv("rows.csv")
    table = frame.to_arrow()
    for given in (
        rows,
        iter(rows),
        (row for row in rows),
        [Item(row["symbol"]) for row in rows],
        [Named(row["symbol"]) for row in rows],
        "rows.csv",
        Path("rows.parquet"),
        frame,
        frame.lazy(),
        pandas.DataFrame(rows),
        table,
        table.to_reader(),
        duckdb.query("select * from frame"),
    ):
        run = job.run(given)
        found = sorted((row["symbol"], row["name"]) for row in run)
        assert found == [(f"S{i}", f"S{i} Inc.") for i in range(3)], given
    job = throng.Job(url=server.quote("{{ line }}"), extract={"name": NAME})
    assert sorted(row["name"] for row in job.run(["A", "B"])) == ["A Inc.", "B Inc."]
    assert [row["symbol"] for row in job_of(server).run(frame["symbol"].head(1))] == ["S0"]
    assert [row["symbol"] for row in job_of(server).run(frame.to_pandas()["symbol"][:1])] == ["S0"]

    async def later() -> AsyncIterator[dict[str, Any]]:
        yield rows[0]

    with pytest.raises(TypeError, match="async for record in job.stream"):
        job.run(later())
    for wrong in (7, {"symbol": "A"}, [7], b"rows.csv"):
        with pytest.raises(TypeError, match="row"):
            job.run(wrong)


def test_whole_numbers_of_pandas_are_whole_where_one_is_missing() -> None:
    import pandas

    frame = pandas.DataFrame({"id": [7, None], "share": [0.5, 2.0]})
    job = throng.Job(url="http://127.0.0.1:9/{{ id or '' }}/{{ share }}")
    for rows, request in ((frame, "GET http://127.0.0.1:9/7/0.5"), (frame.head(1), "/7/0.5")):
        assert request in str(job.plan(rows))
    assert list(frame["id"])[0] == 7.0 and frame["id"].dtype.kind == "f", "it is the caller's"


def test_values_of_rows_are_kept_as_they_are(mock: Start) -> None:
    server = mock()
    row = {
        "symbol": "A",
        "day": datetime.date(2026, 11, 27),
        "amount": decimal.Decimal("1.10"),
        "number": 12345678901234567,
        "nan": float("nan"),
        "nested": {"a": [1, None, "ü"]},
        "file": Path("x"),
    }
    (record,) = job_of(server).run([row])
    assert record["day"] == "2026-11-27" and record["amount"] == "1.10"
    assert record["number"] == 12345678901234567 and record["nan"] is None
    assert record["nested"] == {"a": [1, None, "ü"]} and record["file"] == "x"
    with pytest.raises(TypeError, match="row 1: bytes is no value of a row"):
        job_of(server).run([row, {"symbol": b"A"}])


def test_a_mistake_is_a_sentence() -> None:
    rows = symbols(2)
    url = "http://127.0.0.1:9/{{ symbol }}"
    for keywords, why in (
        ({"ulr": url}, "unknown keyword `ulr`; did you mean `url`?"),
        ({"url": url, "rate": "fast"}, 'the job, rate: "fast" is not a rate'),
        ({"url": url, "limit": {"rates": "1/1s"}}, "limit.rates: unknown field `rates`"),
        ({"url": url, "send": {"timeout": "soon"}}, 'a number of seconds, or a text such as "30s"'),
        ({"url": url, "timeout": -1}, "timeout is -1: give a time of 0 s or more"),
        ({"url": url, "max_wait": float("nan")}, "max_wait is nan: give a time of 0 s or more"),
        ({"url": url, "headers": [("a", "b")]}, "headers: invalid type: sequence, expected a dict"),
        ({"url": url, "retry": 3}, "retry: invalid type: integer `3`, expected a dict"),
        ({"url": url, "guard": 7}, "guard: invalid type: integer `7`, expected a text"),
        ({"url": url, "step": {"request": {}}}, "there may be several of these: give a list of dicts"),
        ({"url": url, "cost": {"tokens": True}}, "the cost in tokens is a number, or an expression"),
        ({"url": url, "settle": {"tokens": 5}}, "settle.tokens: invalid type: integer `5`, expected a text"),
        ({"url": url, "json": {"a": [b""]}}, "json.a[0] is bytes: give a text, a number, a dict"),
        ({"url": url, "json": {"a": float("inf")}}, "json.a is inf, which no job can say"),
        ({"url": url, "budget": 5}, 'such as price={"requests": 0.002}'),
        ({"url": url + "{{ symbool }}"}, 'the input has no field "symbool"; did you mean "symbol"?'),
        ({"url": url, "extract": {"a": ".a["}}, "extract"),
        ({"url": url, "headers": {"a": throng.env("NOT_SET")}}, "NOT_SET"),
        ({}, "no URL: give url, such as"),
        ({"url": url, "in_flight": 0}, "in_flight is 0: nothing would be sent"),
    ):
        with pytest.raises(throng.PlanError) as error:
            throng.Job(**keywords).plan(rows)
        assert why in str(error.value) and "/throng-" not in str(error.value), error.value
        assert "--" not in str(error.value), error.value
    with pytest.raises(throng.PlanError, match="there is no input: give rows, or a file as input"):
        throng.Job(url=url).run()
    with pytest.raises(TypeError, match="limiter is '3/1s': give a throng.RateLimiter"):
        throng.Job(url=url, limiter="3/1s")  # type: ignore[arg-type]
    with pytest.raises(throng.PlanError, match="give output="):
        throng.Job(url=url).run(rows, resume=True)


def test_numbers_of_numpy_and_dates_are_values_of_a_job() -> None:
    import numpy

    # As a notebook has them, whose types nobody checks.
    numbers: dict[str, Any] = {"timeout": numpy.int64(3), "retries": numpy.int64(2)}
    body = {"day": datetime.date(2026, 11, 28), "n": numpy.float32(0.5)}
    plan = throng.Job(url="http://127.0.0.1:9/", json=body, **numbers).plan(
        [{"vector": numpy.array([1.0, float("nan")])}]
    )
    assert '{"day":"2026-11-28","n":0.5}' in str(plan)
    plan = throng.Job(url="http://127.0.0.1:9/", rate="900 tokens/1m", cost={"tokens": 30}).plan(["a"])
    assert plan.cost == {"tokens": 30}


def test_every_section_of_a_job_file_is_a_keyword() -> None:
    rust = (ROOT / "src/plan/job.rs").read_text().split("pub struct Job {")[1].split("\n}")[0]
    fields = re.findall(r"^    pub(?:\(crate\))? (\w+):", rust, re.MULTILINE)
    from throng.job import _SECTIONS

    # What was applied of a profile, for editors, and where a job's text comes from are no settings.
    assert set(fields) - {"profile", "price_source", "schema", "sandboxed"} == set(_SECTIONS)


def test_keywords_are_keys_of_sections() -> None:
    from throng.job import tree

    assert tree(
        {
            "url": "u", "timeout": 2.5, "rate": "1/1s", "in_flight": 3, "retries": 1,
            "output": Path("o.csv"), "workers": 2, "take": 5, "insecure": True, "batch": {"size": 9},
            "limit": {"guard": "sent", "spacing": datetime.timedelta(milliseconds=20)},
            "retry": {"max_wait": 60}, "no_headers": ["all"], "query": {"a_b": 1}, "data": None,
        }
    ) == {
        "request": {"url": "u", "query": {"a_b": 1}},
        "send": {"timeout": "2500000us"},
        "limit": {"guard": "sent", "spacing": "20000us", "rate": "1/1s", "in-flight": 3},
        "retry": {"max-wait": "60000000us", "retries": 1},
        "output": {"file": "o.csv"},
        "workers": {"count": 2},
        "input": {"take": 5},
        "tls": {"insecure": True},
        "batch": {"size": 9},
        "no-headers": ["all"],
    }  # fmt: skip


def test_a_job_file_is_read(mock: Start) -> None:
    server = mock()
    Path("job.toml").write_text(
        f'[request]\nurl = "{server.quote()}"\n[extract]\nname = "{NAME}"\n[limit]\nrate = "9/1m"'
    )
    job = throng.Job.read("job.toml", rate="1000/1s")
    assert "1000/1s" in str(job.plan(symbols(2)))
    assert len(job.run(symbols(2))) == 2
    with pytest.raises(throng.PlanError, match="can't be read"):
        throng.Job.read("none.toml")
    Path("wrong.toml").write_text("[limits]")
    with pytest.raises(throng.PlanError, match="wrong.toml, line 1: unknown field `limits`"):
        throng.Job.read("wrong.toml")


def test_failures_do_not_raise_unless_asked(mock: Start) -> None:
    server = mock("--fault", "missing=50%", "--seed", "3")
    run = job_of(server).run(symbols(40))
    assert 0 < run.summary.failed < 40
    assert run.summary.failures == {"missing price": run.summary.failed}
    failures = run.failures
    assert len(failures) == len(list(failures)) == len(failures.to_polars()) == run.summary.failed
    with pytest.raises(throng.RowsFailed, match=r"of 40 rows failed: missing price \(") as failed:
        run.raise_for_failures()
    first = min(failures, key=lambda record: record["_row"])
    assert f"The first is row {first['_row']} ({first['symbol']}): {first['_detail'][:20]}" in str(
        failed.value
    )
    run = job_of(mock()).run(symbols(2))
    run.raise_for_failures()
    # Without failures their table has its columns.
    none = run.failures.to_polars()
    assert none.shape[0] == 0 and none.columns == run.to_polars().columns
    assert none.filter(none["_error"] == "timeout").is_empty()


def test_a_run_is_resumed_and_overwritten(mock: Start) -> None:
    server = mock()
    job = job_of(server)
    rows = symbols(5)
    assert len(job.run(rows, "out.jsonl")) == 5
    with pytest.raises(throng.OutputExists, match="out.jsonl has 5 rows already: resume=True goes"):
        job.run(rows, "out.jsonl")
    again = job.run(rows, "out.jsonl", resume=True)
    assert (again.summary.rows, again.summary.skipped) == (5, 5)
    assert server.judge()["requests"] == 5
    other = job_of(server, headers={"x-other": "1"})
    with pytest.raises(throng.ResumeMismatch, match="resume=\"changed\" keeps them"):
        other.run(rows, "out.jsonl", resume=True)
    assert other.run(rows, "out.jsonl", resume="changed").summary.skipped == 5
    with pytest.raises(throng.PlanError, match="resume is 'yes': give True, \"changed\""):
        job.run(rows, "out.jsonl", resume="yes")
    assert server.judge()["requests"] == 5
    job.run(rows, "out.jsonl", overwrite=True)
    assert server.judge()["requests"] == 10


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.sqlite", "out.arrow"])
def test_records_of_any_format_are_read(mock: Start, name: str) -> None:
    run = job_of(mock()).run(symbols(4), name)
    assert sorted(run.to_polars()["symbol"]) == ["S0", "S1", "S2", "S3"]
    assert len(list(run)) == 4 and os.path.exists(name)


def test_progress_is_told(mock: Start) -> None:
    seen: list[throng.Progress] = []
    job_of(mock("--latency", "100ms"), concurrency=2, workers=1).run(
        symbols(20), progress=seen.append
    )
    assert len(seen) > 1 and seen[-1].done == 20 and seen[-1].rows == 20
    assert seen[0].done < 20 and "in flight" in str(seen[0])


def test_a_notebook_has_a_live_bar(mock: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            shown.append(html._repr_html_())

    def display(html: Any, display_id: bool) -> Handle:
        assert display_id and not shown, "one display, which is updated"
        shown.append(html._repr_html_())
        return Handle()

    kernel = types.SimpleNamespace(kernel=object())
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    of_display = types.ModuleType("IPython.display")
    of_display.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", of_display)
    job = job_of(mock("--latency", "100ms"), concurrency=2, workers=1)
    job.run(symbols(20))
    assert len(shown) > 2
    widths = [float(html.split("width:")[2].split("%")[0]) for html in shown]
    assert widths == sorted(widths) and widths[0] < 100 and widths[-1] == 100
    assert "in flight" in shown[0]
    shown.clear()
    job.run(symbols(1), progress=False)
    assert not shown


def test_records_without_an_output_go_with_the_run(mock: Start) -> None:
    run = job_of(mock()).run(symbols(2))
    file = run.output
    failures = run.failures
    assert os.path.exists(file)
    del run
    assert os.path.exists(file) and len(list(failures)) == 0
    del failures
    assert not os.path.exists(os.path.dirname(file))


def test_html_shows_figures_and_escapes(mock: Start) -> None:
    server = mock()
    job = throng.Job(url=server.quote(), rate="50/1s", extract={"<b>": PRICE})
    assert "<b>" not in job._repr_html_() and "&lt;b&gt;" in job._repr_html_()
    assert "50/1s" in job._repr_html_()
    assert "least time" in job.plan(symbols(60))._repr_html_()
    shown = job.run(symbols(2))._repr_html_()
    assert "2 ok" in shown and "<iframe srcdoc=" in shown


def test_the_wheel_has_the_command(mock: Start) -> None:
    server = mock()
    Path("ids.csv").write_text("symbol\nA\nB\n")
    folder = os.path.dirname(sys.executable)
    for command in ([f"{folder}/throng"], [sys.executable, "-m", "throng"]):
        done = subprocess.run(
            [*command, "run", "-u", server.quote(), "-i", "ids.csv", "-e", f"name={NAME}"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(json.loads(line)["name"] for line in done.stdout.splitlines()) == [
            "A Inc.",
            "B Inc.",
        ]
    wrong = subprocess.run([f"{folder}/throng", "run", "none.toml"], capture_output=True)
    assert wrong.returncode == 2


def test_the_command_ends_at_a_signal_as_it_does_elsewhere(mock: Start) -> None:
    server = mock()
    command = subprocess.Popen(
        [f"{os.path.dirname(sys.executable)}/throng", "run", "-u", server.quote(), "-i", "-",
         "-r", "5/1s", "-e", f"name={NAME}", "-o", "out.jsonl"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert command.stdin
    command.stdin.write(b"symbol\n" + b"A\n" * 100)
    command.stdin.flush()
    while not (os.path.exists("out.jsonl") and os.path.getsize("out.jsonl")):
        assert command.poll() is None, command.communicate()
    command.send_signal(2)
    _, shown = command.communicate()
    assert command.returncode == 130, shown
    assert b"--resume" in shown and b"Traceback" not in shown
