"""Check that a version of the registered model is what was registered, and its data still there."""

import argparse
import sys
from pathlib import Path

if not __package__:  # run as a file: the packages beside it, whatever else is installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from alexnet.adapters import mlflow_connection, ray_cluster
from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.errors import ArtifactError
from alexnet.registry import lineage_check, rule_result
from alexnet.registry.lineage import Lineage
from alexnet.registry.rule_result import RuleResult
from pipelines import _command

BROKEN = 3
"""Exit status."""


def run(args: argparse.Namespace) -> int:
    """Check, and say what does not hold any more; the exit status."""
    config = _command.config(args)
    mlflow_connection.connect()
    registry = Registry(config.registry.model_name)
    version = registry.find(args.version)
    found, made_from = _files(registry, version)
    if made_from:
        found += [_run(registry, version, made_from), *_data(made_from, full=args.full)]
    print(rule_result.table(found))
    broken = [each.rule for each in found if not each.holds]
    if broken:
        print(f"{version.shown}: does not hold any more: {', '.join(broken)}")
        return BROKEN
    how = "every byte" if args.full else "sizes; --full compares every byte"
    print(f"{version.shown}: is what was registered, and its data is there ({how})")
    return 0


def _files(registry: Registry, version: Version) -> tuple[list[RuleResult], Lineage | None]:
    wanted = "the files that were registered, and no others"
    try:
        with registry.fetched(version) as (_, made_from):
            shown = f"{len(made_from.files)} files, weights {made_from.weights_sha256[:12]}"
            return [RuleResult("files", shown, wanted, holds=True)], made_from
    except ArtifactError as error:
        return [RuleResult("files", str(error), wanted, holds=False)], None


def _run(registry: Registry, version: Version, made_from: Lineage) -> RuleResult:
    status = registry.run_status(version) or "there is no such run"
    shown = f"{made_from.run_name}: {status}"
    return RuleResult("MLflow run", shown, "FINISHED", status == "FINISHED")


def _data(made_from: Lineage, *, full: bool) -> list[RuleResult]:
    store, listed = open_store(made_from.data_url), lineage_check.shards(made_from)
    if not full:
        problems = lineage_check.SizeCheck(store).all(listed)
        return lineage_check.verify(made_from, store, problems, "size")
    ray_cluster.connect()
    try:
        with tqdm(total=len(listed), unit="shards", disable=None) as bar:
            wrong = []
            for problem in spread(lineage_check.DigestCheck(store), listed):
                bar.update()
                wrong += [problem] if problem else []
        return lineage_check.verify(made_from, store, wrong, "SHA-256")
    finally:
        ray_cluster.disconnect()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python pipelines/verify.py",
        description=__doc__,
        epilog="Exit status: 0 all of it holds, 2 an error to act on, 3 something does not hold.",
    )
    parser.add_argument("version", help="number or alias of the version")
    _command.add_config_options(parser)
    parser.add_argument(
        "--full", action="store_true", help="read every shard and compare its SHA-256"
    )
    args = parser.parse_args(argv)
    return _command.guarded("verify", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
