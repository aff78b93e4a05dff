"""A TCP proxy in front of a server that breaks connections."""

import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

THROTTLED = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 46\r\n\r\n<Error><Code>SlowDown</Code><Message/></Error>"
)

WHOLE = 2**62


class Proxy:
    """Passes connections on; the first `faults` get `cut_after_bytes`, or `answer`, or nothing."""

    def __init__(self, endpoint, faults, cut_after_bytes, answer):
        target = urlsplit(endpoint)
        self.target = (target.hostname, target.port)
        self.faults, self.cut_after_bytes, self.answer = faults, cut_after_bytes, answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = [self.listener]
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def break_next(self, faults, answer):
        """End open connections, and give the next so many the answer."""
        self.answer, self.faults = answer, faults
        for each in self.sockets[1:]:
            shut(each)

    def accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                self.faults -= 1
                start(self.serve, client, self.faults >= 0)

    def serve(self, client, faulty):
        if faulty and self.answer:
            client.recv(65536)
            client.sendall(self.answer)
            shut(client)
        elif not faulty or self.cut_after_bytes:
            server = socket.create_connection(self.target)
            self.sockets.append(server)
            start(pump, client, server, WHOLE)
            pump(server, client, self.cut_after_bytes if faulty else WHOLE)


def pump(source, sink, limit):
    with suppress(OSError):
        while limit > 0 and (data := source.recv(min(limit, 65536))):
            sink.sendall(data)
            limit -= len(data)
    shut(source)
    shut(sink)


def shut(connection):
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def start(work, *args):
    threading.Thread(target=work, args=args, daemon=True).start()


@contextmanager
def faulty_proxy(endpoint, faults, cut_after_bytes=None, answer=None):
    """A `Proxy` to `endpoint`."""
    proxy = Proxy(endpoint, faults, cut_after_bytes, answer)
    start(proxy.accept)
    try:
        yield proxy
    finally:
        for each in proxy.sockets:
            shut(each)  # wakes whoever waits on it
            each.close()
