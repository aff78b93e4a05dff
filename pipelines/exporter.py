"""Serve what Prometheus asks about a registered model: champion, retrainings, decisions.

Unlike the measures of a training, which Ray exports while it goes, these are there all the time.
"""

import argparse
import signal
import sys
import typing
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.adapters import mlflow_connection, prometheus_page
from alexnet.adapters.mlflow_registry import Registry
from alexnet.adapters.object_store import open_store
from alexnet.adapters.prometheus_page import Page
from alexnet.config import RunConfig
from alexnet.errors import ConfigError
from alexnet.promotion.decisions import DecisionLog
from alexnet.retraining import records
from alexnet.retraining.records import Outcome, Retraining
from alexnet.storage import lease
from alexnet.telemetry import prometheus_metrics
from alexnet.telemetry.prometheus_metrics import Sample
from pipelines import _command


def samples(config: RunConfig) -> Iterator[Sample]:
    """What the registry and the storage say now.

    Raises:
        AlexNetError: one of them does not answer.
    """
    name = config.registry.model_name
    registry, store, labels = Registry(name), open_store(records.url(config)), {"model": name}
    champion = registry.held("champion")
    yield Sample(prometheus_metrics.CHAMPION, champion.number if champion else 0, labels)
    if champion and "top1" in champion.tags:
        yield Sample(prometheus_metrics.CHAMPION_TOP1, float(champion.tags["top1"]), labels)
    yield from _retrainings(records.read(store), labels)
    look = records.read_look(store)
    if look:
        yield Sample(prometheus_metrics.LOOKED, look.time_ms / 1000, labels)
    holder = lease.read(store)
    at_work = holder is not None and not holder.is_dead
    yield Sample(prometheus_metrics.RETRAINING_AT_WORK, int(at_work), labels)
    made = DecisionLog(open_store(registry.decisions_url())).read() if registry.exists() else []
    if made:
        yield Sample(prometheus_metrics.LAST_DECISION, made[-1].time_ms / 1000, labels)


def _retrainings(done: list[Retraining], labels: dict[str, str]) -> Iterator[Sample]:
    for outcome in filter(None, typing.get_args(Outcome)):
        number = sum(each.outcome == outcome for each in done)
        yield Sample(prometheus_metrics.RETRAININGS, number, {**labels, "outcome": outcome})
    costs: dict[str, float] = defaultdict(float)
    for each in done:
        costs[each.currency] += each.cost
    for currency in filter(None, costs):
        yield Sample(
            prometheus_metrics.RETRAINING_COST, costs[currency], {**labels, "currency": currency}
        )
    if done:
        yield Sample(prometheus_metrics.RETRAINING_BEGUN, done[-1].begun_ms / 1000, labels)
    ended = [each.ended_ms for each in done if each.ended_ms]
    if ended:
        yield Sample(prometheus_metrics.RETRAINING_ENDED, max(ended) / 1000, labels)


def run(args: argparse.Namespace) -> None:
    """Serve until a signal."""
    if not 0 <= args.port < 2**16:
        raise ConfigError(f"--port {args.port}: must be in [0, 65535].")
    if args.every < 0:
        raise ConfigError(f"--every {args.every:g}: must be 0 or more seconds.")
    config = _command.config(args)
    mlflow_connection.connect()
    page = Page(lambda: prometheus_metrics.exposition(samples(config)), args.every)
    server = prometheus_page.server(args.host, args.port, page)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"exporter: http://{args.host}:{server.server_port}/metrics", flush=True)
    server.serve_forever()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser("exporter", __doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=9464, help="port to listen on; 0: any (%(default)s)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how old an answer may be, so that scrapes cost few requests (%(default)s)",
    )
    parser.epilog = "Exit status: 0 ended by SIGTERM, 2 an error to act on, 130 ended by Ctrl-C."
    args = parser.parse_args(argv)
    return _command.guarded("exporter", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
