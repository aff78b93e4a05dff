"""An HTTP proxy in front of a server that spoils a share of the answers, each in another way."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("cut", "reset", "status 500", "status 503", "delay", "stall", "flip")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        refusal = self.server.refuse(self.headers.get("Authorization", ""))
        if refusal:
            self.send_error_code(refusal)
            return
        connection = http.client.HTTPConnection(*self.server.target)
        connection.request("GET", self.path, headers=dict(self.headers))
        answer = connection.getresponse()
        body = bytearray(answer.read())
        connection.close()
        fault = self.server.next_fault(len(body))
        if fault == "reset":
            # Closing with a linger of 0 sends RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        status = int(fault.split()[1]) if fault.startswith("status") else answer.status
        if status != answer.status:
            body = bytearray(b"<Error><Code>SlowDown</Code></Error>")
        if fault == "flip":
            body[self.server.random.randrange(len(body))] ^= 1
        if fault == "delay":
            time.sleep(0.1)
        self.send(status, answer, body, fault)

    def send(self, status, answer, body, fault):
        self.send_response_only(status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        whole = fault not in ("cut", "stall")
        self.wfile.write(body if whole else body[: len(body) // 2])
        if fault == "stall":
            self.server.stopped.wait(60)
        self.close_connection = not whole

    def send_error_code(self, code):
        body = f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response_only(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class ChaosProxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, endpoint, share, seed):
        super().__init__(("127.0.0.1", 0), Handler)
        target = urlsplit(endpoint)
        self.target = (target.hostname, target.port)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.share, self.random, self.lock = share, random.Random(seed), threading.Lock()
        self.answers, self.stopped = Counter(), threading.Event()
        self.refuse = lambda _authorization: None
        """S3's code of an error for requests that are signed like this, or None."""

    def next_fault(self, body_bytes):
        with self.lock:
            spoil = body_bytes > 1 and self.random.random() < self.share
            fault = self.random.choice(FAULTS) if spoil else "none"
            self.answers[fault] += 1
            return fault

    def handle_error(self, request, client_address):
        pass  # the client may have gone away from a stalled answer


@contextmanager
def chaos_proxy(endpoint, share, seed=0):
    """A `ChaosProxy` that spoils this share of the answers."""
    proxy = ChaosProxy(endpoint, share, seed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopped.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
