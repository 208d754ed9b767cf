"""Progress to a log of one's own, and a run that ends early and goes on.

    throng mock --limit 50/1s &
    python examples/python/progress.py http://127.0.0.1:8099
"""

import logging
import sys

import throng

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)

job = throng.Job(
    url=f"{sys.argv[1]}/v6/finance/quote/?symbols={{{{ symbol }}}}",
    rate="50/1s",
    extract={"price": ".quoteResponse.result[0].regularMarketPreviousClose"},
)
rows = [{"symbol": f"S{i}"} for i in range(150)]


class Enough(Exception):
    pass


def until_half(progress: throng.Progress) -> None:
    logging.info("%s", progress)
    if progress.done >= 50:
        raise Enough


try:
    job.run(rows, output="progress.jsonl", overwrite=True, progress=until_half)
except Enough:
    # No more rows were begun, and the answers in flight were awaited.
    logging.info("enough for now")

run = job.run(rows, output="progress.jsonl", resume=True, progress=lambda it: logging.info("%s", it))
logging.info("%d rows, of which %d were done before", run.summary.rows, run.summary.skipped)
