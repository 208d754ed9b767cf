#!/usr/bin/env python3
"""The original job, side by side in every shape: 500 quotes at 22 per 5 s.

Each run has a mock server of its own, which enforces the limit over arrivals;
the last columns are that server's count. Usage: bench/original.py [--faults]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

THRONG = os.environ.get("THRONG", "target/release/throng")
FAULTS = ["429", "500", "drop", "cut", "empty", "missing", "notjson", "drip"]


def start_mock(port, faults):
    command = [THRONG, "mock", "--addr", f"127.0.0.1:{port}", "--limit", "22/5s",
               "--latency", "lognormal:250ms:0.6", "--there", "0.5", "--seed", "11"]
    for fault in faults:
        command += ["--fault", f"{fault}=5%"]
    mock = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/judge")
            return mock
        except OSError:
            time.sleep(0.05)
    sys.exit("the mock did not start")


def start_run(port, mode, workers, directory):
    name = f"{directory}/{mode}{workers}"
    command = [THRONG, "run", "-i", "examples/tickers.csv", "--take", "500",
               "--url", f"http://127.0.0.1:{port}/v6/finance/quote/",
               "-q", "region=US", "-q", "lang=en", "-q", "symbols={{ symbol }}",
               "-H", "x-api-key: {{ env.XAPIKEY }}", "-r", "22/5s",
               "-w", str(workers), "--mode", mode,
               "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose",
               "-s", "mean(price)", "-o", f"{name}.jsonl",
               "--summary-json", f"{name}.json", "--quiet"]
    return subprocess.Popen(command, env={**os.environ, "XAPIKEY": "key"})


def cpu_of(process):
    """Waits for a process; the seconds of CPU that it used."""
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime


def main():
    faults = FAULTS if "--faults" in sys.argv else []
    directory = tempfile.mkdtemp(prefix="throng-original-")
    runs = []
    for i, (mode, workers) in enumerate((m, w) for m in ("sync", "async") for w in (1, 2, 4)):
        port = 18200 + i
        mock = start_mock(port, faults)
        runs.append((mode, workers, port, mock, start_run(port, mode, workers, directory)))
    print("| mode | workers | ok | failed | 429 | seconds | best possible | + latency | CPU s | server: requests | server: most in 5 s | attempts agree |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for mode, workers, port, mock, run in runs:
        cpu = cpu_of(run)
        judge = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/judge"))
        mock.terminate()
        mock.wait()
        name = f"{directory}/{mode}{workers}"
        summary = json.load(open(f"{name}.json"))
        records = [json.loads(line) for line in open(f"{name}.jsonl")]
        ours = {r["symbol"]: r["_attempts"] for r in records}
        agree = len(records) == 500 and ours == judge["symbols"]
        ratio = summary["seconds"] / (summary["best_possible_seconds"] + summary["latency_ms"]["p50"] / 1000)
        print(f"| {mode} | {workers} | {summary['ok']} | {summary['failed']} | {summary['refused']} "
              f"| {summary['seconds']:.1f} | {summary['best_possible_seconds']:.1f} | {ratio:.3f} | {cpu:.2f} "
              f"| {judge['requests']} | {judge['windows'][0]['most']} | {'yes' if agree else 'NO'} |", flush=True)


if __name__ == "__main__":
    main()
