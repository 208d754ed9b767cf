"""What many would write: aiohttp with a semaphore. aiohttp_get.py URL ROWS IN_FLIGHT OUT [RATE PERIOD]

With a rate it goes through aiolimiter, a leaky bucket.
"""

import asyncio
import contextlib
import json
import sys

import aiohttp
import aiolimiter


async def main(url, rows, in_flight, out, rate=None, period=None):
    semaphore = asyncio.Semaphore(in_flight)
    limiter = aiolimiter.AsyncLimiter(rate, period) if rate else contextlib.nullcontext()
    connector = aiohttp.TCPConnector(limit=in_flight, ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        async def ask(row):
            async with semaphore:
                if rate:
                    await limiter.acquire()
                async with session.get(url + f"S{row}") as answer:
                    if answer.status != 200:
                        return {"symbol": row, "status": answer.status}
                    result = (await answer.json())["quoteResponse"]["result"][0]
                    return {"symbol": row, "price": result["regularMarketPreviousClose"],
                            "name": result.get("longName")}

        records = await asyncio.gather(*(ask(row) for row in range(rows)))
    with open(out, "w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


url, rows, in_flight, out, *limit = sys.argv[1:]
asyncio.run(main(url, int(rows), int(in_flight), out, *map(float, limit)))
