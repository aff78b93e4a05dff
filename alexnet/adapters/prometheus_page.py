"""An HTTP page in Prometheus' text format, for commands that serve one."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from alexnet.errors import AlexNetError, ConfigError
from alexnet.telemetry.prometheus_metrics import Measure, Sample


class _Collected(Collector):
    """Samples, each measure's together, as prometheus_client asks for them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._metrics: dict[Measure, Metric] = {}
        for measure, value, labels in samples:
            name = measure.name.removesuffix("_total")  # the library puts it back
            metric = self._metrics.setdefault(measure, Metric(name, measure.help, measure.kind))
            metric.add_sample(measure.name, dict(labels), value)

    def collect(self) -> Iterator[Metric]:
        """One metric a measure."""
        yield from self._metrics.values()


def exposition(samples: Iterable[Sample]) -> str:
    """Samples in Prometheus' text format."""
    return generate_latest(_Collected(samples)).decode()


class Page:
    """A text that is remade when it is asked for and older than some seconds."""

    def __init__(self, make: Callable[[], str], every_s: float) -> None:
        self._make, self._every_s = make, every_s
        self._lock, self._text, self._made_at = threading.Lock(), "", -float("inf")

    def text(self) -> str:
        """The text.

        Raises:
            AlexNetError: `make` did.
        """
        with self._lock:
            if time.monotonic() - self._made_at >= self._every_s:
                self._text = self._make()
                self._made_at = time.monotonic()
            return self._text


class Handler(BaseHTTPRequestHandler):
    """Answers GET /metrics; with 503 and the reason where there is nothing to say."""

    page: Page

    def do_GET(self) -> None:
        """See the class."""
        try:
            status, text = (200, self.page.text()) if self.path == "/metrics" else (404, "")
        except AlexNetError as error:
            status, text = 503, f"{error}\n"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each scrape."""


def server(host: str, port: int, page: Page) -> ThreadingHTTPServer:
    """A server of the page that listens already; `serve_forever` begins to answer.

    Raises:
        ConfigError: the place is taken, or not this machine's.
    """
    try:
        return ThreadingHTTPServer((host, port), type("Scraped", (Handler,), {"page": page}))
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: cannot listen: {error.strerror or error}. Choose another --host or "
            "--port."
        ) from error
