#!/usr/bin/env python3
"""Runs on several machines that share one limit through Redis, while things go wrong.

Each run has a part of the rows and a state directory of its own, so that the runs have nothing in
common but the store. The mock enforces the limit over arrivals and is the judge: no request may be
refused and no window may be over the limit. At the end each row must have exactly one record. A line of the table is one case:

    share of the bound   seconds of one run without trouble, divided by those of this case
    operations           calls of the store's functions for 1,000 requests
    ended after          seconds after which each run had done its part of the rows

Needs redis-server; the case with clocks needs libfaketime.

Usage: bench/machines.py [--limit 1000/1s] [--rows 20000] [--runs 4] [--latency 20ms] [CASE ...]
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time

from store import THRONG, Api, Proxy, Store, clock


class Case:
    """Some runs of one job, their store, and the API."""

    def __init__(self, arguments, runs, directory, kind):
        self.arguments, self.count, self.directory, self.kind = arguments, runs, directory, kind
        self.redis = Store(directory)
        per = ["--per", "query:tenant"] if kind == "tenants" else []
        limits = [word for limit in self.limits() for word in ("--limit", limit)]
        self.mock = Api("--latency", arguments.latency, *limits, *per)
        self.write_rows()
        self.environments = {}
        self.urls = {}
        self.runs = {}
        self.ended = {}
        self.begin = None

    def limits(self):
        units, period = self.arguments.limit.split("/")
        if self.kind == "tokens":
            # A request takes 75 tokens, so that these allow 80 % of the requests.
            return [f"{int(units) * 60} tokens/{period}", self.arguments.limit]
        # Each of four tenants has a quarter.
        return [f"{int(units) // 4}/{period}" if self.kind == "tenants" else self.arguments.limit]

    def write_rows(self):
        for index in range(self.count):
            with open(f"{self.directory}/rows{index}.jsonl", "w") as file:
                for n in range(index, self.arguments.rows, self.count):
                    tenant, most = f"t{n // self.count % 4}", 60 + n * 37 % 81
                    file.write(json.dumps({"symbol": f"S{n}", "tenant": tenant, "most": most}) + "\n")

    def start(self, index):
        """Starts a run, or goes on with it."""
        where = self.directory
        command = [THRONG, "run", "-i", f"{where}/rows{index}.jsonl",
                   "--share", self.urls.get(index, f"redis://127.0.0.1:{self.redis.port}"),
                   "-w", "1", "-c", "64", "--timeout", "500ms", "--linger", "100ms",
                   "-o", f"{where}/{index}.jsonl", "--quiet", "--no-brake"]
        for limit in self.limits():
            command += ["-r", limit]
        if os.path.exists(f"{where}/{index}.jsonl"):
            command.append("--resume")
        if self.kind == "tokens":
            command += ["--url", f"{self.mock.url}/v1/chat/completions", "--cost", "tokens=most",
                        "--json", '{"prompt": "{{ symbol }}", "max_tokens": "{{ most }}"}',
                        "--settle", "tokens=.usage.total_tokens", "--idempotency-key", "auto"]
        else:
            command += ["--url", f"{self.mock.url}/v6/finance/quote/", "-q", "symbols={{ symbol }}",
                        "-q", "tenant={{ tenant }}",
                        "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose"]
        if self.kind == "tenants":
            command += ["--per", "{{ tenant }}"]
        environment = {**os.environ, "XDG_STATE_HOME": f"{where}/state{index}",
                       **self.environments.get(index, {})}
        log = open(f"{where}/{index}.log", "a")
        self.runs[index] = subprocess.Popen(command, env=environment, stderr=log)

    def living(self):
        """The runs that go on; notes the end of those that have ended."""
        for index, run in self.runs.items():
            if index not in self.ended and run.poll() is not None:
                assert run.returncode == 0, f"run {index} ended with {run.returncode}"
                self.ended[index] = time.monotonic() - self.begin
        return [index for index in self.runs if index not in self.ended]

    def carry_out(self, trouble):
        self.begin = time.monotonic()
        for index in range(self.count):
            self.start(index)
        while self.mock.judge()["requests"] < self.arguments.rows / 10:
            self.living()
            time.sleep(0.02)
        troubles = trouble(self)
        for index in range(self.count):
            while index in self.living():
                time.sleep(0.02)
        judge = self.mock.judge()
        self.check()
        fullest = max((window["most"] / window["units"] for window in judge["windows"]), default=0)
        return {"seconds": max(self.ended.values()), "ended": sorted(self.ended.values()),
                "troubles": troubles, "requests": judge["requests"], "refused": judge["refused"],
                "fullest": fullest, "operations": self.redis.calls()[0]}

    def check(self):
        """Each row has one record."""
        for index in range(self.count):
            rows = [json.loads(line)["_row"] for line in open(f"{self.directory}/{index}.jsonl")]
            all_rows = range(len(range(index, self.arguments.rows, self.count)))
            assert sorted(rows) == list(all_rows), "a row has no record, or two"

    def end(self):
        for index in self.runs:
            if self.runs[index].poll() is None:
                self.runs[index].kill()
                self.runs[index].wait()
        self.mock.kill()
        self.redis.kill()


def nothing(case):
    return ""


def kill(case):
    """Each second a run is killed, and another one goes on with its rows."""
    kills = 0
    while len(case.living()) == case.count:
        index = kills % case.count
        case.runs[index].kill()
        case.runs[index].wait()
        case.start(index)
        kills += 1
        time.sleep(1)
    return f"{kills} kills"


def restarts(case):
    for _ in range(3):
        case.redis.restart()
        time.sleep(case.arguments.rows / 8_000)
    return "3 restarts"


def pause(case):
    case.redis.signal(signal.SIGSTOP)
    time.sleep(10)
    case.redis.signal(signal.SIGCONT)
    return "10 s"


def sleeper(case):
    stops = 0
    for stops in range(1, 4):
        case.runs[0].send_signal(signal.SIGSTOP)
        time.sleep(3)
        case.runs[0].send_signal(signal.SIGCONT)
        time.sleep(1)
    return f"{stops} times 3 s"


def dropped(case):
    for _ in range(3):
        case.proxy.drops = True
        time.sleep(3)
        case.proxy.drops = False
        time.sleep(1)
    return "3 times 3 s"


def with_proxy(case):
    case.proxy = Proxy(case.redis.port)
    case.urls[0] = f"redis://127.0.0.1:{case.proxy.port}"


def with_clocks(case):
    for index, offset in [(0, "+1h"), (1, "-1h")]:
        case.environments[index] = clock(offset)


# What happens, what is set up for it, and the kind of the limit.
CASES = {
    "nothing": (nothing, None, "plain"),
    "tenants": (nothing, None, "tenants"),
    "tokens": (nothing, None, "tokens"),
    "kill": (kill, None, "plain"),
    "kill-tenants": (kill, None, "tenants"),
    "kill-tokens": (kill, None, "tokens"),
    "restarts": (restarts, None, "plain"),
    "pause": (pause, None, "plain"),
    "sleeper": (sleeper, None, "plain"),
    "proxy": (dropped, with_proxy, "plain"),
    "clocks": (nothing, with_clocks, "plain"),
}


def play(arguments, name, runs):
    trouble, prepare, kind = CASES[name]
    with tempfile.TemporaryDirectory(prefix="throng-machines-") as directory:
        case = Case(arguments, runs, directory, kind)
        try:
            if prepare:
                prepare(case)
            return case.carry_out(trouble)
        except BaseException:
            for index in range(runs):
                path = f"{directory}/{index}.log"
                if os.path.exists(path):
                    print(f"run {index}: {open(path).read()[-500:]}")
            raise
        finally:
            case.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", default="1000/1s")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--latency", default="20ms")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    alone = {}
    print(f"{arguments.rows} rows under {arguments.limit}, {arguments.runs} runs\n")
    print("| case | trouble | seconds | share of the bound | refused | fullest window "
          "| requests | operations | ended after |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.cases:
        kind = CASES[name][2]
        if kind not in alone:
            calm = {"plain": "nothing"}.get(kind, kind)
            alone[kind] = play(arguments, calm, 1)
            line(f"one run, {kind}", alone[kind], alone[kind])
        line(name, play(arguments, name, arguments.runs), alone[kind])


def line(name, ended, alone):
    operations = ended["operations"] * 1_000 / ended["requests"]
    seconds = ", ".join(f"{it:.1f}" for it in ended["ended"])
    print(f"| {name} | {ended['troubles']} | {ended['seconds']:.1f} "
          f"| {alone['seconds'] / ended['seconds']:.1%} | {ended['refused']} | {ended['fullest']:.1%} "
          f"| {ended['requests']} | {operations:.0f} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
