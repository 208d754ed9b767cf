"""Rows of a DataFrame, and the records in DuckDB, polars and pandas, by Arrow.

    throng mock --limit 50/1s &
    python examples/python/arrow.py http://127.0.0.1:8099
"""

import sys

import duckdb
import polars as pl
import throng

job = throng.Job(
    url=f"{sys.argv[1]}/v6/finance/quote/?symbols={{{{ symbol }}}}",
    rate="50/1s",
    extract={"price": ".quoteResponse.result[0].regularMarketPreviousClose"},
)
stocks = pl.DataFrame({"symbol": [f"S{i}" for i in range(100)], "sector": ["a", "b"] * 50})
print(job.plan(stocks))

run = job.run(stocks, output="prices.parquet", resume=True)
print(pl.DataFrame(run).group_by("sector").agg(pl.col("price").mean()).sort("sector"))
print(duckdb.sql("select sector, max(price) as dearest from run group by sector order by sector"))
print(run.to_pandas().describe())
