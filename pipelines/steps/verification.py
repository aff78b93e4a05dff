"""Verifies that a version is what was registered, and its data still there."""

from tqdm import tqdm

from alexnet.adapters import mlflow_connection, ray_cluster
from alexnet.adapters.mlflow_registry import Registry, Version
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_tasks import spread
from alexnet.errors import ArtifactError
from alexnet.registry import lineage_check
from alexnet.registry.lineage import Lineage
from alexnet.registry.rule_result import RuleResult
from pipelines.steps import text_table

BROKEN = 3
"""Exit status."""


def run(model_name: str, wanted: str, *, full: bool) -> int:
    """Check a version, by number or alias, and print what does not hold any more; the exit status.

    With `full`, every shard is read and its SHA-256 compared, not only sizes.
    """
    mlflow_connection.connect()
    registry = Registry(model_name)
    version = registry.find(wanted)
    found, made_from = _files(registry, version)
    if made_from:
        found += [_run(registry, version, made_from), *_data(made_from, full=full)]
    print(text_table.rules(found))
    broken = [each.rule for each in found if not each.holds]
    if broken:
        print(f"{version.shown}: does not hold any more: {', '.join(broken)}")
        return BROKEN
    how = "every byte" if full else "sizes; --full compares every byte"
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
    with ray_cluster.connected():
        with tqdm(total=len(listed), unit="shards", disable=None) as bar:
            wrong = []
            for problem in spread(lineage_check.DigestCheck(store), listed):
                bar.update()
                wrong += [problem] if problem else []
        return lineage_check.verify(made_from, store, wrong, "SHA-256")
