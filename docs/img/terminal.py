#!/usr/bin/env python3
"""Draws docs/img/terminal.svg: a real run of throng in a terminal, while it goes on and at its end.

Needs a build (cargo build --release, or THRONG=path) and the package pyte, which knows what a
terminal shows: python3 -m venv target/img && target/img/bin/pip install pyte==0.8.2, then
target/img/bin/python docs/img/terminal.py
"""

import fcntl
import html
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parent.parent.parent
THRONG = os.environ.get("THRONG", str(ROOT / "target/release/throng"))
WIDTH, HEIGHT = 112, 30
MOCK = ["mock", "--addr", "127.0.0.1:8099", "--limit", "60/1s", "--latency", "lognormal:120ms:0.5", "--fault", "500=3%,missing=1%"]
JOB = [
    "run", "-u", "http://127.0.0.1:8099/v6/finance/quote/?symbols={{ symbol }}", "-i", "tickers.csv", "--take", "500", "-r", "60/1s",
    "-e", "price=.quoteResponse.result[0].regularMarketPreviousClose", "-s", "mean(price)", "-o", "quotes.parquet",
]
SHOWN = [
    "throng run -u 'http://127.0.0.1:8099/v6/finance/quote/?symbols={{ symbol }}' \\",
    "    -i tickers.csv --take 500 -r 60/1s -e price='.quoteResponse.result[0].regularMarketPreviousClose' \\",
    "    -s 'mean(price)' -o quotes.parquet",
]
COLOURS = {
    "default": "#d7dae0", "black": "#4b5263", "red": "#ff7b85", "green": "#98c379", "brown": "#e5c07b", "yellow": "#e5c07b",
    "blue": "#61afef", "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#ffffff",
}


def frames(folder, moment):
    """The screen at this time of the run, and at its end."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(folder)}
        os.execve(THRONG, ["throng", *JOB], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    begin, live = time.monotonic(), None
    while True:
        if live is None and time.monotonic() - begin >= moment:
            live = lines(screen)
        ready, _, _ = select.select([terminal], [], [], 0.05)
        if not ready:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        stream.feed(data)
    os.waitpid(child, 0)
    return live or [], lines(screen)


def lines(screen):
    """The lines of a screen that are not empty at its end, as runs of text with one colour each."""
    rows = []
    for y in range(screen.lines):
        runs = []
        for x in range(screen.columns):
            char = screen.buffer[y][x]
            colour = COLOURS.get(char.fg, "#" + char.fg if len(char.fg) == 6 else COLOURS["default"])
            look = (colour, char.bold)
            if runs and runs[-1][0] == look:
                runs[-1][1] += char.data
            else:
                runs.append([look, char.data])
        if runs:
            runs[-1][1] = runs[-1][1].rstrip()
        rows.append([(look, text) for look, text in runs])
    while rows and not "".join(text for _, text in rows[-1]).strip():
        rows.pop()
    return rows


def svg(rows):
    """The rows as a picture of a terminal."""
    line, left, top = 19, 18, 52
    width, height = 2 * left + WIDTH * 8.43, top + line * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" role="img">',
        "<title>throng in a terminal: a run while it goes on, and its summary</title>",
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#1e2127"/>',
        *(f'<circle cx="{20 + 20 * n}" cy="20" r="6" fill="{fill}"/>' for n, fill in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"])),
    ]
    for n, row in enumerate(rows):
        spans = []
        for (colour, bold), text in row:
            weight = ' font-weight="bold"' if bold else ""
            spans.append(f'<tspan fill="{colour}"{weight}>{html.escape(text)}</tspan>')
        parts.append(f'<text x="{left}" y="{top + line * n}" xml:space="preserve">{"".join(spans).rstrip()}</text>')
    return "\n".join([*parts, "</svg>", ""])


def text(line, colour="default", bold=False):
    return [((COLOURS[colour], bold), line)]


def main():
    mock = subprocess.Popen([THRONG, *MOCK], stdout=subprocess.PIPE, text=True)
    try:
        mock.stdout.readline()
        with tempfile.TemporaryDirectory() as folder:
            tickers = (ROOT / "examples/tickers.csv").read_text()
            Path(folder, "tickers.csv").write_text(tickers)
            live, end = frames(folder, 5)
    finally:
        mock.terminate()
    shown = [[((COLOURS["green"], True), "$ "), *text(SHOWN[0])], *(text(line) for line in SHOWN[1:])]
    gap = [text("")]
    later = [text("… 4 seconds later:", "black")]
    (ROOT / "docs/img/terminal.svg").write_text(svg([*shown, *live, gap[0], *later, *end]))


if __name__ == "__main__":
    main()
