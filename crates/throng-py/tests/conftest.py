"""A mock API for each test, whose own count is the judge."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

# Where the tests run in the background, Ctrl-C is ignored, and Python leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Mock:
    """The quote API of ``throng mock``."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "throng", "mock", "--addr", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        self.host = first.split(" is at ")[1].split("/v6/")[0]
        self.url = f"{self.host}/v6/finance/quote/"

    def quote(self, symbol: str = "{{ symbol }}") -> str:
        return f"{self.url}?symbols={symbol}"

    def judge(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.host}/judge") as answer:
            judgement: dict[str, Any] = json.load(answer)
            return judgement

    def most(self) -> int:
        """The most requests in any window."""
        return int(self.judge()["windows"][0]["most"])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def mock() -> Iterator[Callable[..., Mock]]:
    mocks: list[Mock] = []

    def start(*flags: str) -> Mock:
        mocks.append(Mock(*flags))
        return mocks[-1]

    yield start
    for one in mocks:
        one.end()


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of an account are those of one test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def symbols(number: int) -> list[dict[str, Any]]:
    return [{"symbol": f"S{i}"} for i in range(number)]


PRICE = ".quoteResponse.result[0].regularMarketPreviousClose"
NAME = ".quoteResponse.result[0].longName"
