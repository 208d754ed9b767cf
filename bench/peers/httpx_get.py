"""The same with httpx. httpx_get.py URL ROWS IN_FLIGHT OUT"""

import asyncio
import json
import sys

import httpx


async def main(url, rows, in_flight, out):
    semaphore = asyncio.Semaphore(in_flight)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits) as client:
        async def ask(row):
            async with semaphore:
                result = (await client.get(url + f"S{row}")).json()["quoteResponse"]["result"][0]
                return {"symbol": row, "price": result["regularMarketPreviousClose"]}

        records = await asyncio.gather(*(ask(row) for row in range(rows)))
    with open(out, "w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


url, rows, in_flight, out = sys.argv[1:]
asyncio.run(main(url, int(rows), int(in_flight), out))
