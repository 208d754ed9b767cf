#!/usr/bin/env python3
"""Instructions that each step of a row takes, against those in bench/instructions.json.

They hardly depend on the machine's load, so tests can watch them: a rise of more than
10 % fails. They are counted in the build of the tests: more than a release takes, but
what makes the one dearer makes the other so too. Needs valgrind (apt-get install
valgrind). With --accept the counts of now become the ones to compare with.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KNOWN = ROOT / "bench/instructions.json"
STEPS = ["render", "gate", "gate-limited", "extract", "extract-jq", "hide", "tally", "write"]
FEW, MANY = 200, 600


def build():
    """The program of the benches."""
    command = ["cargo", "bench", "--profile", "dev", "--bench", "steps", "--locked", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    made = [message for message in map(json.loads, lines) if message.get("executable")]
    return next(message["executable"] for message in made if message["target"]["name"] == "steps")


def count(program, step, times):
    """All instructions of a process."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
               program, "--times", str(times), step]
    result = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    return int(re.search(r"I\s+refs:\s+([\d,]+)", result.stderr)[1].replace(",", ""))


def main():
    program = build()
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    # What starting takes cancels out.
    now = {step: round((count(program, step, MANY) - count(program, step, FEW)) / (MANY - FEW)) for step in STEPS}
    print("| step | instructions | before | change |\n|---|---|---|---|")
    for step, instructions in now.items():
        before = known.get(step, instructions)
        print(f"| {step} | {instructions:,} | {before:,} | {instructions / before - 1:+.1%} |")
    if "--accept" in sys.argv:
        KNOWN.write_text(json.dumps(now, indent=2) + "\n")
    worse = [step for step in STEPS if now[step] > 1.1 * known.get(step, now[step])]
    if worse and "--accept" not in sys.argv:
        sys.exit(f"more than 10 % more instructions: {', '.join(worse)}; make it cheaper, or --accept it and say why")


if __name__ == "__main__":
    main()
