"""Waits of asyncio for what threads of Rust do: one waker for each event loop."""

import asyncio
import itertools
import weakref
from typing import Protocol, TypeVar

from ._throng import Waker

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Polled(Protocol[T_co]):
    """What can be asked for a value, and wakes the loop when to ask again."""

    def poll(self, waker: Waker, number: int, /) -> T_co | None: ...


class _LoopWaits:
    """The waits of one event loop."""

    def __init__(self) -> None:
        self.waker = Waker()
        self.numbers = itertools.count()
        self.futures: dict[int, asyncio.Future[None]] = {}

    def wake(self) -> None:
        for number in self.waker.ready():
            future = self.futures.get(number)
            if future is not None and not future.done():
                future.set_result(None)


_loops: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopWaits]" = (
    weakref.WeakKeyDictionary()
)


async def wait(polled: Polled[T]) -> T:
    """The value, as soon as it is there."""
    loop = asyncio.get_running_loop()
    waits = _loops.setdefault(loop, _LoopWaits()) if loop not in _loops else _loops[loop]
    number = next(waits.numbers)
    value = polled.poll(waits.waker, number)
    if value is not None:
        return value
    if not waits.futures:
        loop.add_reader(waits.waker.fileno(), waits.wake)
    try:
        while True:
            future = waits.futures[number] = loop.create_future()
            # A wake between the poll and here would be lost: so it is asked once more.
            value = polled.poll(waits.waker, number)
            if value is not None:
                return value
            await future
    finally:
        waits.futures.pop(number, None)
        if not waits.futures:
            loop.remove_reader(waits.waker.fileno())
