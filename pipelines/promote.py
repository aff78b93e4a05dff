"""Let a version of the registered model become champion, if it is better by the rules.

The rules are those of the section `[gate]` of the configuration; docs/registry.md explains each.
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from alexnet.errors import ConfigError
from pipelines import _command


def run(args: argparse.Namespace) -> int:
    """Do what the options ask for; the exit status."""
    from alexnet.adapters import mlflow_connection
    from alexnet.adapters.mlflow_registry import Registry
    from alexnet.adapters.object_store import open_store
    from alexnet.promotion import decisions
    from alexnet.promotion.aliases import AliasReconciler
    from alexnet.promotion.decisions import DecisionLog
    from pipelines.steps import promotion

    for name in ("force", "rollback"):
        reason = getattr(args, name)
        if reason is not None and not reason.strip():
            raise ConfigError(f"--{name}: the reason is empty. Say why; it is recorded.")
    config = _command.config(args)
    mlflow_connection.connect()
    registry = Registry(config.registry.model_name)
    log = DecisionLog(open_store(registry.decisions_url()))
    if args.history:
        print(decisions.history(log.read()))
        return 0
    notify = promotion.notifier(config.registry.on_decision, print)
    reconciler = AliasReconciler(registry, log, notify, print)
    if args.rollback:
        return promotion.roll_back(reconciler, registry, args.rollback, dry_run=args.dry_run)
    request = promotion.PromotionRequest(
        version=args.version,
        data_url=args.data,
        force=args.force or "",
        require_approval=args.require_approval,
        dry_run=args.dry_run,
    )
    return promotion.promote(reconciler, registry, config.gate, request)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = _command.parser(
        "promote",
        __doc__,
        "0 it is champion, or the one of before is again; 2 an error to act "
        "on; 3 the rules refuse it; 4 a person has to approve it",
    )
    parser.add_argument(
        "version",
        nargs="?",
        default="challenger",
        help="number or alias of the version (%(default)s)",
    )
    _command.add_config_options(parser)
    parser.add_argument(
        "--data",
        default="",
        metavar="URL",
        help="compare on the validation split of this data set (default: the version's own)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be decided, and write nothing"
    )
    parser.add_argument(
        "--require-approval", action="store_true", help="stop until a person has approved it"
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--force", metavar="REASON", help="promote it though rules do not hold")
    ways.add_argument(
        "--rollback", metavar="REASON", help="make the champion of before champion again"
    )
    ways.add_argument("--history", action="store_true", help="show all decisions")
    return _command.main(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
