"""A run: its records, its summary and its progress."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import Any

from . import _display, _throng

log = logging.getLogger("throng")

# Time between two looks at a run, in seconds.
_LOOK = 0.1

# The most rows of a run that a notebook shows plots of by itself.
_MOST_PLOTTED = 200_000


class RowsFailed(_throng.Error):
    """Rows of a run have failed."""

    # The name that a traceback shows.
    __module__ = "throng"


@dataclass(frozen=True)
class Progress:
    """The counts of a run that goes on."""

    #: The number of records that the run will write; None if that is not known.
    rows: int | None
    ok: int
    failed: int
    #: Requests, all attempts of all rows.
    sent: int
    #: Requests that are unanswered.
    in_flight: int
    #: Requests that wait for the limits.
    waiting: int
    #: Requests that the server refused because of its limit.
    refused: int
    retried: int
    seconds: float
    #: For how many seconds more the server wants no request.
    paused: float | None
    #: The server that is out, and the failure.
    outage: str | None

    @property
    def done(self) -> int:
        """The number of rows with a record."""
        return self.ok + self.failed

    def __str__(self) -> str:
        of = "" if self.rows is None else f"/{self.rows:,}"
        parts = [
            f"{self.done:,}{of}",
            f"{self.done / max(self.seconds, 0.001):.1f}/s",
            f"{self.in_flight} in flight",
            f"{self.waiting} waiting",
        ]
        counts = (("refused", self.refused), ("retried", self.retried), ("failed", self.failed))
        parts += [f"{count:,} {name}" for name, count in counts if count]
        if self.paused:
            parts.append(f"the server asks for a pause: {self.paused:.0f} s more")
        elif self.rows and 0 < self.done < self.rows:
            left = self.seconds * (self.rows - self.done) / self.done
            parts.append(f"{_display.time(timedelta(seconds=left))} left")
        if self.outage:
            parts.append(self.outage)
        return " · ".join(parts)


class Records:
    """Records of a run: a table that every library of DataFrames reads, row by row or whole."""

    def __init__(self, file: str, failed: bool = False) -> None:
        self._file, self._failed = file, failed

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The records as a stream of Arrow, by the protocol of its C data interface."""
        return _throng.records(self._file, self._failed).arrow_stream()

    def to_polars(self) -> Any:
        """The records as a DataFrame of polars."""
        import polars

        return polars.DataFrame(self)

    def to_pandas(self) -> Any:
        """The records as a DataFrame of pandas."""
        import pandas

        if hasattr(pandas.DataFrame, "from_arrow"):
            return pandas.DataFrame.from_arrow(self)
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> Any:
        """The records as a table of pyarrow."""
        import pyarrow

        return pyarrow.table(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        records = _throng.records(self._file, self._failed)
        while batch := records.next_batch(1000):
            yield from batch


class Summary(Mapping[str, Any]):
    """The counts of a run, and the results of the job's ``summary``: ``summary["mean_price"]``."""

    def __init__(self, report: str, text: str) -> None:
        #: All of it, as ``--summary-json`` has it.
        self.json: dict[str, Any] = json.loads(report)
        self._text = text

    @property
    def rows(self) -> int:
        """Rows with a record in the output."""
        return int(self.json["rows"])

    @property
    def ok(self) -> int:
        """Rows with a result."""
        return int(self.json["ok"])

    @property
    def failed(self) -> int:
        """Rows without a result."""
        return int(self.json["failed"])

    @property
    def skipped(self) -> int:
        """Rows that an earlier run had finished."""
        return int(self.json["skipped"])

    @property
    def requests(self) -> int:
        """Requests: all attempts of all rows."""
        return int(self.json["requests"])

    @property
    def refused(self) -> int:
        """Requests that the server refused because of its limit."""
        return int(self.json["refused"])

    @property
    def seconds(self) -> float:
        """The time that the run took, in seconds."""
        return float(self.json.get("seconds") or 0.0)

    @property
    def bound_share(self) -> float | None:
        """The least time that the limits allow as a share of the time that the run took: 0.98
        is 2 % slower than the best possible. None without a limit on the rate."""
        best = self.json.get("best_possible_seconds")
        return None if best is None else float(min(1.0, best / max(self.seconds, 1e-9)))

    @property
    def failures(self) -> dict[str, int]:
        """The number of failed rows by the kind of their failure."""
        return {kind["kind"]: kind["count"] for kind in self.json["failures"]}

    def _first_failure(self) -> str:
        """Which row failed first in the input, and why; nothing where no row is known."""
        examples = [example for kind in self.json["failures"] for example in kind["examples"]]
        first = min(examples, key=lambda example: int(example["row"]), default=None)
        if first is None:
            return ""
        why = f"{first['row']} ({first['label']}): {first['detail']}"
        # What a server has written may not steer a terminal.
        return ". The first is row " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in why)

    def __getitem__(self, name: str) -> Any:
        """A result of the job's ``summary``: a figure, or a dict of figures by group."""
        try:
            result = self.json["aggregates"][name]
        except KeyError:
            known = ", ".join(self.json["aggregates"]) or "none"
            raise KeyError(f"{name!r} is not in the summary: there are {known}") from None
        if "groups" in result:
            return {group["key"]: group["value"] for group in result["groups"]}
        return result["value"]

    def __iter__(self) -> Iterator[str]:
        return iter(self.json["aggregates"])

    def __len__(self) -> int:
        return len(self.json["aggregates"])

    def __repr__(self) -> str:
        return f"<throng.Summary: {self.rows:,} rows, {self.ok:,} ok, {self.failed:,} failed>"

    def __str__(self) -> str:
        return self._text.rstrip()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


class Run(Records):
    """A finished run: its records, its `summary` and its `failures`."""

    def __init__(self, file: str, folder: str | None) -> None:
        super().__init__(file)
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        #: The file of the records.
        self.output = file
        #: The counts, and the results of the job's ``summary``.
        self.summary: Summary
        #: What users should know of the run.
        self.notes: list[str] = []

    @property
    def failures(self) -> "Failures":
        """The records of rows that failed."""
        return Failures(self)

    def raise_for_failures(self) -> None:
        """Raises `RowsFailed` if any row has failed; its text has the number of failures of each
        kind, and why the first row failed."""
        if self.summary.failed:
            kinds = ", ".join(f"{kind} ({n:,})" for kind, n in self.summary.failures.items())
            raise RowsFailed(
                f"{self.summary.failed:,} of {self.summary.rows:,} rows failed: {kinds}"
                f"{self.summary._first_failure()}"
            )

    def __len__(self) -> int:
        return self.summary.rows

    def __repr__(self) -> str:
        return f"<throng.Run: {repr(self.summary)[17:-1]}, {self.output}>"

    def __str__(self) -> str:
        return str(self.summary)

    def report_html(self) -> str:
        """A page in HTML about the run, with plots, failures and values, that needs no network."""
        with tempfile.TemporaryDirectory(prefix="throng-") as folder:
            page = os.path.join(folder, "page.html")
            # The command sets what a process has only once, so it has one of its own.
            command = [sys.executable, "-m", "throng", "report", self.output, "--html", page]
            done = subprocess.run([*command, "--quiet"], capture_output=True, text=True)
            if not os.path.exists(page):
                raise _throng.Stopped(done.stderr.strip())
            with open(page, encoding="utf-8") as file:
                return file.read()

    def _repr_html_(self) -> str:
        headline = self.summary._repr_html_()
        if self.summary.rows > _MOST_PLOTTED:
            return headline
        try:
            page = escape(self.report_html())
        except _throng.Error:
            return headline
        style = "width:100%;height:40em;border:0"
        return f'{headline}<iframe srcdoc="{page}" style="{style}"></iframe>'

    def _go(self, plan: _throng.Plan, progress: bool | Callable[[Progress], object] | None) -> None:
        """Carries the plan out."""
        display = _Display(progress)
        native = plan.start(display.is_bar)
        interrupt = _wait(native, display)
        self.notes = native.notes()
        for note in self.notes:
            log.info(note)
        report, text, is_interrupted, why = native.report()
        self.summary = Summary(report, text)
        if why is not None:
            error = _throng.Stopped(why)
            error.run = self  # type: ignore[attr-defined]
            raise error
        if interrupt is not None:
            if isinstance(interrupt, KeyboardInterrupt) and hasattr(interrupt, "add_note"):
                interrupt.add_note(
                    f"throng: {self.summary.rows:,} rows are done; "
                    "the same call with resume=True goes on"
                )
            raise interrupt
        assert not is_interrupted


class Failures(Records):
    """The records of a run's rows that failed."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.output, failed=True)
        # The file may be one that is gone with the run.
        self._run = run

    def __len__(self) -> int:
        return self._run.summary.failed

    def __repr__(self) -> str:
        return f"<throng.Failures: {len(self):,} rows that failed>"


def _wait(native: _throng.Run, display: "_Display") -> BaseException | None:
    """Waits for the end of a run. The first Ctrl-C ends it gracefully, the second drops the
    requests in flight, the third raises at once."""
    interrupt: BaseException | None = None
    presses = 0
    while True:
        try:
            while not native.wait(_LOOK):
                display.show(native)
            display.show(native, is_last=True)
            return interrupt
        except BaseException as error:
            interrupt = interrupt or error
            presses += 1
            if presses == 1:
                native.stop()
            elif presses == 2:
                native.abort()
            else:
                raise


class _Display:
    """Where the progress of a run is shown."""

    def __init__(self, progress: bool | Callable[[Progress], object] | None) -> None:
        self._call = progress if callable(progress) else None
        shows = progress is True or progress is None
        self._display = _display.notebook() if shows else None
        self._handle: Any = None
        self._next = 0.0
        self.is_bar = shows and self._display is None and (
            progress is True or _display.is_terminal()
        )  # fmt: skip

    def show(self, native: _throng.Run, is_last: bool = False) -> None:
        if (self._call is None and self._display is None) or (
            time.monotonic() < self._next and not is_last
        ):
            return
        self._next = time.monotonic() + 0.25
        progress = Progress(**json.loads(native.progress()))
        if self._call is not None:
            self._call(progress)
        if self._display is not None:
            html = _display.Html(_display.bar(progress.done, progress.rows, str(progress)))
            if self._handle is None:
                self._handle = self._display(html, display_id=True)
            else:
                self._handle.update(html)
