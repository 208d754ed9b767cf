#!/usr/bin/env python3
"""Instructions, and simulated misses of the first-level caches, that one row takes.

The job is that of bench/peers.py: answers of 1 KB without a limit, of which two values are taken,
two workers and 50 rows in flight. Counts of a release build (THRONG names another program) hardly depend on
the machine's load. Needs valgrind and what `bench/peers.py install` installs.
"""

import re
import subprocess

import peers

FEW, MANY = 1_000, 3_000
COUNTS = {"instructions": r"I\s+refs:\s+([\d,]+)", "misses of instructions": r"I1\s+misses:\s+([\d,]+)",
          "misses of data": r"D1\s+misses:\s+([\d,]+)"}


def count(rows):
    """All counts of a process that makes so many rows."""
    case = peers.throng(f"{peers.HTTP}/1k?symbols=", rows, 50)
    # Caches of 32 KiB with 64 bytes a line, whatever the machine has.
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64",
               "--LL=8388608,16,64", "--cachegrind-out-file=/dev/null", *case.command]
    said = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    return {name: int(re.search(pattern, said)[1].replace(",", "")) for name, pattern in COUNTS.items()}


def main():
    stop = peers.serve()
    try:
        # What starting takes cancels out.
        few, many = count(FEW), count(MANY)
    finally:
        stop()
    print("| a row | count |\n|---|---|")
    for name in COUNTS:
        print(f"| {name} | {(many[name] - few[name]) / (MANY - FEW):,.0f} |")


if __name__ == "__main__":
    main()
