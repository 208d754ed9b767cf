"""throng, and each record in Python. throng_stream.py URL ROWS IN_FLIGHT OUT [RATE]"""

import sys

import throng

url, rows, in_flight, out, *rate = sys.argv[1:]
job = throng.Job(
    url=url + "{{ symbol }}",
    rate=rate or None,
    extract={"price": ".quoteResponse.result[0].regularMarketPreviousClose",
             "name?": ".quoteResponse.result[0].longName"},
    workers=2,
    concurrency=int(in_flight) // 2,
)
total = sum(record["price"] for record in job.stream([{"symbol": f"S{i}"} for i in range(int(rows))]))
