"""A queue in, a sink out: rows come from asyncio while the run goes on, and records go to a
database as they come.

    throng mock --limit 50/1s &
    python examples/python/stream.py http://127.0.0.1:8099
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator

import throng

job = throng.Job(
    url=f"{sys.argv[1]}/v6/finance/quote/?symbols={{{{ symbol }}}}",
    rate="50/1s",
    extract={"price": ".quoteResponse.result[0].regularMarketPreviousClose"},
)


async def orders() -> AsyncIterator[dict]:
    """Stands for a queue, a socket, or a cursor of a database."""
    for number in range(100):
        yield {"symbol": f"S{number}", "order": number}
        await asyncio.sleep(0.001)


async def main() -> None:
    database = sqlite3.connect("prices.sqlite")
    database.execute("create table if not exists prices (number primary key, symbol, price)")
    stream = job.stream(orders())
    async for record in stream:
        if record["_ok"]:
            row = (record["order"], record["symbol"], record["price"])
            database.execute("insert or replace into prices values (?, ?, ?)", row)
    database.commit()
    count, mean = database.execute("select count(*), avg(price) from prices").fetchone()
    print(f"{count} prices, {mean:.2f} on average; {stream.summary.refused} were refused")


asyncio.run(main())
