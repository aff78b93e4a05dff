"""Serve what Prometheus asks about a registered model: champion, retrainings, decisions.

Unlike the measures of a training, which Ray exports while it goes, these are there all the time.
"""

import argparse
import signal
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.errors import ConfigError
from pipelines import _command


def run(args: argparse.Namespace) -> None:
    """Serve until a signal."""
    from alexnet.adapters import mlflow_connection, prometheus_page
    from alexnet.adapters.prometheus_page import Page
    from pipelines.steps import registry_metrics

    if not 0 <= args.port < 2**16:
        raise ConfigError(f"--port {args.port}: must be in [0, 65535].")
    if args.every < 0:
        raise ConfigError(f"--every {args.every:g}: must be 0 or more seconds.")
    config = _command.config(args)
    mlflow_connection.connect()
    page = Page(lambda: prometheus_page.exposition(registry_metrics.samples(config)), args.every)
    server = prometheus_page.server(args.host, args.port, page)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"exporter: http://{args.host}:{server.server_port}/metrics", flush=True)
    server.serve_forever()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "exporter", __doc__, "0 ended by SIGTERM, 2 an error to act on, 130 ended by Ctrl-C"
    )
    _command.add_run(parser)
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
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
