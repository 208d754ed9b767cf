#!/usr/bin/env python3
"""throng from Python beside what people write today: interleaved runs, medians and ratios.

    bench/python.py install                 the peers, and the release wheel (maturin)
    bench/python.py [--rounds 3] [--rows 20000]

Without a limit nginx answers; under 100/1s `throng mock` does, whose count of refusals is shown.
Each program is in bench/python/; its lines are counted without blank ones and docstrings.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request

import peers

PLACE = peers.ROOT / "target/python/bench"
PYTHON = PLACE / "bin/python"
PROGRAMS = ["aiohttp_get", "httpx_tenacity", "throng_run", "throng_stream", "throng_hooks"]


def install():
    folder = peers.ROOT / "crates/throng-py"
    wheels = peers.ROOT / "target/wheels/release"
    tools = peers.ROOT / "target/servers/bin"
    subprocess.run([tools / "maturin", "build", "-q", "--release", "--out", wheels], cwd=folder, check=True)
    subprocess.run([tools / "uv", "venv", "-q", "--clear", PLACE], check=True)
    subprocess.run([tools / "uv", "pip", "install", "-q", "--python", PYTHON, "aiohttp", "aiolimiter", "httpx",
                    "tenacity", *wheels.glob("throng-*.whl")], check=True)


def run(program, *arguments):
    """The seconds that a program takes in all."""
    command = [PYTHON, peers.HERE / f"python/{program}.py", *map(str, arguments)]
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start


def lines(program):
    text = (peers.HERE / f"python/{program}.py").read_text()
    text = re.sub(r'^""".*?"""\n', "", text, flags=re.S)
    return sum(1 for line in text.splitlines() if line.strip())


def unlimited(rounds, rows):
    stop = peers.serve()
    try:
        rates = {program: [] for program in PROGRAMS}
        for _ in range(rounds):
            for program in PROGRAMS:
                # A program that is fast gets more rows, so that its start counts little.
                count = rows if program in ("aiohttp_get", "httpx_tenacity") else 5 * rows
                took = run(program, f"{peers.HTTP}/1k?symbols=", count, 100, peers.WORK / "out.jsonl")
                rates[program].append(count / took)
    finally:
        stop()
    print("| program | rows / s | ÷ aiohttp | lines |\n|---|---|---|---|")
    for program in PROGRAMS:
        ratio = statistics.median(a / b for a, b in zip(rates[program], rates["aiohttp_get"]))
        print(f"| {program} | {statistics.median(rates[program]):,.0f} | {ratio:.1f} | {lines(program)} |")


def limited(rows):
    print(f"\n{rows} rows under 100/1s\n\n| program | seconds | refused | most in 1 s |\n|---|---|---|---|")
    for program in PROGRAMS:
        mock = subprocess.Popen([PLACE / "bin/throng", "mock", "--addr", "127.0.0.1:18499", "--limit", "100/1s",
                                 "--latency", "lognormal:60ms:0.4"], stdout=subprocess.PIPE)
        mock.stdout.readline()
        took = run(program, "http://127.0.0.1:18499/v6/finance/quote/?symbols=", rows, 100,
                   peers.WORK / "out.jsonl", "100/1s")
        with urllib.request.urlopen("http://127.0.0.1:18499/judge") as answer:
            judge = json.load(answer)
        mock.terminate()
        mock.wait()
        print(f"| {program} | {took:.1f} | {judge['refused']} | {judge['windows'][0]['most']} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        sys.exit(install())
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    unlimited(arguments.rounds, arguments.rows)
    limited(1_000)
