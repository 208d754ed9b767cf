#!/usr/bin/env python3
"""The three guards beside each other, judged by the server.

Each run has a mock of its own with log-normal latency (median 200 ms, sigma 0.6),
either half of it on the way there or all of it the server's own work. Note that the
mock's way there lies behind its network stack, where no acknowledgement can see it.
Runs of many windows: all slots begin at once, and with latencies that vary, it takes
half a window until they are spread out, which a short run would count as lost.

Usage: bench/guards.py [--runs 10] [--seed 0] [--rows N] [--at-a-time N]
                       [--guard GUARD] [--there 0.5|0] [CASE ...]
                                                  such as 22/5s or 5/1s+100/1m
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor

THRONG = os.environ.get("THRONG", "target/release/throng")
MEDIAN, SIGMA = 0.2, 0.6
MEAN = MEDIAN * math.exp(SIGMA * SIGMA / 2)
GUARDS = [("strict", []), ("acked", []), ("sent", [])]

# rows, and runs at the same time
CASES = {
    "22/5s": (110, 10),
    "100/1s": (6000, 5),
    "1000/1s": (60000, 1),
    "5/1s+100/1m": (200, 10),
}
SECONDS = {"s": 1, "m": 60}


def least(case, rows, latency):
    """The least time of so many rows: whole windows of the longest limit, then of the next."""
    limits = [limit.split("/") for limit in case.split("+")]
    limits = [(int(period[:-1]) * SECONDS[period[-1]], int(units)) for units, period in limits]
    seconds = 0
    for period, units in sorted(limits, reverse=True):
        windows = math.ceil(rows / units) - 1
        seconds += windows * (period + latency)
        rows -= windows * units
    return seconds


def start_mock(limits, there, seed):
    """A mock on a free port, and its URL."""
    command = [THRONG, "mock", "--addr", "127.0.0.1:0", "--seed", str(seed),
               "--latency", f"lognormal:{MEDIAN * 1000:.0f}ms:{SIGMA}", "--there", str(there)]
    command += [part for limit in limits for part in ("--limit", limit)]
    mock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = mock.stdout.readline()
    return mock, "http://" + line.split("http://")[1].split("/")[0]


def run(case, rows, guard, flags, there, seed):
    """One run: refusals, how full the fullest window was, seconds of arrivals."""
    limits = case.split("+")
    mock, url = start_mock(limits, there, seed)
    with tempfile.TemporaryDirectory(prefix="throng-guards-") as directory:
        with open(f"{directory}/rows.csv", "w") as file:
            file.write("symbol\n" + "".join(f"S{n}\n" for n in range(rows)))
        command = [THRONG, "run", "-i", f"{directory}/rows.csv", "--guard", guard,
                   "--url", f"{url}/v6/finance/quote/", "-q", "symbols={{ symbol }}",
                   "-w", "2", "-c", "1000", "-o", f"{directory}/out.jsonl", "--quiet",
                   "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose"]
        command += [part for limit in limits for part in ("-r", limit)] + flags
        subprocess.run(command, check=True)
    judge = json.load(urllib.request.urlopen(f"{url}/judge"))
    mock.terminate()
    mock.wait()
    fullest = [f"{window['most']} of {window['units']}" for window in judge["windows"]]
    over = any(window["most"] > window["units"] for window in judge["windows"])
    return judge["refused"], over, fullest, judge["seconds"]


def table_row(case, guard, flags, there, arguments):
    rows, at_once, runs = arguments.rows or CASES[case][0], arguments.at_a_time or CASES[case][1], arguments.runs
    with ThreadPoolExecutor(at_once) as pool:
        seeds = range(arguments.seed, arguments.seed + runs)
        ended = list(pool.map(lambda seed: run(case, rows, guard, flags, there, seed), seeds))
    refused = sum(result[0] for result in ended)
    over = sum(result[1] for result in ended)
    fullest = max((result[2] for result in ended), key=lambda all: [int(one.split()[0]) for one in all])
    seconds = statistics.median(result[3] for result in ended)
    where = "half on the way" if there else "the server's"
    name = case + (f", {rows} rows" if arguments.rows else "")
    name += f", {at_once} runs at a time" if arguments.at_a_time else ""
    print(f"| {name} | {where} | {' '.join([guard] + flags)} | {refused} | {over} of {runs} "
          f"| {', '.join(fullest)} | {least(case, rows, 0) / seconds:.3f} | {least(case, rows, MEAN) / seconds:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the others follow it")
    parser.add_argument("--guard", choices=[guard for guard, _ in GUARDS], help="this one only")
    parser.add_argument("--there", type=float, choices=[0.5, 0.0], help="half on the way there, or none of it, only")
    parser.add_argument("--rows", type=int, help="instead of each case's own number")
    parser.add_argument("--at-a-time", type=int, help="runs at the same time, instead of each case's own number")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    unknown = [case for case in arguments.cases if case not in CASES]
    if unknown:
        sys.exit(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    print("| limit | latency | guard | 429 | runs over it | fullest window | of N/X | of N/(X + mean latency) |")
    print("|---|---|---|---|---|---|---|---|")
    for case in arguments.cases or CASES:
        for there in (0.5, 0.0):
            for guard, flags in GUARDS:
                if arguments.there in (None, there) and arguments.guard in (None, guard):
                    table_row(case, guard, flags, there, arguments)


if __name__ == "__main__":
    main()
