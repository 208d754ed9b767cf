#!/usr/bin/env python3
"""throng beside its peers: interleaved runs against one server, medians and ratios.

    bench/peers.py install                      the peers and nginx (apt, cargo, pip)
    bench/peers.py [TABLE ...] [--rounds 5]     all tables, or some of: unlimited,
                                                sizes, latency, tls, http2, limited, rows,
                                                many (10 M rows)

Within a round each program runs once, one after the other, so that a machine that
gets slower or faster does so for all. Each ratio is the median of the ratios
within the rounds. CPU is the client's own, user and system; memory is its peak.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / "target" / "peers"
THRONG = os.environ.get("THRONG", str(ROOT / "target/release/throng"))
PYTHON = str(PEERS / "venv/bin/python")
WORK = Path(tempfile.mkdtemp(prefix="throng-peers-"))
HTTP, TLS, HTTP2 = "http://127.0.0.1:18400", "https://localhost:18443", "https://localhost:18444"
PRICE = "price=.quoteResponse.result[0].regularMarketPreviousClose"
NAME = "name=.quoteResponse.result[0].longName"


@dataclass
class Case:
    """A program's command, how many requests it makes, and where its peak of memory is."""

    command: list
    requests: int
    peak: str = ""


@dataclass
class Run:
    """What one run came to."""

    seconds: float
    cpu: float
    peak: float
    requests: int

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def cpu_each(self):
        return self.cpu / self.requests * 1e6


def install():
    apt = ["nginx-light", "libnginx-mod-http-echo", "wrk", "hey", "apache2-utils", "curl", "nghttp2-client", "openssl",
           "time"]
    subprocess.run(["apt-get", "install", "-y", "-qq", *apt], check=True)
    subprocess.run(["cargo", "install", "oha", "--locked", "--root", PEERS], check=True)
    subprocess.run([sys.executable, "-m", "venv", PEERS / "venv"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "-q", "install", "aiohttp", "httpx", "aiolimiter"], check=True)


def answer(size):
    """A quote of many fields, as long as asked."""
    quote = {"language": "en-US", "symbol": "AAPL", "longName": "Apple Inc.", "regularMarketPreviousClose": 187.44}
    body = {"quoteResponse": {"result": [quote], "error": None}}
    for i in range(10_000):
        if len(json.dumps(body)) >= size - 20:
            return json.dumps(body)
        quote[f"regularMarketField{i}"] = f"text number {i}" if i % 3 else 100 + i / 8


def serve():
    """nginx with the answers; returns what stops it."""
    for name, size in (("1k", 1_024), ("20k", 20_480)):
        (WORK / f"{name}.json").write_text(answer(size))
    WORK.chmod(0o755)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", WORK / "key.pem", "-out", WORK / "cert.pem"],
        check=True, stderr=subprocess.DEVNULL)
    config = WORK / "nginx.conf"
    config.write_text((HERE / "peers/server.conf").read_text().replace("HERE", str(WORK)))
    subprocess.run(["nginx", "-c", config], check=True)
    return lambda: subprocess.run(["nginx", "-c", config, "-s", "stop"], check=True)


def rows(count):
    path = WORK / f"rows{count}.csv"
    if not path.exists():
        path.write_text("symbol\n" + "".join(f"S{i}\n" for i in range(count)))
    return str(path)


def throng(url, count, in_flight, *more, values=(PRICE, NAME)):
    workers = 2
    extract = [part for value in values for part in ("-e", value)]
    return Case([THRONG, "run", "--quiet", "--url", url + "{{ symbol }}", "-i", rows(count), *extract,
                 "-w", str(workers), "--concurrency", str(max(1, in_flight // workers)),
                 "-o", str(WORK / "throng.jsonl"), "--overwrite", *more], count)


def oha(url, count, in_flight, *more):
    return Case([str(PEERS / "bin/oha"), "--no-tui", "-n", str(count), "-c", str(in_flight), *more, url + "S1"], count)


def wrk(url, in_flight):
    return Case(["wrk", "-t2", f"-c{in_flight}", "-d2s", url + "S1"], 0)


def hey(url, count, in_flight):
    return Case(["hey", "-n", str(count), "-c", str(in_flight), url + "S1"], count)


def ab(url, count, in_flight):
    return Case(["ab", "-q", "-k", "-n", str(count), "-c", str(in_flight), url + "S1"], count)


def curl(url, count, in_flight, *more):
    return Case(["curl", "-s", "--parallel", "--parallel-max", str(min(in_flight, 300)), *more,
                 url + f"S[1-{count}]", "-o", "/dev/null"], count)


def script(name, url, count, *more):
    out = str(WORK / f"{name}.jsonl")
    return Case([PYTHON, str(HERE / f"peers/{name}.py"), url, str(count), *map(str, more[:1]), out,
                 *map(str, more[1:])], count)


def start(case, env=None):
    """Under a small program of its own, since a peak counts what the one before it had."""
    case.peak = tempfile.mktemp(dir=WORK)
    return subprocess.Popen(["/usr/bin/time", "-f", "%M", "-o", case.peak, *case.command], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}), time.monotonic()


def finish(case, process, began):
    """Waits for a program, and says what it used; its output is small."""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    output = process.stdout.read()
    if status != 0:
        sys.exit(f"{case.command} failed: {output[-500:]} {process.stderr.read()[-500:]}")
    counted = re.search(r"(\d+) requests in", output)
    requests = case.requests or int(counted[1])
    peak = int(Path(case.peak).read_text().split()[-1]) / 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, requests)


def interleave(cases, rounds, env=None):
    """Runs of each case, round by round."""
    runs = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            runs[name].append(finish(case, *start(case, env)))
    return runs


def median(values):
    return statistics.median(values)


def ratio(runs, name, base, figure):
    return median(figure(a) / figure(b) for a, b in zip(runs[name], runs[base]))


def table(title, note, header, lines):
    print(f"\n## {title}\n\n{note}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)


def compare(title, note, settings, rounds, env=None, base="oha"):
    """A table of rates, CPU and memory, with ratios to the program `base`."""
    header = ["", "program", "requests / s", "CPU µs each", "peak MiB", f"requests / s ÷ {base}", f"CPU ÷ {base}"]
    lines = []
    for setting, cases in settings:
        runs = interleave(cases, rounds, env)
        for name, of in runs.items():
            lines.append([
                setting, name, f"{median(r.rate for r in of):,.0f}", f"{median(r.cpu_each for r in of):.1f}",
                f"{median(r.peak for r in of):.1f}", f"{ratio(runs, name, base, lambda r: r.rate):.2f}",
                f"{ratio(runs, name, base, lambda r: r.cpu_each):.2f}"])
    table(title, note, header, lines)


def unlimited(rounds):
    url = f"{HTTP}/1k?symbols="
    jq = ("price=.quoteResponse.result[0] | .regularMarketPreviousClose * 2",)

    def cases(n):
        return {
            "oha": oha(url, 100_000, n), "throng": throng(url, 100_000, n),
            "throng, a jq expression": throng(url, 50_000, n, values=jq), "wrk": wrk(url, n),
            "ab": ab(url, 50_000, n), "hey": hey(url, 50_000, n), "curl --parallel": curl(url, 10_000, n),
            "aiohttp": script("aiohttp_get", url, 5_000, n), "httpx": script("httpx_get", url, 400, min(n, 200)),
        }
    compare("No limit, answers of 1 KB", "throng takes two values of each answer and writes JSON Lines to a file; "
            "the two Python scripts do much the same; the others discard the answers.",
            [(f"{n} in flight", cases(n)) for n in (50, 200, 1_000)], rounds)


def sizes(rounds):
    url = f"{HTTP}/20k?symbols="
    last = ("last=.quoteResponse.result[0].regularMarketField507",)

    def cases(n):
        return {"oha": oha(url, 40_000, n), "throng": throng(url, 40_000, n, values=(PRICE,)),
                "throng, a value at the end": throng(url, 40_000, n, values=last), "hey": hey(url, 20_000, n)}
    compare("No limit, answers of 20 KB", "throng takes one value of each answer: one of the first of its fields, or "
            "the last one, for which it reads all of the answer.",
            [(f"{n} in flight", cases(n)) for n in (50, 200, 1_000)], rounds)


def latency(rounds):
    url = f"{HTTP}/slow?symbols="
    compare("50 ms of latency", "", [("1000 in flight", {"oha": oha(url, 60_000, 1_000),
                                                         "throng": throng(url, 60_000, 1_000)})], rounds)


def tls(rounds):
    url = f"{TLS}/1k?symbols="
    compare("TLS, HTTP/1.1", "", [("50 in flight", {"oha": oha(url, 60_000, 50, "--insecure"),
                                                    "throng": throng(url, 60_000, 50)})],
            rounds, {"SSL_CERT_FILE": str(WORK / "cert.pem")})


def http2(rounds):
    """Each has two connections, one for each of two threads."""
    url = f"{HTTP2}/1k?symbols="

    def cases(n):
        streams = str(n // 2)
        return {
            "h2load": Case(["h2load", "-n", "100000", "-c", "2", "-t", "2", "-m", streams, url + "S1"], 100_000),
            "throng": throng(url, 100_000, n),
            "oha": oha(url, 100_000, 2, "--http2", "-p", streams, "--insecure"),
            "curl --parallel --http2": curl(url, 10_000, n, "--http2", "--insecure"),
        }
    compare("HTTP/2 over TLS", "", [(f"{n} in flight", cases(n)) for n in (50, 200)], rounds,
            {"SSL_CERT_FILE": str(WORK / "cert.pem")}, "h2load")


def judged(port, limit, case):
    """Starts a server that counts arrivals, and the program."""
    server = subprocess.Popen([THRONG, "mock", "--addr", f"127.0.0.1:{port}", "--limit", limit],
                              stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/judge").close()
            return server, *start(case)
        except OSError:
            time.sleep(0.02)
    sys.exit("the mock did not start")


def judge(port, case, server, process, began):
    run = finish(case, process, began)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/judge") as response:
        verdict = json.load(response)
    server.terminate()
    server.wait()
    return run, verdict["refused"], verdict["windows"][0]["most"]


# What a request costs where nothing waits: the same rows, and a server that takes any number.
UNLIMITED, FREE = "throng, no limit", "1000000/1s"


def limited(rounds):
    """The slow limits leave the machine idle: there all programs run at once."""
    header = ["limit", "program", "seconds", "share of the bound", "refused", "most in a window", "CPU µs each"]
    lines = []
    for limit, units, period, count in (("22/5s", 22, 5, 88), ("100/1s", 100, 1, 500), ("5000/1s", 5_000, 1, 25_000)):
        bound = (-(-count // units) - 1) * period
        made = {}
        for number in range(rounds):
            cases = limited_cases(limit, units, period, count)
            fast = units > 1_000
            going = {}
            for name, (port, case) in cases.items():
                serves = FREE if name == UNLIMITED else limit
                going[name] = (port, case, *judged(port, serves, case))
                if fast:
                    made.setdefault(name, []).append(judge(*going.pop(name)))
            for name, running in going.items():
                made.setdefault(name, []).append(judge(*running))
        for name, of in made.items():
            seconds = median(run.seconds for run, _, _ in of)
            share = "" if name == UNLIMITED else f"{bound / seconds:.1%}"
            lines.append([limit, name, f"{seconds:.2f}", share,
                          str(max(refused for _, refused, _ in of)), str(max(most for _, _, most in of)),
                          f"{median(run.cpu_each for run, _, _ in of):.0f}"])
    table("Limited", "Each program against a server of its own that counts arrivals in every window; refusals and the "
          "greatest window are the most of all rounds. The bound is the time in which no program could do it "
          "sooner; a share over 100 % is a limit broken.", header, lines)


def limited_cases(limit, units, period, count):
    ports = iter(range(18_500, 18_510))

    def at(make):
        port = next(ports)
        return port, make(f"http://127.0.0.1:{port}/v6/finance/quote/?symbols=")

    pace = ["--burst-delay", f"{period}s", "--burst-rate", str(units)] if units < period * 10 else ["-q", str(units // period)]
    free = {UNLIMITED: at(lambda url: throng(url, count, 200))} if units > 1_000 else {}
    return {
        "throng": at(lambda url: throng(url, count, 200, "-r", limit)), **free,
        "oha -q": at(lambda url: oha(url, count, 50, *pace)),
        "aiohttp with aiolimiter": at(lambda url: script("aiohttp_get", url, count, 200, units, period)),
        "a token bucket": at(lambda url: bucket(url, count, units, period)),
    }


def bucket(url, count, units, period):
    return Case([PYTHON, str(HERE / "peers/token_bucket.py"), url, str(count), str(WORK / "bucket.jsonl"),
                 str(units), str(period)], count)


def rows_alone(_rounds):
    """Rows that take minutes, once."""
    count = 10_000_000
    run = interleave({"throng": throng(f"{HTTP}/1k?symbols=", count, 200)}, 1)["throng"][0]
    table("Ten million rows", "From a CSV, 200 in flight, no limit.",
          ["rows", "seconds", "µs a row", "CPU µs a row", "peak MiB"],
          [[f"{count:,}", f"{run.seconds:.1f}", f"{run.seconds / count * 1e6:.1f}", f"{run.cpu_each:.1f}", f"{run.peak:.1f}"]])


def many_rows(rounds):
    url = f"{HTTP}/1k?symbols="
    header = ["rows", "program", "seconds", "µs a row", "CPU µs a row", "peak MiB"]
    lines = []
    for count in (10_000, 100_000, 1_000_000):
        cases = {"throng": throng(url, count, 200), "oha": oha(url, count, 200)}
        if count <= 10_000:
            cases["aiohttp"] = script("aiohttp_get", url, count, 200)
        runs = interleave(cases, rounds if count < 1_000_000 else min(rounds, 3))
        for name, of in runs.items():
            seconds = median(run.seconds for run in of)
            lines.append([f"{count:,}", name, f"{seconds:.2f}", f"{seconds / count * 1e6:.1f}",
                          f"{median(run.cpu_each for run in of):.1f}", f"{median(run.peak for run in of):.1f}"])
    table("Many rows", "From a CSV, 200 in flight, no limit.", header, lines)


TABLES = {"unlimited": unlimited, "sizes": sizes, "latency": latency, "tls": tls, "http2": http2, "limited": limited,
          "rows": many_rows, "many": rows_alone}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("tables", nargs="*", choices=["install", *TABLES], metavar="TABLE")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    if options.tables == ["install"]:
        return install()
    stop = serve()
    try:
        for name in options.tables or TABLES:
            TABLES[name](options.rounds)
    finally:
        stop()
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
