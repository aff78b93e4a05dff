"""`train.py --check`: checks everything that a training needs, and trains nothing."""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from alexnet import model
from alexnet.adapters import mlflow_write_test, ray_cluster
from alexnet.adapters.object_store import open_store
from alexnet.adapters.ray_cluster import Resources
from alexnet.config import RunConfig
from alexnet.dataset import embedded_digits, spot_check
from alexnet.dataset.manifest import MANIFEST_NAME, Manifest
from alexnet.errors import AlexNetError, ConfigError
from alexnet.training import resource_needs
from alexnet.training.resource_needs import Finding, Node
from pipelines.steps import run_inputs
from pipelines.steps.run_inputs import Inputs

Say = Callable[[str], None]  # takes a line for people


def run(config: RunConfig, say: Say) -> int:
    """Print a line for each check, and what follows from all; the exit status, 2 if one failed."""
    levels = Counter[str]()
    for finding in findings(config):
        say(resource_needs.line(finding))
        levels[finding.level] += 1
    failed, warned = levels["FAIL"], levels["warn"]
    counted = [f"{failed} failed"] if failed else []
    counted += [f"{warned} warning{'s' * (warned != 1)}"] if warned else []
    outcome = "it would not run" if failed else "it would run"
    say(": ".join(filter(None, [", ".join(counted), outcome])))
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
        with _nothing_written(config) as unwritten:
            inputs = run_inputs.prepare(unwritten)
            yield storage(inputs.config.cluster.storage_url)
            look = spot_check.one_of_each(inputs.store, inputs.manifest)
        sample_bytes = look.sample_bytes
        yield Finding("ok", "data", f"{run_inputs.data_url(config)}: {look.done}")
        yield from images(config, inputs.manifest, look.missing)
    except AlexNetError as error:
        yield Finding("FAIL", "data, storage", str(error))
    yield tracker(config)
    yield from cluster(config, inputs, sample_bytes)


@contextmanager
def _nothing_written(config: RunConfig) -> Iterator[RunConfig]:
    """The same run; where it would write the embedded data set, on one in a temporary folder.

    Folders that are made for the block's probes are removed again.
    """
    url = open_store(config.cluster.storage_url).url
    local = [] if "://" in url else [Path(url), *Path(url).parents]
    new = [each for each in local if not each.exists()]
    try:
        data = open_store(run_inputs.data_url(config))
        if config.data.url or data.exists(MANIFEST_NAME):
            yield config
            return
        with tempfile.TemporaryDirectory(prefix="check-") as folder:
            embedded_digits.write(open_store(folder))
            yield dataclasses.replace(config, data=dataclasses.replace(config.data, url=folder))
    finally:
        with suppress(OSError):  # somebody else has put something into it
            for each in new:
                each.rmdir()


def storage(url: str) -> Finding:
    """What holds in the folder of runs, which can be written.

    Raises:
        StoreError: it cannot be tried.
    """
    unmet = open_store(url).unmet_conditions()
    if not unmet:
        return Finding("ok", "storage", f"{url}: can be written, and conditions of writes hold")
    texts = [f"{each.condition} is {each.how}; {each.lost or 'nothing needs it'}" for each in unmet]
    text = f"{url}: {'. '.join(texts)}"
    if not any(each.lost for each in unmet):
        return Finding("warn", "storage", text)
    return Finding("FAIL", "storage", f"{text}. Set cluster.storage_url to a store that has it.")


def images(
    config: RunConfig, manifest: Manifest, missing: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Whether there are enough of them."""
    yield resource_needs.updates(config, manifest.num_samples("train"))
    yield resource_needs.validation(manifest.num_samples("val"))
    yield resource_needs.classes(len(manifest.classes), missing)


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
    shared = resource_needs.shared_bytes(config, fewest)
    yield resource_needs.memory(config, node, there, need + shared, weights)
    yield resource_needs.shared_memory(node, there, shared)
    yield from resource_needs.disks(config, node, weights)
