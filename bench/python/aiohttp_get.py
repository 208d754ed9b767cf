"""aiohttp, which is faster, with aiolimiter and a loop for refusals.
aiohttp_get.py URL ROWS IN_FLIGHT OUT [RATE]"""

import asyncio
import contextlib
import json
import sys

import aiohttp
from aiolimiter import AsyncLimiter


async def main(url, rows, in_flight, out, rate=None):
    units, period = rate.split("/") if rate else (0, "1s")
    limiter = AsyncLimiter(int(units), float(period[:-1])) if rate else contextlib.nullcontext()
    semaphore = asyncio.Semaphore(in_flight)
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get(symbol):
            for attempt in range(6):
                async with limiter, session.get(url + symbol) as r:
                    if r.status == 200:
                        return (await r.json())["quoteResponse"]["result"][0]
                    pause = float(r.headers.get("retry-after", 2**attempt))
                await asyncio.sleep(pause)
            raise RuntimeError(f"status {r.status}")

        async def ask(symbol):
            async with semaphore:
                try:
                    result = await get(symbol)
                except Exception as error:
                    return {"symbol": symbol, "error": repr(error)}
            return {"symbol": symbol, "price": result["regularMarketPreviousClose"],
                    "name": result.get("longName")}

        records = await asyncio.gather(*(ask(f"S{i}") for i in range(rows)))
    with open(out, "w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


url, rows, in_flight, out, *rate = sys.argv[1:]
asyncio.run(main(url, int(rows), int(in_flight), out, *rate))
