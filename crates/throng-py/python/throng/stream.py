"""The records of a run as they come."""

import json
import threading
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from . import _loop, _throng
from .hooks import close_at_exit
from .rows import line
from .run import Summary

# The most rows that are handed over at a time.
_BATCH = 256

# The longest time that a run which is closed may take to end, in seconds.
_LONGEST_END = 10.0

Record = dict[str, Any]


class Stream(Iterator[Record], AsyncIterator[Record]):
    """The records of a run, in the order in which they come, for ``for`` and ``async for``.

    Little waits in memory: while records are not taken, no further row begins. A stream that is
    left, or closed, ends its run.
    """

    def __init__(
        self, native: _throng.Stream, feed: "Feeder | None", parts: ExitStack
    ) -> None:
        self._native, self._feed, self._parts = native, feed, parts
        self._batch: Iterator[Record] = iter(())
        self._is_over = False
        self._summary: Summary | None = None
        close_at_exit(self)

    def __iter__(self) -> "Stream":
        if self._feed is not None:
            self._feed.start()
        return self

    def __next__(self) -> Record:
        for record in self._batch:
            return record
        if self._feed is not None:
            self._feed.start()
        self._take([] if self._is_over else self._native.next_batch())
        for record in self._batch:
            return record
        raise StopIteration

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Record:
        for record in self._batch:
            return record
        if self._feed is not None:
            self._feed.start_in_loop()
        self._take([] if self._is_over else await _loop.wait(self._native))
        for record in self._batch:
            return record
        raise StopAsyncIteration

    def _take(self, batch: list[Record]) -> None:
        if not batch and not self._is_over:
            self._is_over = True
            try:
                self._summary = Summary(*self._native.report())
            finally:
                self.close()
                if self._feed is not None and self._feed.error is not None:
                    raise self._feed.error
        self._batch = iter(batch)

    @property
    def summary(self) -> Summary:
        """The counts, once the last record was taken."""
        if self._summary is None:
            raise RuntimeError("the summary is there once the last record was taken")
        return self._summary

    @property
    def progress(self) -> dict[str, Any]:
        """The counts so far."""
        counts: dict[str, Any] = json.loads(self._native.progress())
        return counts

    def __repr__(self) -> str:
        progress = self.progress
        state = "over" if self._is_over else "going on"
        return f"<throng.Stream: {progress['done']:,} rows done, {progress['failed']:,} failed, {state}>"

    def close(self) -> None:
        """Ends the run; its requests in flight are given up, and its output can be used again."""
        self._is_over = True
        self._native.close()
        if self._feed is not None:
            self._feed.close()
        self._parts.close()
        self._native.wait(_LONGEST_END)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self.close()


class Feeder:
    """Hands the rows of an iterable over while a run goes on: from a thread of its own, or from
    a task where the iterable is asynchronous."""

    def __init__(self, rows: Any) -> None:
        self.native = _throng.Feed()
        #: What the iterable has raised.
        self.error: BaseException | None = None
        self._rows = rows
        # What is whole already never makes a row wait for the next one.
        self._is_whole = hasattr(rows, "__len__")
        self._is_async = hasattr(rows, "__aiter__")
        self._thread: threading.Thread | None = None
        self._task: Any = None

    def start(self) -> None:
        """Begins to take rows, unless that was done."""
        if self._is_async:
            raise TypeError("the rows are asynchronous: use `async for`")
        if self._thread is None:
            thread = threading.Thread(
                target=_feed, args=(weakref.ref(self), self.native, self._rows, self._is_whole),
                name="throng-rows", daemon=True,
            )  # fmt: skip
            thread.start()
            # The end of the interpreter may come in between, and joins what has started.
            self._thread = thread

    def start_in_loop(self) -> None:
        """Begins to take rows in this event loop."""
        if not self._is_async:
            self.start()
        elif self._task is None:
            import asyncio

            self._task = asyncio.get_running_loop().create_task(self._feed_async())

    def fail(self, error: BaseException) -> None:
        """The iterable has raised."""
        self.error = error

    async def _feed_async(self) -> None:
        batch: list[str] = []
        number = 0
        try:
            async for row in self._rows:
                batch.append(line(row, number))
                number += 1
                if len(batch) >= _BATCH or self.native.is_hungry():
                    await _loop.wait(self.native)
                    if not self.native.send(batch):
                        return
                    batch = []
            if batch:
                await _loop.wait(self.native)
                self.native.send(batch)
            self.native.close()
        except BaseException as error:
            self.fail(error)
            self.native.fail(f"{type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                raise

    def close(self) -> None:
        """No more rows are wanted."""
        self.native.close()
        if self._task is not None and not self._task.done():
            try:
                self._task.cancel()
            except RuntimeError:
                # The event loop is closed, and its tasks with it.
                pass
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)


def _feed(
    feeder: "weakref.ref[Feeder]", native: _throng.Feed, rows: Iterable[Any], is_whole: bool
) -> None:
    batch: list[str] = []
    try:
        for number, row in enumerate(rows):
            batch.append(line(row, number))
            if len(batch) >= _BATCH or (not is_whole and native.is_hungry()):
                if not native.send(batch):
                    return
                batch = []
        if batch:
            native.send(batch)
        native.close()
    except BaseException as error:
        one = feeder()
        if one is not None:
            one.fail(error)
        native.fail(f"{type(error).__name__}: {error}")
