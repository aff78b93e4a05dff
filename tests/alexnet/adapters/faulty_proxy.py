"""A TCP proxy in front of a server that breaks its first connections."""

import itertools
import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

THROTTLED = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 49\r\n\r\n<Error><Code>SlowDown</Code><Message/></Error>   "
)


@contextmanager
def faulty_proxy(endpoint, faults, cut_after_bytes=None, answer=None):
    """The URL of a proxy to `endpoint`; it passes on all connections but the first `faults`.

    Those get `cut_after_bytes` bytes of the server's, or `answer`, or nothing at all until the end.
    """
    target = urlsplit(endpoint)
    open_sockets = []

    def pump(source, sink, limit):
        with suppress(OSError):
            while limit > 0 and (data := source.recv(int(min(limit, 65536)))):
                sink.sendall(data)
                limit -= len(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(client, number):
        faulty = number < faults
        if faulty and answer:
            client.recv(65536)
            client.sendall(answer)
            client.close()
        elif not faulty or cut_after_bytes:
            server = socket.create_connection((target.hostname, target.port))
            open_sockets.append(server)
            limit = cut_after_bytes if faulty else float("inf")
            start(pump, client, server, float("inf"))
            start(pump, server, client, limit)

    def accept():
        with suppress(OSError):
            for number in itertools.count():
                client, _ = listener.accept()
                open_sockets.append(client)
                serve(client, number)

    def start(work, *args):
        threading.Thread(target=work, args=args, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        start(accept)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            for each in open_sockets:
                each.close()
