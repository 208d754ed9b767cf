"""The limiter around another client: 100 tasks of httpx, requests and tokens at once.

    throng mock --limit 40/1s &
    python examples/python/limiter.py http://127.0.0.1:8099
"""

import asyncio
import sys

import httpx
import throng

limiter = throng.RateLimiter("40/1s", "20000 tokens/1s", account="quotes of the example")


async def ask(client: httpx.AsyncClient, symbol: str) -> float:
    # The most that it may cost; what it doesn't cost is given back.
    async with limiter.acquire(tokens=800) as permit:
        r = await client.get(f"{sys.argv[1]}/v6/finance/quote/?symbols={symbol}")
        permit.report(r)
        permit.settle(tokens=len(r.content))
        return r.raise_for_status().json()["quoteResponse"]["result"][0]["regularMarketPreviousClose"]


async def main() -> None:
    async with httpx.AsyncClient() as client:
        prices = await asyncio.gather(*(ask(client, f"S{i}") for i in range(100)))
    print(f"{len(prices)} prices, {sum(prices) / len(prices):.2f} on average")
    for limit in limiter.snapshot()["limits"]:
        print(f"{limit['name']}: at most {limit['most']} of {limit['units']} in a period")


asyncio.run(main())
