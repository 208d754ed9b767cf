"""What the benchmarks of several machines have: a store of their own, a proxy before it that can drop
all bytes, an API that counts, and clocks that are wrong."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request

THRONG = os.environ.get("THRONG", "target/release/throng")
STORE = os.environ.get("STORE", "redis-server")
# Debian's package libfaketime.
FAKETIME = os.environ.get("FAKETIME_LIBRARY", "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Store:
    """A server that appends what it is given to a file, each second."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        self.start()

    def start(self):
        command = [STORE, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
                   self.directory, "--appendonly", "yes", "--appendfsync", "everysec"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.ask("PING") != "PONG":
            time.sleep(0.01)

    def ask(self, *command):
        asked = subprocess.run(["redis-cli", "-p", str(self.port), *command], capture_output=True, text=True)
        return asked.stdout.strip()

    def calls(self):
        """The calls of functions, and the microseconds that they took."""
        calls = micros = 0
        for line in self.ask("INFO", "commandstats").splitlines():
            if line.startswith("cmdstat_fcall"):
                fields = dict(field.split("=") for field in line.split(":")[1].split(","))
                calls, micros = calls + int(fields["calls"]), micros + int(fields["usec"])
        return calls, micros

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()


class Proxy:
    """Passes bytes on to a port, or drops all of them without closing a connection."""

    def __init__(self, port):
        self.to, self.drops = port, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            for pair in [(client, server), (server, client)]:
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, target):
        try:
            while data := source.recv(65_536):
                if not self.drops:
                    target.sendall(data)
        except OSError:
            pass
        # Whoever reads the other end learns of it.
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Api:
    """A mock that enforces a limit over arrivals, and is the judge."""

    def __init__(self, *flags):
        command = [THRONG, "mock", "--addr", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.url = "http://" + line.split("http://")[1].split("/")[0]

    def judge(self):
        return json.load(urllib.request.urlopen(f"{self.url}/judge"))

    def kill(self):
        self.process.kill()
        self.process.wait()


def clock(offset):
    """The environment of a program whose clock is off by this much, such as +1h."""
    assert os.path.exists(FAKETIME), "apt-get install libfaketime"
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
