"""throng with both hooks in Python. throng_hooks.py URL ROWS IN_FLIGHT OUT [RATE]"""

import sys
from urllib.parse import urlsplit

import throng

url, rows, in_flight, out, *rate = sys.argv[1:]
server = urlsplit(url)
job = throng.Job(url=f"{server.scheme}://{server.netloc}", rate=rate or None, workers=2, concurrency=int(in_flight) // 2)


@job.request
def request(row):
    return f"{server.path}?{server.query}" + row["symbol"]


@job.process
def process(row, answer):
    result = answer.json()["quoteResponse"]["result"][0]
    return {"price": result["regularMarketPreviousClose"], "name": result.get("longName")}


job.run(({"symbol": f"S{i}"} for i in range(int(rows))), out, overwrite=True).raise_for_failures()
