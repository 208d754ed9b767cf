"""Makes very many requests to a remote API, fast, and never exceeds its rate limit.

A job says what to ask for each row of a table, and under which limits::

    job = throng.Job(
        url="https://api.example/v1/items/{{ id }}",
        headers={"authorization": throng.env("API_TOKEN")},
        rate="300/1m",
        extract={"price": ".item.price"},
    )
    run = job.run("ids.csv", output="prices.jsonl", resume=True)
    print(run.summary.ok, run.to_polars())

The limiter works beside any client, too::

    limiter = throng.RateLimiter("300/1m")
    async with limiter.acquire() as permit:
        permit.report(await client.get(url))
"""

from ._throng import (
    Answer,
    Error,
    LimitError,
    OutputExists,
    PermitExpired,
    PlanError,
    ResumeMismatch,
    Stopped,
)
from .hooks import Request, Retry
from .job import Job, Plan, env, secret
from .limiter import Acquisition, Permit, RateLimiter
from .run import Failures, Progress, Records, RowsFailed, Run, Summary
from .stream import Stream

__all__ = [
    "Acquisition",
    "Answer",
    "Error",
    "Failures",
    "Job",
    "LimitError",
    "OutputExists",
    "Permit",
    "PermitExpired",
    "Plan",
    "PlanError",
    "Progress",
    "RateLimiter",
    "Records",
    "Request",
    "ResumeMismatch",
    "Retry",
    "RowsFailed",
    "Run",
    "Stopped",
    "Stream",
    "Summary",
    "env",
    "secret",
]
