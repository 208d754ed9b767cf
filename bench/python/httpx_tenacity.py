"""What many write: httpx, tenacity and aiolimiter. httpx_tenacity.py URL ROWS IN_FLIGHT OUT [RATE]"""

import asyncio
import contextlib
import json
import sys

import httpx
from aiolimiter import AsyncLimiter
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter


def may_pass(error):
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return isinstance(error, httpx.TransportError)


def pause(state):
    error = state.outcome.exception()
    if isinstance(error, httpx.HTTPStatusError):
        with contextlib.suppress(ValueError):
            return float(error.response.headers.get("retry-after", ""))
    return wait_exponential_jitter(0.5, 30)(state)


async def main(url, rows, in_flight, out, rate=None):
    units, period = rate.split("/") if rate else (0, "1s")
    limiter = AsyncLimiter(int(units), float(period[:-1])) if rate else contextlib.nullcontext()
    semaphore = asyncio.Semaphore(in_flight)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits) as client:

        @retry(retry=retry_if_exception(may_pass), wait=pause, stop=stop_after_attempt(6), reraise=True)
        async def get(symbol):
            async with limiter:
                r = await client.get(url + symbol)
            r.raise_for_status()
            return r.json()["quoteResponse"]["result"][0]

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
