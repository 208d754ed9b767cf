"""The limiter beside other clients, judged by the server's own count."""

import asyncio
import multiprocessing
import os
import pickle
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import throng
from conftest import Mock

Start = Callable[..., Mock]


async def get(client: httpx.AsyncClient, limiter: throng.RateLimiter, url: str) -> int:
    async with limiter.acquire() as permit:
        r = await client.get(url)
        permit.report(r)
        return r.status_code


async def many(url: str, limiter: throng.RateLimiter, tasks: int, each: int) -> list[int]:
    async with httpx.AsyncClient() as client:

        async def task(number: int) -> list[int]:
            return [await get(client, limiter, f"{url}?symbols=S{number}") for _ in range(each)]

        lists = await asyncio.gather(*map(task, range(tasks)))
        return sum(lists, [])


def in_process(url: str, account: str) -> None:
    limiter = throng.RateLimiter("40/500ms", account=account)
    statuses = asyncio.run(many(url, limiter, 100, 1))
    os._exit(0 if statuses == [200] * 100 else 1)


def test_four_processes_of_100_tasks_are_never_over(mock: Start) -> None:
    server = mock("--limit", "40/500ms", "--latency", "uniform:5ms:40ms")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=in_process, args=(server.url, "ours")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    judge = server.judge()
    assert [process.exitcode for process in processes] == [0] * 4, judge
    assert (judge["requests"], judge["refused"]) == (400, 0)
    assert 20 <= server.most() <= 40


def test_threads_and_tasks_share_a_limiter(mock: Start) -> None:
    server = mock("--limit", "20/500ms")
    limiter = throng.RateLimiter("20/500ms")

    def thread() -> None:
        for _ in range(10):
            with limiter.acquire() as permit:
                with urllib.request.urlopen(f"{server.url}?symbols=A") as answer:
                    permit.report(answer)

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for one in threads:
        one.start()
    assert asyncio.run(many(server.url, limiter, 30, 1)) == [200] * 30
    for one in threads:
        one.join()
    assert server.judge()["refused"] == 0 and server.most() == 20


def test_a_refusal_pauses_the_limiter() -> None:
    limiter = throng.RateLimiter("100/1s")
    with limiter.acquire() as permit:
        permit.report(status=429, headers={"Retry-After": "7"})
    assert 6 < limiter.snapshot()["paused"] <= 8
    assert limiter.try_acquire() is None
    with pytest.raises(TimeoutError, match="no permit was free within 0.05 s"):
        limiter.acquire(timeout=0.05).wait()


def test_headers_of_a_limit_count() -> None:
    limiter = throng.RateLimiter("100/1s")
    with limiter.acquire() as permit:
        permit.report(status=200, headers={"RateLimit-Remaining": "0", "RateLimit-Limit": "100",
                                           "RateLimit-Reset": "30"})  # fmt: skip
    assert limiter.try_acquire() is None


def lost(limiter: throng.RateLimiter) -> int:
    return int(limiter.snapshot()["limits"][0]["lost"])


def test_an_exception_is_a_request_that_was_lost() -> None:
    limiter = throng.RateLimiter("3/1h")
    with pytest.raises(ValueError), limiter.acquire():
        raise ValueError
    assert lost(limiter) == 1

    async def cancelled() -> None:
        async with limiter.acquire():
            await asyncio.sleep(100)

    async def cancel() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(cancel())
    assert lost(limiter) == 2
    with limiter.acquire() as permit:
        permit.cancel()
    with limiter.acquire():
        pass
    assert lost(limiter) == 2 and limiter.try_acquire() is None


def test_an_error_with_a_response_tells_its_status(mock: Start) -> None:
    server = mock("--limit", "1/10s")
    limiter = throng.RateLimiter("100/1s")
    url = f"{server.url}?symbols=A"
    for _ in range(2):
        try:
            with limiter.acquire():
                httpx.get(url).raise_for_status()
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 429
    assert limiter.snapshot()["paused"] is not None


def test_costs_are_settled() -> None:
    limiter = throng.RateLimiter("300/1h", "1000 tokens/1h")

    async def ask() -> None:
        async with limiter.acquire(tokens=800) as permit:
            permit.settle(tokens=600)
        async with limiter.acquire(tokens=400):
            pass

    asyncio.run(ask())
    assert limiter.try_acquire(tokens=1) is None
    for wrong, why in (
        (lambda: limiter.try_acquire(), "a limit counts tokens"),
        (lambda: limiter.try_acquire(token=1), "no limit counts token"),
        (lambda: limiter.acquire(tokens=5000).wait(), "never allows more than 1000 at once"),
        (lambda: limiter.acquire(tokens=-1), "give 0 or more"),
        (lambda: throng.RateLimiter("fast"), '"fast" is not a rate'),
        (lambda: throng.RateLimiter("1/1s", guard="strickt"), "one of strict, sent"),  # type: ignore
    ):
        with pytest.raises(throng.LimitError, match=why):
            wrong()


def test_each_key_has_its_limit() -> None:
    limiter = throng.RateLimiter(per_key="1/1h")
    assert limiter.try_acquire(key="a") and limiter.try_acquire(key="b")
    assert limiter.try_acquire(key="a") is None
    with pytest.raises(throng.LimitError):
        limiter.try_acquire()


def test_waiters_that_give_up_leave_the_queue() -> None:
    limiter = throng.RateLimiter("1/1h")
    assert limiter.try_acquire()

    async def wait() -> None:
        tasks = [asyncio.create_task(limiter.acquire()._wait()) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert limiter.snapshot()["waiting"] == 50
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.snapshot()["waiting"] == 0
        with pytest.raises(TimeoutError):
            async with limiter.acquire(timeout=0.05):
                pass

    asyncio.run(wait())
    assert limiter.snapshot()["waiting"] == 0


def test_event_loops_end_while_others_wait() -> None:
    limiter = throng.RateLimiter("1/300ms")

    async def once() -> None:
        async with limiter.acquire():
            pass

    threads = [threading.Thread(target=lambda: asyncio.run(once())) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert limiter.snapshot()["limits"][0]["most"] == 1


def test_a_forked_process_is_refused() -> None:
    limiter = throng.RateLimiter("10/1s")
    permit = limiter.try_acquire()
    assert permit
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        texts = []
        for use in (limiter.try_acquire, limiter.acquire().wait, permit.sent):
            try:
                use()
                texts.append("nothing was raised")
            except RuntimeError as error:
                texts.append(str(error))
        os.write(writing, "\n".join(texts).encode())
        os._exit(0)
    os.waitpid(child, 0)
    texts = os.read(reading, 10_000).decode().splitlines()
    assert len(texts) == 3
    assert all("was made before this process was forked" in text for text in texts), texts
    assert limiter.try_acquire()


def test_a_limiter_with_an_account_can_be_sent_to_another_process() -> None:
    shared = throng.RateLimiter("2/1h", account="ours")
    again: throng.RateLimiter = pickle.loads(pickle.dumps(shared))
    assert shared.try_acquire() and again.try_acquire()
    assert shared.try_acquire() is None and again.try_acquire() is None
    with pytest.raises(TypeError, match="give it an account"):
        pickle.dumps(throng.RateLimiter("2/1h"))


def test_the_wait_of_a_thread_can_be_interrupted() -> None:
    limiter = throng.RateLimiter("1/1h")
    assert limiter.try_acquire()
    threading.Timer(0.2, lambda: os.kill(os.getpid(), 2)).start()
    with pytest.raises(KeyboardInterrupt):
        limiter.acquire().wait()
    assert limiter.snapshot()["waiting"] == 0


def test_what_is_in_flight_is_limited() -> None:
    limiter = throng.RateLimiter(in_flight=2)
    most: list[int] = []
    now = 0

    async def one() -> None:
        nonlocal now
        async with limiter.acquire():
            now += 1
            most.append(now)
            await asyncio.sleep(0.01)
            now -= 1

    async def all_of_them() -> Any:
        await asyncio.gather(*(one() for _ in range(10)))

    asyncio.run(all_of_them())
    assert max(most) == 2


def test_a_mistake_is_a_sentence_with_the_words_of_python() -> None:
    limiter = throng.RateLimiter("300/1m", "9000 tokens/1m")
    keyed = throng.RateLimiter(per_key="10/1s")
    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: throng.RateLimiter(300), TypeError, 'a limit is a text such as "300/1m", not 300'),  # type: ignore[arg-type]
        (lambda: throng.RateLimiter(["1/1s"]), TypeError, "give several one after the other"),  # type: ignore[arg-type]
        (lambda: throng.RateLimiter("1/1s", spacing=-1), throng.LimitError, "spacing is -1: give"),
        (lambda: throng.RateLimiter(in_flight=0), throng.LimitError, "in_flight is 0"),
        (lambda: limiter.acquire().wait(), throng.LimitError, r"give tokens=N to acquire\(\)"),
        (lambda: limiter.acquire(words=1, tokens=1).wait(), throng.LimitError, "no limit counts words"),
        (lambda: limiter.acquire(1.5), TypeError, "requests is 1.5: what a request costs is a whole"),  # type: ignore[arg-type]
        (lambda: limiter.acquire(tokens=-1), throng.LimitError, "-1 tokens: give 0 or more"),
        (lambda: keyed.acquire().wait(), throng.LimitError, 'give key="…" to acquire'),
        (lambda: keyed.acquire(key=7).wait(), TypeError, "key is 7: a key is a text"),  # type: ignore[arg-type]
    ]
    for call, kind, why in wrong:
        with pytest.raises(kind, match=why):
            call()
    with limiter.acquire(tokens=5) as permit:
        with pytest.raises(throng.LimitError, match="give 0 or more"):
            permit.settle(tokens=-5)


def test_times_of_a_snapshot_are_in_seconds() -> None:
    limit, = throng.RateLimiter("300/1m", linger=5).snapshot()["limits"]
    assert (limit["period"], limit["linger"]) == (60.0, 5.0)
