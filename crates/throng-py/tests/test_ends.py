"""Scripts that end in the middle of a run: none crashes, and each run can go on."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import throng
from conftest import PRICE, Mock, symbols

Start = Callable[..., Mock]

RUN = f"""
import os, signal, sys, threading, time, asyncio, throng
url, number = sys.argv[1], int(sys.argv[2])
job = throng.Job(url=url, rate="500/1s", extract={{"price": {PRICE!r}}}, workers=2)
rows = [{{"symbol": f"S{{i}}"}} for i in range(100_000)]
soon = 0.02 + number % 7 * 0.03
"""

ENDS = {
    # The main thread ends while another one runs.
    "exit": """
        threading.Thread(target=job.run, args=(rows,), daemon=True).start()
        time.sleep(soon)
    """,
    "sys.exit": """
        threading.Thread(target=job.run, args=(rows,), daemon=True).start()
        time.sleep(soon)
        sys.exit(0)
    """,
    "exception": """
        def stop(progress):
            if progress.seconds > soon:
                raise ValueError("enough")
        try:
            job.run(rows, progress=stop)
        except ValueError:
            sys.exit(0)
    """,
    "KeyboardInterrupt": """
        threading.Timer(soon, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            job.run(rows)
        except KeyboardInterrupt:
            sys.exit(0)
    """,
    "os._exit": """
        threading.Timer(soon, lambda: os._exit(0)).start()
        job.run(rows)
    """,
    "hooks": """
        hooked = throng.Job(url=url.split("/v6/")[0])
        hooked.request(lambda row: url.replace("{{ symbol }}", row["symbol"]))
        hooked.process(lambda row, answer: {"n": len(answer.json())})
        threading.Thread(target=hooked.run, args=(rows,), daemon=True).start()
        time.sleep(soon)
    """,
    "stream": """
        end = time.monotonic() + soon
        kept = job.stream(rows)
        for record in kept:
            if time.monotonic() > end:
                break
    """,
    "stream, KeyboardInterrupt": """
        threading.Timer(soon, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            for record in job.stream(iter(rows)):
                pass
        except KeyboardInterrupt:
            sys.exit(0)
    """,
    "stream, os._exit": """
        threading.Timer(soon, lambda: os._exit(0)).start()
        for record in job.stream(rows):
            pass
    """,
    "async for": """
        async def rows_too():
            for row in rows:
                yield row
        async def main():
            end = time.monotonic() + soon
            async for record in job.stream(rows_too()):
                if time.monotonic() > end:
                    break
        asyncio.run(main())
    """,
    "async for, KeyboardInterrupt": """
        async def main():
            async for record in job.stream(rows):
                pass
        threading.Timer(soon, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(0)
    """,
    "async for, a thread": """
        async def main():
            async for record in job.stream(iter(rows)):
                pass
        threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
        time.sleep(soon)
    """,
    "limiter": """
        limiter = throng.RateLimiter("1/1h")
        limiter.try_acquire()
        threading.Thread(target=lambda: limiter.acquire().wait(), daemon=True).start()
        async def wait():
            asyncio.create_task(limiter.acquire()._wait())
            await asyncio.sleep(soon)
        asyncio.run(wait())
    """,
}


def test_no_script_crashes(mock: Start, tmp_path: Path) -> None:
    server = mock()
    number = int(os.environ.get("THRONG_SCRIPTS", "100"))
    scripts = {}
    for name, end in ENDS.items():
        script = tmp_path / f"{name.replace(' ', '_')}.py"
        script.write_text(RUN + textwrap.dedent(end))
        scripts[name] = script

    def run(index: int) -> tuple[str, int, str]:
        name = list(scripts)[index % len(scripts)]
        command = [sys.executable, str(scripts[name]), server.quote(), str(index)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return name, done.returncode, done.stderr[-2000:]

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(run, range(number)))
    wrong = [end for end in ended if end[1:] != (0, "")]
    assert not wrong, (len(wrong), wrong[:3])


def test_ctrl_c_drains_and_the_run_goes_on(mock: Start) -> None:
    server = mock("--limit", "40/200ms")
    script = Path("script.py")
    script.write_text(
        textwrap.dedent(f"""
            import sys, throng
            job = throng.Job(url={server.quote()!r}, rate="40/200ms", extract={{"price": {PRICE!r}}})
            run = job.run([{{"symbol": f"S{{i}}"}} for i in range(200)], "out.jsonl", resume=True)
            print(run.summary.rows)
        """)
    )
    first = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    while not (os.path.exists("out.jsonl") and os.path.getsize("out.jsonl")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    _, shown = first.communicate()
    assert "KeyboardInterrupt" in shown and first.returncode in (1, -2, 130), shown
    if sys.version_info >= (3, 11):
        assert "rows are done; the same call with resume=True goes on" in shown
    again = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert again.stdout == "200\n", again.stderr
    judge = server.judge()
    # No row was asked for twice: all answers in flight were awaited.
    assert (judge["requests"], judge["refused"]) == (200, 0) and server.most() <= 40
    assert len(Path("out.jsonl").read_text().splitlines()) == 200


def test_a_run_that_stops_raises_with_its_records(mock: Start) -> None:
    job = throng.Job(url=mock().quote(), extract={"nothing": ".no.such"})
    with pytest.raises(throng.Stopped) as stopped:
        job.run(symbols(500))
    assert stopped.value.run.summary.failed > 0  # type: ignore[attr-defined]
