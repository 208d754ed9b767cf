"""The rate limiter by itself, beside any client."""

import asyncio
import atexit
import contextlib
import json
import math
import operator
import os
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal

from . import _loop, _throng

Seconds = float | timedelta


def seconds(time: Seconds | None) -> float | None:
    """A time in seconds."""
    return time.total_seconds() if isinstance(time, timedelta) else time


class RateLimiter:
    """Gives permits, first come first served, as all of its limits allow.

    A limit is a text such as ``"300/1m"``, ``"90000 tokens/1m"`` or ``"bucket:10/1s"``, as in a
    job's ``rate``. Threads and event loops may share a limiter. Processes share the limits of an
    ``account``, with one another and with ``throng run --account``, on one machine or, by
    ``share="redis://…"``, on any::

        limiter = throng.RateLimiter("300/1m", "90000 tokens/1m", account="openai")

        async with limiter.acquire(tokens=800) as permit:
            r = await client.post(url, json=body)
            permit.report(r)
            permit.settle(tokens=r.json()["usage"]["total_tokens"])
    """

    def __init__(
        self,
        *limits: str,
        per_key: str | Sequence[str] = (),
        account: str | None = None,
        in_flight: int | None = None,
        spacing: Seconds | None = None,
        guard: Literal["strict", "sent"] = "strict",
        shape: Literal["auto", "burst", "spread"] = "auto",
        linger: Seconds | None = None,
        state_directory: str | os.PathLike[str] | None = None,
        share: str | None = None,
    ) -> None:
        """
        :param limits: limits of all requests together
        :param per_key: limits that each ``key`` of `acquire` has for itself
        :param account: the name under which processes share the limits, those of this machine
            unless ``share`` says more
        :param in_flight: the maximum number of requests that are unanswered at a time
        :param spacing: the least time between two requests
        :param guard: what the limits are proven against: arrivals at the server (``strict``), or
            our own clock (``sent``)
        :param shape: whether a period's requests go out as early as they may, or spread
        :param linger: the time for which a request that was given up may still arrive; 30 s
            if not given, and no less than the timeout of your requests
        :param state_directory: where the use of an account's limits is kept
        :param share: the URL of a store through which the account's limits are shared with other
            machines: ``redis://HOST``, ``postgres://USER@HOST/DATABASE``, or a limit server's
            ``https://HOST:PORT`` or ``unix:PATH``. While it does not answer, no permit is given
            once those that are leased are used or their lease has ended
        """
        for limit in limits:
            if not isinstance(limit, str):
                raise TypeError(
                    f"a limit is a text such as \"300/1m\", not {limit!r}: give several one after "
                    "the other"
                )
        _check("guard", guard, ("strict", "sent"))
        _check("shape", shape, ("auto", "burst", "spread"))
        self._settings: dict[str, Any] = {
            "limits": list(limits),
            "per_key": [per_key] if isinstance(per_key, str) else list(per_key),
            "account": account,
            "state_directory": None if state_directory is None else os.fspath(state_directory),
            "in_flight": in_flight,
            "spacing": _time("spacing", spacing),
            "guard": guard,
            "shape": shape,
            "linger": _time("linger", linger),
            "share": share,
        }
        self._native = _throng.Limiter(self._settings)
        if share is not None:
            _shared.add(self)
        self._counts_in_flight = in_flight is not None

    def acquire(
        self,
        requests: int = 1,
        *,
        key: str | None = None,
        timeout: Seconds | None = None,
        **units: int,
    ) -> "Acquisition":
        """A permit for a request: ``with`` and ``async with`` wait for it, and end it.

        :param requests: the number of requests that it is for
        :param key: whose limits count, of those that each key has for itself
        :param timeout: the longest wait, after which `TimeoutError` is raised
        :param units: what the request costs of each unit that a limit counts: ``tokens=800``
        """
        cost = _cost(requests, units)
        _check_key(key)
        return Acquisition(self._native, cost, key, seconds(timeout), self._counts_in_flight)

    def try_acquire(
        self, requests: int = 1, *, key: str | None = None, **units: int
    ) -> "Permit | None":
        """A permit if one is free now, and no one waits; None otherwise."""
        _check_key(key)
        permit = self._native.try_acquire(_cost(requests, units), key)
        return None if permit is None else Permit(permit, self._counts_in_flight)

    def pause_for(self, time: Seconds) -> None:
        """Gives no permit for this long, because the server, or an operator, has said so."""
        self._native.pause_for(_time("the pause", time) or 0.0)

    def snapshot(self) -> dict[str, Any]:
        """What it has counted so far: the units of each limit, waits, and pauses. Times are in
        seconds."""
        counted: dict[str, Any] = json.loads(self._native.snapshot(), object_hook=_in_seconds)
        return counted

    def __repr__(self) -> str:
        limits = [*self._settings["limits"], *self._settings["per_key"]]
        named = {name: self._settings[name] for name in ("account", "share")}
        shown = [repr(limit) for limit in limits]
        shown += [f"{name}={value!r}" for name, value in named.items() if value is not None]
        return f"RateLimiter({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._settings["account"] is None:
            raise TypeError(
                "a RateLimiter without an account counts in this process alone: give it an "
                "account (account=\"NAME\") to share its limits with other processes"
            )
        return _again, (self._settings,)


# Limiters whose stores hear, when the interpreter ends, of the units that were not used.
_shared: "weakref.WeakSet[RateLimiter]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for limiter in list(_shared):
        # In a process that was forked the limiter is its parent's.
        with contextlib.suppress(RuntimeError):
            limiter._native.close()


def _again(settings: dict[str, Any]) -> RateLimiter:
    settings = dict(settings)
    return RateLimiter(*settings.pop("limits"), **settings)


def _check(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise _throng.LimitError(f"{name} is {value!r}: it is one of {', '.join(known)}")


def _check_key(key: object) -> None:
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key is {key!r}: a key is a text")


def _time(name: str, time: Seconds | None) -> float | None:
    found = seconds(time)
    if found is not None and not (isinstance(found, (int, float)) and 0 <= found < math.inf):
        raise _throng.LimitError(f"{name} is {time!r}: give a number of seconds, 0 or more")
    return found


def _in_seconds(value: dict[str, Any]) -> Any:
    return value["secs"] + value["nanos"] / 1e9 if value.keys() == {"secs", "nanos"} else value


def _cost(requests: int, units: Mapping[str, int]) -> list[tuple[str, int]]:
    cost = dict(units) if requests == 1 else {"requests": requests, **units}
    return [(unit, _units(unit, number)) for unit, number in cost.items()]


def _units(unit: str, number: Any) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        raise TypeError(f"{unit} is {number!r}: what a request costs is a whole number") from None
    if whole < 0:
        raise _throng.LimitError(f"a request costs {number} {unit}: give 0 or more")
    return whole


def checked(limiter: object) -> "RateLimiter":
    """The limiter that a caller has given, if it is one."""
    if not isinstance(limiter, RateLimiter):
        raise TypeError(f"limiter is {limiter!r}: give a throng.RateLimiter, such as "
                        "throng.RateLimiter(\"300/1m\")")  # fmt: skip
    return limiter


class Acquisition:
    """A permit to be: use it in ``with`` or ``async with``, or ``await`` it."""

    def __init__(
        self,
        native: _throng.Limiter,
        cost: list[tuple[str, int]],
        key: str | None,
        timeout: float | None,
        counts_in_flight: bool,
    ) -> None:
        self._native, self._cost, self._key, self._timeout = native, cost, key, timeout
        self._counts_in_flight = counts_in_flight
        self._permit: Permit | None = None

    def wait(self) -> "Permit":
        """Waits on this thread for the permit, which the caller has to end."""
        waiting = self._native.acquire(self._cost, self._key)
        try:
            permit = waiting.wait(self._timeout)
        except BaseException:
            waiting.leave()
            raise
        if permit is None:
            waiting.leave()
            raise self._too_late()
        return Permit(permit, self._counts_in_flight)

    async def _wait(self) -> "Permit":
        waiting = self._native.acquire(self._cost, self._key)
        try:
            permit = await asyncio.wait_for(_loop.wait(waiting), self._timeout)
            return Permit(permit, self._counts_in_flight)
        except asyncio.TimeoutError:
            waiting.leave()
            raise self._too_late() from None
        except BaseException:
            waiting.leave()
            raise

    def _too_late(self) -> TimeoutError:
        outage = json.loads(self._native.snapshot())["outage"]
        why = f": {outage}" if outage else ""
        return TimeoutError(f"no permit was free within {self._timeout or 0:g} s{why}")

    def __await__(self) -> Generator[Any, None, "Permit"]:
        return self._wait().__await__()

    def __enter__(self) -> "Permit":
        self._permit = self.wait()
        return self._permit

    async def __aenter__(self) -> "Permit":
        self._permit = await self._wait()
        return self._permit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._permit is not None:
            self._permit.__exit__(kind, error, trace)
            self._permit = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


class Permit:
    """Leave for one request.

    At the end of its ``with`` it counts as answered, or, after an exception, as lost: then the
    request may still arrive. `report` tells it the answer: 429, ``Retry-After`` and the
    ``RateLimit`` headers pause the limiter as they must.
    """

    def __init__(self, native: _throng.Permit, counts_in_flight: bool = False) -> None:
        self._native = native
        self._counts_in_flight = counts_in_flight
        self._ended = False

    def report(
        self,
        response: Any = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        """Tells it the answer: a response of httpx, requests, aiohttp or urllib, or its status
        and headers. Refusals (429, and 503 with ``Retry-After``) pause the limiter."""
        if self._ended:
            return
        if response is not None:
            status, headers = _status(response), getattr(response, "headers", ())
        if status is None:
            raise TypeError("report() takes a response, or status=...")
        self._native.answered(status, _pairs(headers))
        self._ended = True

    def settle(self, **units: int) -> None:
        """The request has turned out to cost this: ``permit.settle(tokens=612)``. What it costs
        less is free for others at once; what it costs more counts, too."""
        for unit, number in units.items():
            self._native.settle(unit, _units(unit, number))

    def sent(self) -> None:
        """The request is about to be written. Without this word it counts from its end on,
        which is later and no less safe.

        Where limits are shared with other machines, these take a process for dead that was stopped
        for long, or whose machine slept, and use its units. A permit from before raises
        `PermitExpired` here, and is cancelled: send nothing, and acquire another one."""
        if not self._ended and not self._native.sent():
            self.cancel()
            raise _throng.PermitExpired(
                "the permit is too old: this process stood still for longer than other machines "
                "wait for it, and they may have used the permit's units. Send nothing with it, and "
                "acquire another one"
            )

    def lost(self) -> None:
        """No answer came: the request may still arrive."""
        if not self._ended:
            self._native.lost()
            self._ended = True

    def cancel(self) -> None:
        """Gives the permit back: nothing was sent."""
        if not self._ended:
            self._native.cancel()
            self._ended = True

    def read(self) -> None:
        """The answer has been read: the request is no more in flight. What it has cost can
        still be settled if no limit counts the requests in flight."""
        if self._counts_in_flight:
            self.end()

    def end(self) -> None:
        """The answer has been read, or will not come: without a report the request counts as
        answered."""
        if not self._ended:
            self.report(status=200)
        self._native.end()

    def __enter__(self) -> "Permit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self._ended:
            response = getattr(error, "response", error)
            if isinstance(_status_or_none(response), int):
                self.report(response)
            else:
                self.lost()
        self.end()


def _status_or_none(response: Any) -> Any:
    return getattr(response, "status_code", getattr(response, "status", None))


def _status(response: Any) -> int:
    status = _status_or_none(response)
    if not isinstance(status, int):
        raise TypeError(f"{type(response).__name__} is no response: it has no status_code or status")
    return status


def _pairs(headers: Any) -> list[tuple[str, str]]:
    pairs = headers.items() if hasattr(headers, "items") else headers or ()
    return [(str(name), str(value)) for name, value in pairs]
