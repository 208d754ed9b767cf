"""Limiters that share a limit through a store, judged by the server's own count."""

import asyncio
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import throng
from conftest import Mock
from test_limiter import many

Start = Callable[..., Mock]
Store = tuple[str, "subprocess.Popen[bytes]"]


def limiter(store: str) -> throng.RateLimiter:
    return throng.RateLimiter("40/500ms", account="ours", share=store, linger=0.1)


@pytest.fixture(params=["redis", "limit server"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    if request.param == "redis":
        redis = shutil.which("redis-server") or "valkey-server"
        command = [redis, "--port", address.split(":")[1], "--save", ""]
    else:
        server = [sys.executable, "-m", "throng", "limit", "serve"]
        command = [*server, "--listen", address, "--state", os.path.abspath("limits")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    host, port = address.split(":")
    while process.poll() is None:
        try:
            socket.create_connection((host, int(port))).close()
            break
        except OSError:
            time.sleep(0.01)
    yield ("redis" if request.param == "redis" else "http") + f"://{address}", process
    process.kill()
    process.wait()


def in_process(url: str, store: str) -> None:
    statuses = asyncio.run(many(url, limiter(store), 20, 2))
    sys.exit(0 if statuses == [200] * 40 else 1)


def test_processes_are_never_over_and_hear_why_when_the_store_is_gone(
    mock: Start, store: Store
) -> None:
    url, server = store
    api = mock("--limit", "40/500ms", "--latency", "uniform:5ms:40ms")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=in_process, args=(api.url, url)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    judge = api.judge()
    assert [process.exitcode for process in processes] == [0] * 3, judge
    assert (judge["requests"], judge["refused"]) == (120, 0)
    assert api.most() <= 40

    ours: throng.RateLimiter = pickle.loads(pickle.dumps(limiter(url)))
    with ours.acquire():
        pass
    assert ours.snapshot()["outage"] is None
    server.kill()
    server.wait()
    with pytest.raises(TimeoutError, match=f"within 2 s: .*{url}"):
        while True:
            # The lease goes on for a while.
            with ours.acquire(timeout=2):
                pass
    assert url in ours.snapshot()["outage"]
    with pytest.raises(throng.LimitError, match=url):
        ours.try_acquire()


# The loop of docs/python.md, in a process that waits for a line between its permit and its request.
LOOP = """
import sys, throng
limiter = throng.RateLimiter("40/500ms", account="ours", share=sys.argv[1], linger=0.1)
while True:
    try:
        with limiter.acquire() as permit:
            print("acquired", flush=True)
            sys.stdin.readline()
            permit.sent()
            permit.report(status=200)
        break
    except throng.PermitExpired as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_process_that_stood_still_sends_nothing_with_the_permit_from_before(
    store: Store,
) -> None:
    url, _ = store
    with subprocess.Popen(
        [sys.executable, "-c", LOOP, url], stdin=-1, stdout=-1, text=True, bufsize=1
    ) as stopped:
        assert stopped.stdin and stopped.stdout
        assert stopped.stdout.readline() == "acquired\n"
        stopped.send_signal(signal.SIGSTOP)
        # All units, of which one is free again once the process is taken for dead.
        with limiter(url).acquire(40):
            pass
        stopped.stdin.write("\n")
        stopped.send_signal(signal.SIGCONT)
        assert "acquire another one" in stopped.stdout.readline()
        assert stopped.stdout.readline() == "acquired\n"
        stopped.stdin.write("\n")
    assert stopped.returncode == 0


def test_a_store_that_is_none_is_told_with_the_words_of_python() -> None:
    for share, account, why in (
        ("redis://127.0.0.1:1", "ours", "redis://127.0.0.1:1"),
        ("redis://:hush@h", "ours", "share has a password"),
        ("limits.example", "ours", "is no URL of a store"),
        ("redis://127.0.0.1:1", None, "those of an account: name one"),
    ):
        with pytest.raises(throng.LimitError, match=why) as refused:
            throng.RateLimiter("1/1s", account=account, share=share)
        assert "--" not in str(refused.value) and "hush" not in str(refused.value)
