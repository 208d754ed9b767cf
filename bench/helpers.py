#!/usr/bin/env python3
"""Lines a second through helpers that echo (--process), against the same run without them.

Rows are asked of the mock without a limit, once with values by jq and once with a helper that
gives each line back as its values, with batches of several sizes. The helper is compiled from C
where there is a compiler, and else is Python, whose own time is then the most of it.
The goal is that a line through a helper costs at most 10 us more than values by jq, which is 100,000
lines a second. Use the release build.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ADDRESS = "127.0.0.1:18307"
# Gives {"values":{"n":1}} for each line, as many at once as it has read.
ECHO_C = r"""
#include <string.h>
#include <unistd.h>
int main(void) {
    static char in[1 << 16], out[20 << 16];
    const char *reply = "{\"values\":{\"n\":1}}\n";
    size_t length = strlen(reply);
    ssize_t got;
    while ((got = read(0, in, sizeof in)) > 0) {
        size_t end = 0;
        for (ssize_t i = 0; i < got; i++) {
            if (in[i] != '\n') continue;
            memcpy(out + end, reply, length);
            end += length;
        }
        for (size_t done = 0; done < end;) {
            ssize_t sent = write(1, out + done, end - done);
            if (sent <= 0) return 1;
            done += sent;
        }
    }
    return 0;
}
"""
ECHO_PYTHON = """\
import sys
for line in sys.stdin:
    sys.stdout.write('{"values":{"n":1}}\\n')
    sys.stdout.flush()
"""


def throng():
    """The command: that of $THRONG, or else the release build, or the debug build."""
    builds = [ROOT / "target" / kind / "throng" for kind in ("release", "debug")]
    found = [os.environ.get("THRONG"), *(str(build) for build in builds if build.exists())]
    return next(path for path in found if path)


def echo(folder):
    """The command of a helper that echoes."""
    compiler = shutil.which("cc")
    if compiler is None:
        (folder / "echo.py").write_text(ECHO_PYTHON)
        return f"python3 -u {folder}/echo.py"
    (folder / "echo.c").write_text(ECHO_C)
    subprocess.run([compiler, "-O2", "-o", folder / "echo", folder / "echo.c"], check=True)
    return str(folder / "echo")


def seconds(folder, rows, flags):
    """The time of a run, as its summary has it."""
    summary = folder / "summary.json"
    subprocess.run(
        [throng(), "run", "--url", f"http://{ADDRESS}/echo/{{{{ id }}}}", "-i", folder / "rows.csv",
         "-o", folder / "out.jsonl", "--overwrite", "--workers", "2", "--concurrency", "200",
         "--share", "none", "--sync", "end", "--quiet", "--summary-json", summary, *flags],
        check=True,
    )  # fmt: skip
    report = json.loads(summary.read_text())
    assert report["ok"] == rows, report
    return report["seconds"]


def by_hand(command, rows):
    """The time in which the helper alone echoes lines like those that it gets, in seconds."""
    line = b'{"row":{"id":"1"},"number":1,"status":200,"headers":{},"url":"http://h/1","body":"{}"}'
    began = time.monotonic()
    lines = subprocess.run(["sh", "-c", command], input=(line + b"\n") * rows, capture_output=True)
    assert lines.stdout.count(b"\n") == rows
    return time.monotonic() - began


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000)
    rows = arguments.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="throng-") as name:
        folder = pathlib.Path(name)
        (folder / "rows.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(rows)))
        command = echo(folder)
        mock = subprocess.Popen([throng(), "mock", "--addr", ADDRESS], stdout=subprocess.PIPE)
        try:
            mock.stdout.readline()
            alone = by_hand(command, rows)
            print(f"the helper alone: {rows / alone:,.0f} lines a second")
            plain = seconds(folder, rows, ["-e", "path=.path"])
            print(f"values by jq: {rows / plain:,.0f} rows a second")
            for batch in (1, 10, 100, 1000):
                flags = ["--process", command, "--helpers", "2", "--helper-batch", str(batch)]
                took = seconds(folder, rows, flags)
                more = (took - plain) / rows * 1e6
                print(f"batches of {batch}: {rows / took:,.0f} rows a second, {more:+.1f} us each")
        finally:
            mock.terminate()
            mock.wait()


if __name__ == "__main__":
    main()
