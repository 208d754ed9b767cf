"""A server with a limit of the Python package `limits`: PORT STRATEGY RATE.

For example: 8080 moving-window '20/2 seconds'.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import STRATEGIES

port, strategy, rate = sys.argv[1:]
item = parse(rate)
limiter = STRATEGIES[strategy](MemoryStorage())
one_at_a_time = threading.Lock()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with one_at_a_time:
            accepted = limiter.hit(item)
        self.send_response(200 if accepted else 429)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(port)), Answers).serve_forever()
