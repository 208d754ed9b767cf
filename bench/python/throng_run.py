"""throng: a job, and its records in a file. throng_run.py URL ROWS IN_FLIGHT OUT [RATE]"""

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
job.run(({"symbol": f"S{i}"} for i in range(int(rows))), out, overwrite=True).raise_for_failures()
