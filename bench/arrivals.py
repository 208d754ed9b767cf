#!/usr/bin/env python3
"""Draws docs/arrivals.svg: how many requests arrived in the last period, for throng and for a token bucket.

    cargo build --release && pip install matplotlib && bench/arrivals.py

Both are simulated: 300 rows at 22 per 5 s, answers after log-normal 250 ms (sigma 0.6), half of it on the way there.
The model refuses nothing, so that each is seen as it is by itself.
"""
import collections
import csv
import pathlib
import subprocess
import tempfile

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNITS, PERIOD = 22, 5.0


def simulated():
    with tempfile.NamedTemporaryFile(suffix=".csv", mode="r") as file:
        command = [ROOT / "target/release/throng", "simulate", "--compare", "--arrivals", file.name,
                   "--url", "http://model/{{ symbol }}", "-i", ROOT / "examples/tickers.csv", "--take", "300",
                   "-r", f"{UNITS}/{PERIOD:g}s", "--server", "1000000/1s"]
        subprocess.run(command, check=True)
        runs = collections.defaultdict(list)
        for row in csv.DictReader(file):
            runs[row["guard"]].append(float(row["seconds"]))
        return runs


def in_the_last_period(arrivals):
    """After each arrival and when it leaves the window."""
    events = sorted([(time, 1) for time in arrivals] + [(time + PERIOD, -1) for time in arrivals])
    times, counts, count = [], [], 0
    for time, step in events:
        count += step
        times.append(time)
        counts.append(count)
    return times, counts


def main():
    runs = simulated()
    plt.rcParams["svg.hashsalt"] = "throng"
    figure, axes = plt.subplots(figsize=(9, 3.5))
    for guard, label, colour in [("token bucket", "a token bucket", "#d1495b"), ("strict", "throng", "#00798c")]:
        axes.step(*in_the_last_period(runs[guard]), where="post", label=label, color=colour, linewidth=1.2)
    axes.axhline(UNITS, color="black", linewidth=0.8, linestyle="--", label=f"the limit, {UNITS} per {PERIOD:g} s")
    axes.set_xlabel("seconds")
    axes.set_ylabel(f"arrivals in the last {PERIOD:g} s")
    axes.set_xlim(0, 70)
    axes.set_ylim(0)
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(ROOT / "docs/arrivals.svg", metadata={"Date": None})


main()
