"""What terminals and notebooks show."""

import sys
from datetime import timedelta
from html import escape
from typing import Any


def time(time: timedelta) -> str:
    """A time in its two largest units."""
    seconds = time.total_seconds()
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return _two(round(seconds), 60, "m", "s")
    if seconds < 172_800:
        return _two(round(seconds / 60), 60, "h", "m")
    return _two(round(seconds / 3600), 24, "d", "h")


def _two(small: int, per: int, name: str, small_name: str) -> str:
    large, rest = divmod(small, per)
    return f"{large} {name}" + (f" {rest} {small_name}" if rest else "")


def table(figures: list[tuple[str, str]]) -> str:
    """Named figures in HTML."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in figures
    )
    return f"<table>{cells}</table>"


def is_terminal() -> bool:
    """Whether a bar can be drawn on standard error."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:
        return False


def notebook() -> Any:
    """The function ``display`` of a notebook; None elsewhere."""
    if "IPython" not in sys.modules:
        return None
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    shell = get_ipython()
    has_kernel = shell is not None and getattr(shell, "kernel", None) is not None
    return display if has_kernel else None


class Html:
    """A piece of HTML for a notebook."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html


def bar(done: int, rows: int | None, line: str) -> str:
    """A bar and a line of figures in HTML."""
    if not rows:
        return f"<code>{escape(line)}</code>"
    share = min(100.0, 100 * done / rows)
    return (
        "<div style='background:#8883;width:20em;height:.8em;display:inline-block'>"
        f"<div style='background:#4a8;width:{share:.1f}%;height:100%'></div></div> "
        f"<code>{escape(line)}</code>"
    )
