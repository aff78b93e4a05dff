"""`train.py --check`: checks everything that a training needs, and trains nothing."""

from collections.abc import Callable, Iterator

import torch

from alexnet import model
from alexnet.adapters import mlflow_write_test, ray_cluster
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import RunConfig
from alexnet.dataset import spot_check
from alexnet.dataset.manifest import Manifest
from alexnet.errors import AlexNetError, ConfigError
from alexnet.training import resource_needs
from alexnet.training.resource_needs import Finding, Node
from pipelines.steps import run_inputs
from pipelines.steps.run_inputs import Inputs

Say = Callable[[str], None]  # takes a line for people


def run(config: RunConfig, say: Say) -> int:
    """Print a line for each check; the exit status, 2 if one has failed."""
    failed = False
    for finding in findings(config):
        say(resource_needs.line(finding))
        failed |= finding.level == "FAIL"
    return 2 if failed else 0


def quick(config: RunConfig, manifest: Manifest, resources: Resources, say: Say) -> None:
    """What each start looks at besides what it needs anyway: work for every process.

    Raises:
        ConfigError: there is not enough.
    """
    train, val = (manifest.split(name) for name in ("train", "val"))
    found = resource_needs.counts(config, resources.max_workers, len(train), val.num_samples)
    if found.level == "FAIL":
        raise ConfigError(found.text)
    if found.level == "warn":
        say(resource_needs.line(found))


def findings(config: RunConfig) -> Iterator[Finding]:
    """All checks, one after another; a failed one stops only those that build on it."""
    inputs: Inputs | None = None
    sample_bytes = 0.0
    try:
        inputs = run_inputs.prepare(config)
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
        return mlflow_write_test.check_writable(config.registry)
    except AlexNetError as error:
        return Finding("FAIL", "MLflow", str(error))


def cluster(config: RunConfig, inputs: Inputs | None, sample_bytes: float) -> Iterator[Finding]:
    """Ray, and what its nodes have."""
    try:
        with ray_cluster.connected():
            resources = ray_cluster.claim((inputs.config if inputs else config).cluster)
            nodes = ray_cluster.nodes(config.data.cache_dir)
    except AlexNetError as error:
        yield Finding("FAIL", "Ray", str(error))
        return
    workers = f"{resources.max_workers} workers on {'GPUs' if resources.use_gpu else 'CPUs'}"
    yield Finding("ok", "Ray", f"{workers}, {len(nodes)} nodes; {ray_cluster.authentication()}")
    if inputs is None:
        yield Finding("skip", "counts, memory", "known when the data can be read")
        return
    train, val = (inputs.manifest.split(name) for name in ("train", "val"))
    yield resource_needs.counts(config, resources.max_workers, len(train), val.num_samples)
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
    there = resource_needs.workers_on(config, node, workers, use_gpu=resources.use_gpu)
    need = resource_needs.worker_bytes(config, fewest, sample_bytes, weights)
    yield resource_needs.memory(config, node, there, need)
    yield resource_needs.shared_memory(node, there, resource_needs.shared_bytes(config, fewest))
    yield from resource_needs.disks(config, node, weights)
