"""Memory does not grow with the records of a stream."""

import os
import resource
from collections.abc import Callable
from typing import Any

import throng
from conftest import Mock


def resident() -> int:
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_memory_is_flat(mock: Callable[..., Mock]) -> None:
    server = mock()
    number = 1_000_000 if os.environ.get("THRONG_LONG") else 20_000
    job = throng.Job(url=server.quote("A"), workers=2)

    @job.process
    def process(row: dict[str, Any], answer: throng.Answer) -> dict[str, Any]:
        return {"length": len(answer.body)}

    most, first, count = 0, 0, 0
    for record in job.stream({"id": i} for i in range(number)):
        count += 1
        if count % (number // 20) == 0:
            most = max(most, resident())
            first = first or resident()
        del record
    assert count == number
    assert most - first < 20 << 20, f"{first >> 20} MiB at first, {most >> 20} MiB later"
