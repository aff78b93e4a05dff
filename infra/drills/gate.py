"""A door in front of a server, which can be shut: the server is then away, and keeps its data."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from infra.processes import HOST

CHUNK = 2**16


class Gate:
    """Passes TCP connections on while it is open."""

    def __init__(self, target: str) -> None:
        """Listen on a free port of the loopback interface."""
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server((HOST, 0))
        self._open = threading.Event()
        self._open.set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.url = f"{parts.scheme}://{HOST}:{self._listener.getsockname()[1]}"

    def shut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._open.clear()
        with self._lock:
            for each in self._connections:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections through again."""
        self._open.set()

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._open.is_set():
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()
            else:
                client.close()

    def close(self) -> None:
        """Stop listening."""
        self.shut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            both = {client, server}
            with self._lock:
                self._connections |= both
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            with self._lock:
                self._connections -= both


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def gate(target: str) -> Iterator[Gate]:
    """An open gate in front of a server."""
    made = Gate(target)
    thread = threading.Thread(target=made.serve, name="gate", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
