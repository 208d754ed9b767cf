#!/usr/bin/env python3
"""A run that is watched in every way beside one that is not: pairs, one after the other.

    bench/watched.py [--rounds 7] [--rows 300000]

Both make the same requests to `throng mock`, which answers at once and has no limit, so that
the client's own work is all there is. The second one has `--events`, `--metrics` (read twice a
second), `--report` if there is such a flag, and a progress bar in a terminal of its own. Ratios
are medians of those within the rounds. CPU is the client's own, user and system.
"""

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THRONG = os.environ.get("THRONG", str(ROOT / "target/release/throng"))
WORK = Path(tempfile.mkdtemp(prefix="throng-watched-"))
SERVER = "http://127.0.0.1:18470"


def command(rows):
    """A run that takes a value of each answer."""
    return [THRONG, "run", "--url", SERVER + "/v6/finance/quote/?symbols={{ symbol }}", "--input", str(rows),
            "--extract", "price=.quoteResponse.result[0].regularMarketPreviousClose", "--share", "none",
            "--workers", "2", "--concurrency", "50", "--output", str(WORK / "out.jsonl"), "--overwrite"]


def watched():
    """The flags of all ways to watch a run."""
    known = subprocess.run([THRONG, "run", "--help", "all"], capture_output=True, text=True).stdout
    report = ["--report", str(WORK / "run.html")] if "--report" in known else []
    return ["--events", str(WORK / "events.jsonl"), "--metrics", "127.0.0.1:18471", "--progress", "bar", *report]


def drain(terminal):
    """Takes what a terminal shows."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def scrape(ended):
    """Reads the metrics twice a second."""
    while not ended.wait(0.5):
        try:
            urllib.request.urlopen("http://127.0.0.1:18471/metrics", timeout=2).read()
        except OSError:
            pass


def run(flags):
    """The seconds and the CPU seconds of a run, whose display has a terminal."""
    here, there = pty.openpty()
    ended = threading.Event()
    threading.Thread(target=drain, args=(here,), daemon=True).start()
    if "--metrics" in flags:
        threading.Thread(target=scrape, args=(ended,), daemon=True).start()
    began = time.monotonic()
    process = subprocess.Popen(flags, stdin=subprocess.DEVNULL, stdout=there, stderr=there)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    ended.set()
    os.close(there)
    os.close(here)
    if status:
        sys.exit(f"{' '.join(flags)}: exit status {status}")
    return seconds, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=300_000)
    arguments = parser.parse_args()
    rows = WORK / "rows.csv"
    rows.write_text("symbol\n" + "".join(f"S{row}\n" for row in range(arguments.rows)))
    server = subprocess.Popen([THRONG, "mock", "--addr", SERVER.removeprefix("http://")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        plain, all_ways = command(rows) + ["--progress", "none"], command(rows) + watched()
        run(plain)
        pairs = []
        for number in range(arguments.rounds):
            order = [plain, all_ways] if number % 2 else [all_ways, plain]
            results = {tuple(flags): run(flags) for flags in order}
            pairs.append((results[tuple(plain)], results[tuple(all_ways)]))
    finally:
        server.terminate()
    print("| | seconds | CPU µs a row |\n|---|---|---|")
    for name, side in [("not watched", 0), ("watched in every way", 1)]:
        seconds, cpu = (statistics.median(pair[side][of] for pair in pairs) for of in (0, 1))
        print(f"| {name} | {seconds:.2f} | {cpu / arguments.rows * 1e6:.2f} |")
    seconds, cpu = (statistics.median(pair[1][of] / pair[0][of] for pair in pairs) for of in (0, 1))
    print(f"| ratio | {seconds:.3f} | {cpu:.3f} |")
    events = (WORK / "events.jsonl").read_text()
    print(f"\n{len(events.splitlines())} events of {len(events):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
