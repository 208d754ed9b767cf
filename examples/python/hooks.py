"""Both hooks: a function makes the request of each row, another one the values of its answer.

    throng mock --limit 50/1s &
    python examples/python/hooks.py http://127.0.0.1:8099
"""

import sys

import throng

job = throng.Job(url=sys.argv[1], rate="50/1s", summary={"dearest": "max(price)"})


@job.request
def request(row: dict) -> throng.Request:
    # What a template cannot say: which of two ways to ask.
    symbol = row["symbol"].upper()
    region = "US" if row["market"] == "NYSE" else "GB"
    return throng.Request(f"/v6/finance/quote/?region={region}&symbols={symbol}")


@job.process
def process(row: dict, answer: throng.Answer) -> dict:
    quote = answer.json()["quoteResponse"]["result"][0]
    if "regularMarketPreviousClose" not in quote:
        raise throng.Retry("the price is not there yet", after=1)
    return {"price": quote["regularMarketPreviousClose"], "name": quote.get("longName", "").title()}


rows = [{"symbol": f"s{i}", "market": "NYSE" if i % 2 else "LSE"} for i in range(100)]
run = job.run(rows, output="hooks.jsonl", resume=True)
print(f"{run.summary.ok} ok, {run.summary.failed} failed; the dearest costs {run.summary['dearest']}")
run.raise_for_failures()
