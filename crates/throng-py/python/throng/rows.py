"""The rows of a job: a file, a table, or any iterable of dicts."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import _throng

#: What a job's rows can be: a path, a table (of polars, pandas, pyarrow, or anything with
#: ``__arrow_c_stream__``), or an iterable of dicts or texts.
Rows = Any


@contextmanager
def as_input(rows: Rows) -> Iterator[dict[str, Any] | None]:
    """The ``input`` of a job that has these rows. Those that are in no file are written to one,
    so that they can be counted before anything is sent, and known again when a run is resumed."""
    if rows is None:
        yield None
        return
    if isinstance(rows, (str, os.PathLike)):
        yield {"file": os.fspath(rows), "list": None}
        return
    folder = tempfile.mkdtemp(prefix="throng-")
    try:
        file = os.path.join(folder, "rows.jsonl")
        _write(rows, file)
        yield {"file": file, "format": None, "list": None}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_iterable(rows: Rows) -> bool:
    """Whether rows can be taken one after the other, and are no file and no table."""
    if hasattr(rows, "__aiter__"):
        return True
    is_table = hasattr(rows, "__arrow_c_stream__") or type(rows).__module__.startswith(
        ("polars.", "pandas.")
    )
    is_text = isinstance(rows, (str, bytes, os.PathLike, Mapping))
    return isinstance(rows, Iterable) and not is_table and not is_text


def is_temporary(source: Mapping[str, Any]) -> bool:
    """Whether an input is a file that `as_input` has written."""
    return "format" in source


def _write(rows: Rows, file: str) -> None:
    module = type(rows).__module__.partition(".")[0]
    if module in ("pandas", "polars") and hasattr(rows, "to_frame"):
        # A series is a frame with one column.
        rows = rows.to_frame()
    if module == "pandas":
        rows = _with_whole_numbers(rows)
    arrow = file.removesuffix(".jsonl") + ".arrow"
    if module == "polars":
        rows.sink_ipc(arrow) if hasattr(rows, "sink_ipc") else rows.write_ipc(arrow)
    elif hasattr(rows, "__arrow_c_stream__") and _write_arrow(rows, arrow):
        pass
    elif module == "pandas":
        _write_lines(_records(rows), file)
        return
    elif hasattr(rows, "__arrow_c_stream__"):
        raise TypeError(
            f"to read rows from {type(rows).__name__}, throng needs pyarrow or polars: install one"
        )
    elif isinstance(rows, Iterable) and not isinstance(rows, (Mapping, bytes)):
        _write_lines(rows, file)
        return
    elif hasattr(rows, "__aiter__"):
        raise TypeError(
            "the rows are asynchronous: take their records with `async for record in job.stream(rows)`"
        )
    else:
        raise TypeError(
            f"{type(rows).__name__} has no rows: give a path, a DataFrame, an Arrow table or an "
            "iterable of dicts"
        )
    _throng.convert(arrow, file)
    os.remove(arrow)


def _write_arrow(rows: Any, file: str) -> bool:
    """Writes a stream of Arrow to a file, if a library is there that can."""
    try:
        import pyarrow
    except ImportError:
        pass
    else:
        reader = pyarrow.RecordBatchReader.from_stream(rows)
        with pyarrow.ipc.new_file(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        return True
    try:
        import polars
    except ImportError:
        return False
    polars.DataFrame(rows).write_ipc(file)
    return True


def _with_whole_numbers(frame: Any) -> Any:
    """A DataFrame of pandas with its whole numbers as such. Where one is missing, or was, pandas has
    made fractions of all of a column: 7 would be 7.0 in a URL."""
    if not frame.columns.is_unique:
        return frame
    whole = {}
    for name, values in frame.items():
        if values.dtype.kind == "f":
            known = values.dropna()
            if len(known) and (known % 1 == 0).all() and (known.abs() < 2**53).all():
                whole[name] = "Int64"
    return frame.astype(whole) if whole else frame


def _records(frame: Any) -> Iterator[dict[str, Any]]:
    """The rows of a DataFrame of pandas where there is no pyarrow."""
    for record in frame.to_dict("records"):
        yield {name: None if _is_missing(value) else value for name, value in record.items()}


def _is_missing(value: Any) -> bool:
    """Whether a value of pandas is none: NaN, NaT or NA."""
    return type(value).__name__ == "NAType" or bool(isinstance(value, Hashable) and value != value)


def _write_lines(rows: Iterable[Any], file: str) -> None:
    with open(file, "w", encoding="utf-8") as out:
        for number, row in enumerate(rows):
            out.write(line(row, number))
            out.write("\n")


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=lambda value: plain(value)
).encode


def line(row: Any, number: int) -> str:
    """A row as a line of JSON."""
    if isinstance(row, str):
        row = {"line": row}
    elif not isinstance(row, Mapping):
        row = as_dict(row, number)
    try:
        return _encode(row if type(row) is dict else dict(row))
    except ValueError:
        return _encode(without_nan(row))
    except TypeError as error:
        raise TypeError(f"row {number}: {error}") from None


def as_dict(row: Any, number: int) -> dict[str, Any]:
    """A row that is an object with fields: a dataclass, a named tuple, a model of pydantic."""
    for method in ("model_dump", "_asdict", "to_dict"):
        if callable(getattr(row, method, None)):
            return dict(getattr(row, method)())
    if hasattr(row, "__dataclass_fields__"):
        return {name: getattr(row, name) for name in row.__dataclass_fields__}
    raise TypeError(
        f"row {number} is {type(row).__name__}: a row is a dict, a text, a dataclass or a named tuple, "
        "such as {\"id\": 7}"
    )


def without_nan(value: Any) -> Any:
    """A value with None where a number is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if callable(getattr(value, "tolist", None)):
        return without_nan(value.tolist())
    return value


def plain(value: Any) -> Any:
    """A value that JSON lacks as one that it has."""
    for method in ("isoformat", "tolist"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if type(value).__name__ in ("Decimal", "UUID") or isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no value of a row: make it a text or a number")
