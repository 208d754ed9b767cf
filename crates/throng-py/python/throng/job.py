"""A job: what to ask for each row, under which limits, and what to keep."""

import difflib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from html import escape
from numbers import Real
from typing import Any, overload

from . import _display, _throng
from .hooks import Calls, Hooks, ProcessHook, RequestHook, checked
from .limiter import RateLimiter, Seconds, checked as checked_limiter
from .rows import Rows, as_input, is_iterable, is_temporary, plain
from .run import Progress, Run
from .stream import Feeder, Stream

Table = Mapping[str, Any]


def env(name: str) -> str:
    """A variable of the environment as a template: its value is read when a run begins, and
    hidden wherever it would show. ``f"Bearer {throng.env('API_TOKEN')}"`` works, too."""
    return f"{{{{ env.{name} }}}}"


def secret(name: str) -> str:
    """A secret of the job's ``secrets`` as a template."""
    return f"{{{{ secret.{name} }}}}"


# The sections of a job file, by keyword.
_SECTIONS = (
    "against", "answer", "answer_encoding", "answer_format", "answers", "api", "auth", "batch",
    "batch_api", "before", "budget", "check", "cookies", "dedupe", "env", "extract", "fallback",
    "input", "items", "limit", "network", "no_headers", "only", "output", "pages", "poll", "price",
    "process", "reask", "refusal", "render", "request", "retry", "save", "secrets", "send",
    "shard", "signal", "step", "store", "summary", "target", "tls", "workers",
)  # fmt: skip

# The keys of a section that are keywords of their own.
_KEYS = {
    "request": ("url", "method", "query", "headers", "data", "json", "jq", "form", "multipart",
                "body_file", "allow_host"),
    "input": ("take",),
    "limit": ("rate", "guard", "burst", "spacing", "shape", "in_flight", "per", "route", "loosen",
              "keys", "cost", "settle", "use", "share", "share_token", "share_cacert", "account",
              "uncounted", "skew", "linger"),
    "workers": ("mode", "concurrency", "grace", "deadline"),
    "send": ("timeout", "idle_timeout", "connect_timeout", "max_body", "follow", "keep_gzip"),
    "network": ("proxy", "resolve", "interface", "unix_socket", "http", "allow_private",
                "allow_plain"),
    "tls": ("ca_cert", "cert", "insecure"),
    "retry": ("retries", "max_wait", "max_refusals", "max_failures", "brake", "unknown",
              "idempotency_key", "idempotency_ttl"),
    "store": ("offline",),
    "output": ("keep_body", "replace_fields", "order", "sync", "columns", "no_meta", "parts"),
}  # fmt: skip
_SECTION_OF = {key: section for section, keys in _KEYS.items() for key in keys}

# What a section's only value is where it is no table.
_ALONE = {"output": "file", "input": "file", "workers": "count", "limit": "rate", "items": "each",
          "store": "dir"}  # fmt: skip

# Sections whose keys have a dash where Python has an underscore.
_DASHED = ("batch", "input", "limit", "network", "output", "pages", "poll", "process", "render",
           "request", "retry", "send", "store", "tls", "workers")  # fmt: skip


def _value(name: str, value: Any) -> Any:
    """A value of this name as JSON has it."""
    if isinstance(value, timedelta):
        return f"{round(_checked_time(name, value) * 1e6)}us"
    if isinstance(value, Mapping):
        return {str(key): _value(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(f"{name}[{at}]", item) for at, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise _throng.PlanError(f"{name} is {value}, which no job can say: give another number")
    if value is None or isinstance(value, (str, int, float)):
        return value
    try:
        return _value(name, plain(value))
    except TypeError:
        kind = type(value).__name__
        raise _throng.PlanError(f"{name} is {kind}: give a text, a number, a dict or a list") from None


# The longest time, in seconds: a century.
_LONGEST = 100 * 365.25 * 86_400

_DURATIONS = {"timeout", "idle_timeout", "connect_timeout", "spacing", "grace", "skew", "linger",
              "max_wait", "idempotency_ttl", "age"}  # fmt: skip


def _duration(name: str, value: Any) -> Any:
    """A value of this name, as a time if it is a number that is one."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return f"{round(_checked_time(name, value) * 1e6)}us" if name in _DURATIONS and is_number else value


def _checked_time(name: str, time: Any) -> float:
    """A time in seconds that a job can say."""
    found = time.total_seconds() if isinstance(time, timedelta) else float(time)
    if not 0 <= found < _LONGEST:
        shown = f"{found:g} s" if isinstance(time, timedelta) else repr(time)
        raise _throng.PlanError(f"{name} is {shown}: give a time of 0 s or more, and less than a century")
    return found


def _section(name: str, value: Any) -> Any:
    """A section of a job, with the names of a job file."""
    if name in _ALONE and not isinstance(value, Mapping):
        value = {_ALONE[name]: value}
    if name in _DASHED and isinstance(value, Mapping):
        value = {key.replace("_", "-"): _duration(key, item) for key, item in value.items()}
    return _value(name, value)


def tree(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a job, as its file has them, of keywords; None says nothing."""
    settings: dict[str, Any] = {}
    given = {name: value for name, value in keywords.items() if value is not None}
    for name, value in given.items():
        if name in _SECTIONS:
            settings[name.replace("_", "-")] = _section(name, value)
        elif name not in _SECTION_OF:
            known = [*_SECTIONS, *_SECTION_OF]
            close = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean `{close[0]}`?" if close else ""
            raise _throng.PlanError(f"the job: unknown keyword `{name}`{meant}")
    for name, value in given.items():
        if name in _SECTION_OF:
            section = settings.setdefault(_SECTION_OF[name], {})
            section[name.replace("_", "-")] = _value(name, _duration(name, value))
    return settings


class Plan:
    """A checked job: what it would do. Nothing was sent."""

    def __init__(self, native: _throng.Plan, latency: float) -> None:
        rows, least, cost, notes, text = native.figures(latency)
        #: The number of rows that are left to do; None if that is not known.
        self.rows: int | None = rows
        #: The least time that the limits allow; None without a limit on the rate.
        self.least_time: timedelta | None = None if least is None else timedelta(seconds=least)
        #: The cost of all rows in each unit but requests.
        self.cost: dict[str, int] = dict(cost)
        #: What to know before the run.
        self.notes: list[str] = notes
        #: All of it, with the first requests, as ``throng plan`` shows it.
        self.text: str = text

    def _figures(self) -> list[tuple[str, str]]:
        figures = [("rows", "unknown" if self.rows is None else f"{self.rows:,}")]
        least = "no bound" if self.least_time is None else _display.time(self.least_time)
        figures.append(("least time", least))
        return figures + [(unit, f"{units:,}") for unit, units in self.cost.items()]

    def __repr__(self) -> str:
        return f"<throng.Plan: {', '.join(f'{name} {value}' for name, value in self._figures())}>"

    def __str__(self) -> str:
        return self.text.rstrip()

    def _repr_html_(self) -> str:
        return _display.table(self._figures()) + f"<pre>{escape(self.text)}</pre>"


class Job:
    """What to ask for each row, under which limits, and what to keep.

    All that a job file can say is a keyword: its sections (``request``, ``limit``, ``retry``, …)
    as dicts, and the keys of most sections by themselves (``url``, ``rate``, ``retries``, …).
    Names have underscores where the file has dashes; times may be numbers of seconds or a
    `timedelta`. ``limiter`` is a `RateLimiter` whose limits the job shares with other code.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        method: str | None = None,
        query: Table | None = None,
        headers: Table | None = None,
        data: str | None = None,
        json: Any = None,
        rate: Any = None,
        extract: Table | None = None,
        summary: Table | None = None,
        output: str | os.PathLike[str] | Table | None = None,
        input: str | os.PathLike[str] | Table | None = None,
        timeout: str | Seconds | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
        workers: int | Table | None = None,
        api: str | None = None,
        auth: Table | None = None,
        account: str | None = None,
        cost: Table | None = None,
        settle: Table | None = None,
        guard: str | None = None,
        limiter: RateLimiter | None = None,
        **more: Any,
    ) -> None:
        keywords = dict(locals())
        for name in ("self", "more", "limiter"):
            del keywords[name]
        self._limiter = None if limiter is None else checked_limiter(limiter)
        self._hooks = Hooks()
        self._keywords = {**{k: v for k, v in keywords.items() if v is not None}, **more}
        self._native = _throng.Job(_dumps(tree(self._keywords)))

    @classmethod
    def read(cls, path: str | os.PathLike[str], **keywords: Any) -> "Job":
        """The job of a file, TOML or JSON; keywords go before what the file says."""
        job = cls.__new__(cls)
        limiter = keywords.pop("limiter", None)
        job._limiter = None if limiter is None else checked_limiter(limiter)
        job._hooks = Hooks()
        job._keywords = keywords
        job._native = _throng.Job.read(os.fspath(path), _dumps(tree(keywords)))
        return job

    def plan(
        self,
        rows: Rows = None,
        *,
        output: str | os.PathLike[str] | None = None,
        resume: bool | str = False,
        latency: Seconds = 0.25,
    ) -> Plan:
        """Checks the job with these rows, and sends nothing.

        :param latency: the time that an answer is taken to take
        """
        over = _output(output, resume, False, False)
        latency = latency.total_seconds() if isinstance(latency, timedelta) else latency
        with as_input(rows) as source, self._calls() as calls:
            plan = Plan(self._planned(source, over, calls), latency)
            if source is not None and is_temporary(source):
                plan.text = plan.text.replace(source["file"], type(rows).__name__)
            plan.text = plan.text.replace("\noutput    stdout\n", "\noutput    kept with the run\n")
            return plan

    def run(
        self,
        rows: Rows = None,
        output: str | os.PathLike[str] | None = None,
        *,
        resume: bool | str = False,
        overwrite: bool = False,
        retry_failed: bool | str = False,
        progress: bool | Callable[[Progress], object] | None = None,
    ) -> Run:
        """Takes every row to its record, and gives the run. Rows that fail don't raise:
        `Run.failures` has them, and `Run.raise_for_failures` raises.

        Ctrl-C begins no more rows, waits for the answers in flight and raises
        `KeyboardInterrupt`; the same call with ``resume=True`` goes on.

        :param rows: a path, a DataFrame, an Arrow table, or an iterable of dicts; the job's own
            input if not given
        :param output: the file of the records, in the format of its name; without one they are
            kept as long as the run is
        :param resume: asks only for the rows that the output lacks, which are all if it is new.
            ``"changed"`` keeps records although the job or the rows have changed since,
            ``"damaged"`` asks again for records that are damaged
        :param overwrite: replaces the output
        :param retry_failed: resumes, and asks again for rows that failed: all, or those of these
            kinds (``"500,timeout"``)
        :param progress: whether to show a bar; a function is called with the counts a few times
            a second
        """
        over = _output(output, resume, overwrite, retry_failed)
        own = json.loads(self._native.tree())["output"]["file"]
        if (resume or retry_failed) and output is None and own is None:
            raise _throng.PlanError("a run is resumed from its output: give output=...")
        with as_input(rows) as source, self._calls() as calls:
            native = self._planned(source, over, calls)
            file, folder = native.output_file(), None
            if file is None:
                folder = tempfile.mkdtemp(prefix="throng-")
                file = os.path.join(folder, "records.jsonl")
            run = Run(file, folder)
            if folder is not None:
                native = self._planned(source, {**over, "file": file, "sync": "end"}, calls)
            run._go(native, progress)
            return run

    def stream(
        self,
        rows: Rows = None,
        output: str | os.PathLike[str] | None = None,
        *,
        resume: bool | str = False,
    ) -> Stream:
        """Gives the records as they come, for ``for`` and ``async for``.

        :param rows: as for `run`, or an asynchronous iterable; those of an iterable are taken as
            they are needed, so it may be endless
        :param output: a file that has the records first; none if not given
        :param resume: asks only for the rows that the output lacks
        """
        feed = Feeder(rows) if is_iterable(rows) else None
        over = _output(output, resume, False, False)
        with ExitStack() as stack:
            source = stack.enter_context(as_input(None if feed else rows))
            calls = stack.enter_context(self._calls())
            native = self._planned(source, over, calls, feed)
            return Stream(native.stream(), feed, stack.pop_all())

    def request(self, hook: RequestHook) -> RequestHook:
        """Has a function make the request of each row, in place of ``url`` and its like::

            @job.request
            def request(row: dict) -> throng.Request:
                return throng.Request(f"https://api.example/{row['id']}", json=row)
        """
        checked(hook)
        self._hooks.request = hook
        return hook

    @overload
    def process(
        self, hook: ProcessHook, *, values: Sequence[str] | None = None
    ) -> ProcessHook: ...

    @overload
    def process(
        self, hook: None = None, *, values: Sequence[str] | None = None
    ) -> Callable[[ProcessHook], ProcessHook]: ...

    def process(self, hook: ProcessHook | None = None, *, values: Sequence[str] | None = None) -> Any:
        """Has a function make the values of each answer, in place of ``extract``::

            @job.process
            def process(row: dict, answer: throng.Answer) -> dict:
                return {"n": len(answer.json()["tags"])}

        An exception fails the row, and `throng.Retry` asks for another attempt. Outputs with
        columns, such as CSV, need the names of the ``values``: ``@job.process(values=["n"])``.
        """
        self._hooks.values = values or self._hooks.values
        if hook is None:
            return self.process
        checked(hook)
        self._hooks.process = hook
        return hook

    @contextmanager
    def _calls(self) -> Iterator[Calls | None]:
        """The thread that calls the hooks, as long as it is needed."""
        calls = self._hooks.start()
        try:
            yield calls
        finally:
            if calls is not None:
                calls.close()

    def _planned(
        self,
        source: dict[str, Any] | None,
        output: dict[str, Any],
        calls: Calls | None,
        feed: Feeder | None = None,
    ) -> _throng.Plan:
        over = {"output": output, "input": source}
        hooks = self._hooks
        parts = (
            None if feed is None else feed.native,
            None
            if calls is None
            else (calls.native, bool(hooks.request), bool(hooks.process), hooks.values),
            None if self._limiter is None else self._limiter._native,
        )
        try:
            return self._native.plan(_dumps(over), *parts)
        except _throng.Error as error:
            if source is None or not is_temporary(source):
                raise
            raise type(error)(str(error).replace(source["file"], "the input")) from None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._keywords.items())
        return f"throng.Job({shown})"

    def _repr_html_(self) -> str:
        settings = json.loads(self._native.tree())
        keep = [(name, _dumps(settings[name])) for name in ("extract", "summary") if settings[name]]
        request = settings["request"]
        method = request["method"] or "GET"
        figures = [
            ("request", f"{method} {request['url']}"),
            ("limits", ", ".join(map(_shown, settings["limit"]["rate"])) or "none"),
            *keep,
        ]
        return _display.table(figures)


def _shown(limit: Any) -> str:
    return limit if isinstance(limit, str) else _dumps(limit)


# What becomes of an output that is there.
_RESUME = {
    False: "refuse",
    True: "resume-or-new",
    "changed": "resume-changed",
    "damaged": "resume-damaged",
}


def _output(
    output: str | os.PathLike[str] | None,
    resume: bool | str,
    overwrite: bool,
    retry_failed: bool | str,
) -> dict[str, Any]:
    over: dict[str, Any] = {}
    if output is not None:
        over["file"] = os.fspath(output)
    if resume and overwrite:
        raise _throng.PlanError("resume and overwrite are both given: leave one of them out")
    if resume not in _RESUME:
        raise _throng.PlanError(f"resume is {resume!r}: give True, \"changed\" or \"damaged\"")
    if resume or overwrite:
        over["existing"] = _RESUME[resume] if resume else "overwrite"
    if retry_failed:
        over["retry-failed"] = retry_failed
    return over


def _dumps(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _throng.PlanError(f"the job: {error}") from None
