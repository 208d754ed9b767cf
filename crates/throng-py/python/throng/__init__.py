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

from ._throng import Error, LimitError, PlanError, Stopped
from .job import Job, Plan, env, secret
from .limiter import Acquisition, Permit, RateLimiter
from .run import Failures, Progress, Records, RowsFailed, Run, Summary

__all__ = [
    "Acquisition",
    "Error",
    "Failures",
    "Job",
    "LimitError",
    "Permit",
    "Plan",
    "PlanError",
    "Progress",
    "RateLimiter",
    "Records",
    "RowsFailed",
    "Run",
    "Stopped",
    "Summary",
    "env",
    "secret",
]
