#!/usr/bin/env python3
"""Workers by way of Redis or Valkey, and what goes wrong with them: who pays for it, and how much.

A run, its workers, a store of its own (appendfsync everysec) and a mock that enforces the limit
over arrivals. Each case judges itself: one record for each row, all of them ok, no refusal, and no
window over the limit. "of the bound" is the least time that the limit allows, as the run's summary
has it, divided by the time that it took.

Usage: bench/workers.py [--case CASE]... [--load LOAD]... [--rows N] [--workers 4]
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from store import THRONG, Api, Proxy, Store, clock

# Rows, the mock's limit, and the flags of the run.
LOADS = {
    "1000/1s": (20_000, ["--limit", "1000/1s"], ["--rate", "1000/1s"]),
    "22/5s": (400, ["--limit", "22/5s"], ["--rate", "22/5s"]),
    "50/1s per tenant": (20_000, ["--limit", "50/1s", "--per", "query:tenant"],
                         ["--rate", "50/1s", "--per", "{{ tenant }}"]),
    "5000 tokens/1s": (20_000, ["--limit", "5000 tokens/1s"],
                       ["--rate", "5000 tokens/1s", "--cost", "tokens=tokens", "-q", "tokens={{ tokens }}"]),
}
CASES = ["calm", "kills", "restarts", "stands still", "late worker", "cut off", "clocks"]


class Job:
    def __init__(self, directory, load, rows, workers):
        usual, limit, self.flags = LOADS[load]
        self.rows, self.directory, self.seats = rows or usual, directory, workers
        os.mkdir(f"{directory}/store")
        self.store = Store(f"{directory}/store")
        self.mock = Api("--latency", "20ms", *limit)
        with open(f"{directory}/rows.csv", "w") as file:
            file.write("symbol,tenant,tokens\n")
            file.writelines(f"S{n},t{n % 20},{1 + 7 * n % 9}\n" for n in range(self.rows))
        self.workers, self.started = [], 0

    def collect(self):
        command = [THRONG, "run", "-i", f"{self.directory}/rows.csv", "-o", f"{self.directory}/out.jsonl",
                   "--url", f"{self.mock.url}/v6/finance/quote/", "-q", "symbols={{ symbol }}",
                   "-q", "tenant={{ tenant }}", "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose",
                   "--on", f"redis://127.0.0.1:{self.store.port}", "--lease", "2s", "--timeout", "1s",
                   "--linger", "200ms", "--no-brake", "--progress", "none",
                   "--summary-json", f"{self.directory}/summary.json", *self.flags]
        self.run = subprocess.Popen(command, stderr=open(f"{self.directory}/run.txt", "w"))

    def work(self, port=None, offset=None):
        """Starts a worker, through this port, with a clock that is off by this much."""
        command = [THRONG, "worker", f"redis://127.0.0.1:{port or self.store.port}", "--workers", "1"]
        self.started += 1
        said = open(f"{self.directory}/worker-{self.started}.txt", "w")
        environment = {**os.environ, **(clock(offset) if offset else {})}
        self.workers.append(subprocess.Popen(command, stderr=said, env=environment, start_new_session=True))

    def is_over(self):
        return self.run.poll() is not None

    def wait_for(self, part):
        while self.mock.judge()["requests"] < self.rows * part and not self.is_over():
            time.sleep(0.02)

    def signal(self, worker, number):
        os.killpg(worker.pid, number)

    def end(self):
        for worker in self.workers:
            self.signal(worker, signal.SIGCONT)
            self.signal(worker, signal.SIGTERM)
        for worker in self.workers:
            worker.wait()
        self.store.kill()
        self.mock.kill()


def trouble(job, case):
    """What goes wrong while the run goes on; gives how often."""
    times = 0
    if case == "kills":
        while not job.is_over():
            time.sleep(1)
            victim = job.workers.pop(random.randrange(len(job.workers)))
            job.signal(victim, signal.SIGKILL)
            victim.wait()
            job.work()
            times += 1
    elif case == "restarts":
        for part in [0.2, 0.45, 0.7]:
            job.wait_for(part)
            job.store.restart()
            times += 1
    elif case == "stands still":
        job.wait_for(0.3)
        job.store.signal(signal.SIGSTOP)
        time.sleep(10)
        job.store.signal(signal.SIGCONT)
        times = 1
    elif case == "late worker":
        job.wait_for(0.2)
        job.signal(job.workers[0], signal.SIGSTOP)
        time.sleep(5)
        job.signal(job.workers[0], signal.SIGCONT)
        times = 1
    elif case == "cut off":
        job.wait_for(0.3)
        job.way.drops = True
        times = 1
    return times


def carry_out(load, case, arguments):
    with tempfile.TemporaryDirectory(prefix="throng-machines-") as directory:
        job = Job(directory, load, arguments.rows, arguments.workers)
        seats = job.seats
        if case == "cut off":
            job.way = Proxy(job.store.port)
            job.work(port=job.way.port)
            seats -= 1
        for seat in range(seats):
            job.work(offset=["+1h", "-1h"][seat % 2] if case == "clocks" else None)
        job.collect()
        times = trouble(job, case)
        code = job.run.wait()
        calls, micros = job.store.calls()
        judged, said = job.mock.judge(), open(f"{directory}/run.txt").read()
        if case == "cut off":
            job.signal(job.workers.pop(0), signal.SIGKILL)
        job.end()
        records = [json.loads(line) for line in open(f"{directory}/out.jsonl")]
        each = [line.split(" rows of ")[0].split()[-1] for name in sorted(os.listdir(directory)) if name.startswith("worker-")
                for line in open(f"{directory}/{name}") if " were done" in line]
        summary = json.load(open(f"{directory}/summary.json"))
    numbers = {record["_row"] for record in records}
    fullest = max(window["most"] / window["units"] for window in judged["windows"])
    wrong = [what for what, holds in {
        f"the run ended with {code}: {said[-400:]}": code == 0,
        f"{len(records)} records of {len(numbers)} rows": len(records) == len(numbers) == job.rows,
        "a record that is not ok": all(record["_ok"] for record in records),
        f"{judged['refused']} refusals": judged["refused"] == 0,
        f"a window of {fullest:.3f} of the limit": fullest <= 1,
    }.items() if not holds]
    took, best = summary["seconds"], summary["best_possible_seconds"]
    print(f"| {load} | {case} | {times} | {took:.1f} | {best / took:.1%} | {judged['requests'] - job.rows} |"
          f" {judged['refused']} | {fullest:.0%} | {1000 * calls / judged['requests']:.0f} |"
          f" {micros / judged['requests']:.1f} | {', '.join(each)} | {'; '.join(wrong) or 'all holds'} |", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--load", action="append", choices=list(LOADS))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    print("| load | case | times | seconds | of the bound | sent twice | refused | fullest window |"
          " calls of the store for 1,000 requests | µs of the store for a request | rows of workers | judged |")
    print("|" + "---|" * 12)
    loads, cases = arguments.load or list(LOADS), arguments.case or CASES
    ended = [carry_out(load, case, arguments) for load in loads for case in cases]
    sys.exit(not all(ended))


if __name__ == "__main__":
    main()
