"""Look at everything that a training needs, and train nothing."""

from collections.abc import Callable, Iterator

import torch

from alexnet import model, preflight, spot_check
from alexnet.adapters import mlflow_check, ray_cluster
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import RunConfig
from alexnet.errors import AlexNetError, ConfigError
from alexnet.manifest import Manifest
from alexnet.preflight import Finding, Node
from pipelines import launch
from pipelines.launch import Inputs

Say = Callable[[str], None]  # takes a line for people


def run(config: RunConfig, say: Say) -> int:
    """Print a line for each check; the exit status, 2 if one has failed."""
    failed = False
    for finding in findings(config):
        say(preflight.line(finding))
        failed |= finding.level == "FAIL"
    return 2 if failed else 0


def quick(config: RunConfig, manifest: Manifest, resources: Resources, say: Say) -> None:
    """What each start looks at besides what it needs anyway: work for every process.

    Raises:
        ConfigError: there is not enough.
    """
    train, val = (manifest.split(name) for name in ("train", "val"))
    found = preflight.counts(config, resources.max_workers, len(train), val.num_samples)
    if found.level == "FAIL":
        raise ConfigError(found.text)
    if found.level == "warn":
        say(preflight.line(found))


def findings(config: RunConfig) -> Iterator[Finding]:
    """All checks, one after another; a failed one stops only those that build on it."""
    inputs: Inputs | None = None
    sample_bytes = 0.0
    try:
        inputs = launch.prepare(config)
        yield Finding("ok", "storage", f"{inputs.config.cluster.storage_url}: can be written")
        sample_bytes, looked = spot_check.one_of_each(inputs.store, inputs.manifest)
        yield Finding("ok", "data", f"{inputs.store.url}: {looked}")
    except AlexNetError as error:
        yield Finding("FAIL", "data, storage", str(error))
    yield tracker(config)
    yield from cluster(config, inputs, sample_bytes)


def tracker(config: RunConfig) -> Finding:
    """MLflow and its registry."""
    try:
        where = mlflow_check.check_writable(config.registry)
    except AlexNetError as error:
        return Finding("FAIL", "MLflow", str(error))
    return Finding("ok", "MLflow", f"{where}: a run, a metric and a file were written and deleted")


def cluster(config: RunConfig, inputs: Inputs | None, sample_bytes: float) -> Iterator[Finding]:
    """Ray, and what its nodes have."""
    try:
        ray_cluster.connect()
        try:
            resources = ray_cluster.claim((inputs.config if inputs else config).cluster)
            nodes = ray_cluster.nodes(config.data.cache_dir)
        finally:
            ray_cluster.disconnect()
    except AlexNetError as error:
        yield Finding("FAIL", "Ray", str(error))
        return
    workers = f"{resources.max_workers} workers on {'GPUs' if resources.use_gpu else 'CPUs'}"
    yield Finding("ok", "Ray", f"{workers}, {len(nodes)} nodes; {ray_cluster.authentication()}")
    if inputs is None:
        yield Finding("skip", "counts, memory", "known when the data can be read")
        return
    train, val = (inputs.manifest.split(name) for name in ("train", "val"))
    yield preflight.counts(config, resources.max_workers, len(train), val.num_samples)
    for node in nodes:
        yield from on_node(config, node, resources, sample_bytes)


def on_node(
    config: RunConfig, node: Node, resources: Resources, sample_bytes: float
) -> Iterator[Finding]:
    """Whether a node holds the workers that may be put on it."""
    with torch.device("meta"):
        network = model.build(config.model, config.data.image_px)
    weights = sum(weight.numel() for weight in network.parameters())
    workers, fewest = resources.max_workers, resources.min_workers
    there = preflight.workers_on(config, node, workers, use_gpu=resources.use_gpu)
    need = preflight.worker_bytes(config, fewest, sample_bytes, weights)
    yield preflight.memory(config, node, there, need)
    yield preflight.shared_memory(node, there, preflight.shared_bytes(config, fewest))
    yield from preflight.disks(config, node, weights)
