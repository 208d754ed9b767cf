"""Types: the package is annotated, and its stubs are what the native part has."""

import subprocess
import sys
from pathlib import Path

import throng
from conftest import ROOT

HERE = ROOT / "crates/throng-py"


def mypy(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_are_what_the_package_has() -> None:
    config = str(HERE / "pyproject.toml")
    mypy("-m", "mypy.stubtest", "throng", "--concise", "--mypy-config-file", config)


def test_mypy_finds_nothing() -> None:
    config = str(HERE / "pyproject.toml")
    mypy("-m", "mypy", "--config-file", config, "-p", "throng")
    mypy("-m", "mypy", "--config-file", config, *map(str, sorted((HERE / "tests").glob("*.py"))))


def test_the_package_says_that_it_is_typed() -> None:
    assert throng.__file__ and (Path(throng.__file__).parent / "py.typed").exists()
