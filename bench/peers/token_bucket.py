"""A token bucket in the client, as most libraries have it. token_bucket.py URL ROWS OUT RATE PERIOD"""

import asyncio
import json
import sys
import time

import aiohttp


class TokenBucket:
    def __init__(self, rate, period):
        self.tokens, self.most, self.gap, self.last = rate, rate, period / rate, time.monotonic()

    async def take(self):
        while True:
            now = time.monotonic()
            self.tokens = min(self.most, self.tokens + (now - self.last) / self.gap)
            self.last = now
            if self.tokens >= 1:
                self.tokens -= 1
                return
            await asyncio.sleep((1 - self.tokens) * self.gap)


async def main(url, rows, out, rate, period):
    bucket = TokenBucket(rate, period)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:
        async def ask(row):
            async with session.get(url + f"S{row}") as answer:
                await answer.read()
                return {"symbol": row, "status": answer.status}

        asking = []
        for row in range(rows):
            await bucket.take()
            asking.append(asyncio.create_task(ask(row)))
        records = await asyncio.gather(*asking)
    with open(out, "w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


url, rows, out, rate, period = sys.argv[1:]
asyncio.run(main(url, int(rows), out, float(rate), float(period)))
