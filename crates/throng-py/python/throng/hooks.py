"""Functions in the place of a job's templates and of its ``extract``."""

import atexit
import inspect
import json
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _throng
from .rows import line

#: Makes the request of a row: a `Request`, or its URL alone.
RequestHook = Callable[[dict[str, Any]], "Request | str"]
#: Makes the values of an answer.
ProcessHook = Callable[[dict[str, Any], _throng.Answer], Mapping[str, Any]]


@dataclass
class Request:
    """The request that a hook makes of a row. The job's headers, authentication and limits hold
    for it; the URL may be only a path where the job's ``url`` is the host."""

    url: str
    method: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The body; `json` is one that is written as JSON.
    body: bytes | str | None = None
    json: Any = None
    #: What it costs in the units that limits count: ``{"tokens": 800}``.
    cost: Mapping[str, int] = field(default_factory=dict)

    def _parts(self) -> tuple[Any, ...]:
        headers, body = list(self.headers.items()), self.body
        if self.json is not None:
            body = json.dumps(self.json, ensure_ascii=False)
            if not any(name.lower() == "content-type" for name, _ in headers):
                headers.append(("content-type", "application/json"))
        method = self.method or ("GET" if body is None else "POST")
        encoded = body.encode() if isinstance(body, str) else body
        return method, self.url, headers, encoded, list(self.cost.items())


class Retry(_throng.Error):
    """Raised by a hook that processes an answer: another attempt is to follow, with a permit of
    its own, ``after`` seconds or with a pause that grows."""

    __module__ = "throng"

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass
class Hooks:
    """The hooks of a job."""

    request: RequestHook | None = None
    process: ProcessHook | None = None
    #: The names of the values that `process` gives, which outputs with columns need.
    values: Sequence[str] | None = None

    def start(self) -> "Calls | None":
        """The thread that calls them; None if there are none."""
        return Calls(self) if self.request or self.process else None


def checked(hook: Callable[..., Any]) -> None:
    """Refuses a hook that could not be called."""
    if not callable(hook):
        raise TypeError(f"a hook is a function, and this is {type(hook).__name__}")
    if inspect.iscoroutinefunction(hook):
        raise TypeError(f"{hook.__name__} is async: a hook is a plain function")


class Calls:
    """One thread that calls the hooks of a run, with many rows at a time."""

    def __init__(self, hooks: Hooks) -> None:
        self.native = _throng.Hooks()
        thread = threading.Thread(
            target=_call, args=(self.native, hooks), name="throng-hooks", daemon=True
        )
        thread.start()
        self._end = weakref.finalize(self, _end, self.native, thread)

    def close(self) -> None:
        """The run has ended."""
        self._end()


def _end(native: _throng.Hooks, thread: threading.Thread) -> None:
    native.close()
    if thread is not threading.current_thread():
        thread.join(1.0)


def _call(native: _throng.Hooks, hooks: Hooks) -> None:
    while (calls := native.next()) is not None:
        results: list[Any] = []
        for row, answer in calls:
            try:
                results.append(_result(hooks, row, answer))
            except Retry as retry:
                results.append((str(retry), True, retry.after))
            except BaseException as error:
                results.append((_told(error, hooks), False, None))
        native.reply(results)


def _told(error: BaseException, hooks: Hooks) -> str:
    """An exception of a hook, and the line of the hook's file that it comes from."""
    files = {getattr(hook, "__code__", None) for hook in (hooks.request, hooks.process)}
    names = {code.co_filename for code in files if code is not None}
    frames = [it for it in traceback.extract_tb(error.__traceback__) if it.filename in names]
    where = f" (line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _result(hooks: Hooks, row: dict[str, Any], answer: _throng.Answer | None) -> Any:
    if answer is not None:
        assert hooks.process is not None
        values = hooks.process(row, answer)
        if not isinstance(values, Mapping):
            raise TypeError(f"the hook gave {type(values).__name__}, and values are a dict")
        return line(values, 0)
    assert hooks.request is not None
    request = hooks.request(row)
    if isinstance(request, str):
        request = Request(request)
    if not isinstance(request, Request):
        raise TypeError(f"the hook gave {type(request).__name__}, and not a throng.Request")
    return request._parts()


# Threads that would wait for the engine when the interpreter ends must have ended by then.
_ends: "weakref.WeakSet[Any]" = weakref.WeakSet()


def close_at_exit(run: Any) -> None:
    """Has a run that goes on be closed when the interpreter ends."""
    _ends.add(run)


@atexit.register
def _close_all() -> None:
    for run in list(_ends):
        run.close()
