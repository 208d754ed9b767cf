#!/usr/bin/env python3
"""The price of sharing a limit with the other runs of an account.

Runs of the same rows under the same limit: one with --share none, one that shares and is
alone, and several at once that share the rows evenly. Each has a mock of its own that
enforces the limit over arrivals, and a state directory of its own. In each round every
case runs once; the table has the medians, and the medians of the ratios within the rounds.

Usage: bench/sharing.py [--rounds 5] [--limit 5000/1s] [--seconds 10] [--runs 2]
                        [--per KEYS]     each of so many tenants has the limit for itself
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request

THRONG = os.environ.get("THRONG", "target/release/throng")
SECONDS = {"s": 1, "m": 60, "h": 3600}


def start_mock(arguments):
    """A mock on a free port, and its URL."""
    command = [THRONG, "mock", "--addr", "127.0.0.1:0", "--limit", arguments.limit]
    if arguments.per:
        command += ["--per", "query:tenant"]
    mock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = mock.stdout.readline()
    return mock, "http://" + line.split("http://")[1].split("/")[0]


def start_run(name, rows, flags, url, arguments, directory):
    """Starts a run of this number of rows."""
    with open(f"{directory}/{name}.csv", "w") as file:
        file.write("symbol,tenant\n")
        file.writelines(f"S{n},t{n % max(arguments.per, 1)}\n" for n in range(rows))
    command = [THRONG, "run", "-i", f"{directory}/{name}.csv", "-r", arguments.limit,
               "--url", f"{url}/v6/finance/quote/", "-q", "symbols={{ symbol }}",
               "-q", "tenant={{ tenant }}", "-w", "2", "-c", "100",
               "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose",
               "-o", f"{directory}/{name}.jsonl", "--summary-json", f"{directory}/{name}.json",
               "--quiet"]
    if arguments.per:
        command += ["--per", "{{ tenant }}"]
    environment = {**os.environ, "XDG_STATE_HOME": f"{directory}/state"}
    return subprocess.Popen(command + flags, env=environment)


def case(runs, flags, arguments):
    """Carries a case out: seconds, CPU seconds, refusals, the fullest window, each run's seconds."""
    with tempfile.TemporaryDirectory(prefix="throng-sharing-") as directory:
        mock, url = start_mock(arguments)
        rows = arguments.rows // runs
        begin = time.monotonic()
        started = [start_run(f"run{n}", rows, flags, url, arguments, directory) for n in range(runs)]
        cpu = 0
        for run in started:
            _, status, usage = os.wait4(run.pid, 0)
            assert status == 0, f"a run ended with {status}"
            cpu += usage.ru_utime + usage.ru_stime
        seconds = time.monotonic() - begin
        judge = json.load(urllib.request.urlopen(f"{url}/judge"))
        mock.terminate()
        mock.wait()
        each = [json.load(open(f"{directory}/run{n}.json"))["seconds"] for n in range(runs)]
    fullest = max(window["most"] for window in judge["windows"])
    return {"seconds": seconds, "cpu": cpu, "refused": judge["refused"], "fullest": fullest,
            "each": each}


def table_row(name, ended, alone, units):
    of = lambda figure: statistics.median(result[figure] for result in ended)
    ratio = lambda figure: statistics.median(a[figure] / b[figure] for a, b in zip(ended, alone))
    each = [statistics.median(result["each"][n] for result in ended) for n in range(len(ended[0]["each"]))]
    refused = sum(result["refused"] for result in ended)
    fullest = max(result["fullest"] for result in ended)
    print(f"| {name} | {of('seconds'):.2f} | {1 / ratio('seconds'):.3f} | {of('cpu'):.2f} | {ratio('cpu'):.3f} "
          f"| {refused} | {fullest} of {units} | {', '.join(f'{seconds:.2f}' for seconds in each)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", default="5000/1s")
    parser.add_argument("--seconds", type=int, default=10, help="that the limit needs for the rows")
    parser.add_argument("--runs", type=int, default=2, help="at once, in the last case")
    parser.add_argument("--per", type=int, default=0, help="number of tenants; 0: one limit for all")
    arguments = parser.parse_args()
    units, period = arguments.limit.split("/")
    windows = max(arguments.seconds // (int(period[:-1]) * SECONDS[period[-1]]), 1)
    # The last window is over as soon as it begins.
    arguments.rows = (windows + 1) * int(units) * max(arguments.per, 1)
    cases = {
        "alone, --share none": (1, ["--share", "none"]),
        "alone": (1, []),
        f"{arguments.runs} at once": (arguments.runs, []),
    }
    ended = {name: [] for name in cases}
    for _ in range(arguments.rounds):
        for name, (runs, flags) in cases.items():
            ended[name].append(case(runs, flags, arguments))
    print(f"{arguments.rows} rows under {arguments.limit}"
          + (f" for each of {arguments.per} tenants" if arguments.per else "") + f", {arguments.rounds} rounds:\n")
    print("| run | seconds | of the first one's pace | CPU s | CPU ÷ first | 429 | fullest window | seconds of each |")
    print("|---|---|---|---|---|---|---|---|")
    alone = ended["alone, --share none"]
    for name in cases:
        table_row(name, ended[name], alone, units)


if __name__ == "__main__":
    main()
