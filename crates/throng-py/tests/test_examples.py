"""The programs in examples/python, and the examples of docs/python.md."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ROOT, Mock

PROGRAMS = sorted((ROOT / "examples/python").glob("*.py"))

SAYS = {
    "arrow": "dearest",
    "hooks": "100 ok, 0 failed",
    "limiter": "100 prices",
    "progress": "150 rows, of which",
    "stream": "100 prices",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_does_what_it_says(program: Any, mock: Callable[..., Mock]) -> None:
    assert len(program.read_text().splitlines()) <= 60
    server = mock("--limit", "40/1s" if program.stem == "limiter" else "50/1s")
    done = subprocess.run(
        [sys.executable, program, server.host], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and SAYS[program.stem] in done.stdout, done.stdout + done.stderr
    assert server.judge()["refused"] == 0
