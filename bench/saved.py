#!/usr/bin/env python3
"""Files that are saved (--save) stay whole, however often the run is killed.

throng saves many files of the mock; it is killed by SIGKILL again and again, and goes on with
--resume, until it ends by itself. Then each file is compared with what its record says and with
what the mock gives, and the peak memory of all runs is shown. The full size is 10,000 files of
1 MB under a kill each second, for which 10 GB of disk are needed, and given back at the end.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ADDRESS = "127.0.0.1:18302"
MAX_RUNS = 100_000


def throng():
    """The command: that of $THRONG, or else the release build, or the debug build."""
    builds = [ROOT / "target" / kind / "throng" for kind in ("release", "debug")]
    found = [os.environ.get("THRONG"), *(str(build) for build in builds if build.exists())]
    return next(path for path in found if path)


def peak_memory(pid):
    """The peak memory of a process in KiB; 0 if it has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def run(command, kill_after):
    """Runs a command until it ends or is killed. Gives its exit code and its peak memory."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end, peak = time.monotonic() + kill_after, 0
    while process.poll() is None and time.monotonic() < end:
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
    said = process.communicate()[1].decode()
    if process.returncode not in (0, -9):
        raise SystemExit(f"exit code {process.returncode}: {said}")
    return process.returncode, peak


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def served(name, size):
    with urllib.request.urlopen(f"http://{ADDRESS}/file/{name}?size={size}") as answer:
        return answer.read()


def check(work, size):
    """Gives the numbers of records, of right files, and of files that no record has."""
    records = [json.loads(line) for line in (work / "out.jsonl").read_text().splitlines()]
    right = 0
    for record in records:
        digest = sha256(pathlib.Path(record["_file"]).read_bytes())
        right += digest == record["_sha256"] == sha256(served(record["id"], size))
    others = {path.name for path in (work / "files").iterdir()}
    others -= {pathlib.Path(record["_file"]).name for record in records}
    return len(records), right, len(others)


def measure(arguments, work):
    names = "".join(f"f{number}\n" for number in range(arguments.files))
    (work / "rows.csv").write_text("id\n" + names)
    url = f"http://{ADDRESS}/file/{{{{ id }}}}?size={arguments.size}"
    command = [throng(), "run", "--quiet", "--url", url, "-i", str(work / "rows.csv")]
    command += ["--save", str(work / "files" / "{{ id }}.bin"), "-o", str(work / "out.jsonl")]
    command += arguments.flags
    kills, peak, begun = 0, 0, time.monotonic()
    for _ in range(MAX_RUNS):
        how = ["--resume"] if (work / "out.jsonl").exists() else ["--overwrite"]
        code, memory = run(command + how, arguments.every)
        peak = max(peak, memory)
        if code == 0:
            break
        kills += 1
    seconds = time.monotonic() - begun
    records, right, others = check(work, arguments.size)
    print("| files | bytes each | kills | seconds | records | hashes right | other files | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.files:,} | {arguments.size:,} | {kills} | {seconds:.1f} | {records:,} "
        f"| {right:,} | {others} | {peak / 1024:.1f} |"
    )
    return records == right == arguments.files and others == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1_000_000, help="bytes of each file")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--directory", help="where the files go, on a disk with room for them")
    parser.add_argument("flags", nargs="*", help="more flags of throng run, after --")
    arguments = parser.parse_args()
    mock = subprocess.Popen([throng(), "mock", "--addr", ADDRESS], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        with tempfile.TemporaryDirectory(dir=arguments.directory) as work:
            is_right = measure(arguments, pathlib.Path(work))
    finally:
        mock.kill()
    raise SystemExit(0 if is_right else 1)


if __name__ == "__main__":
    main()
