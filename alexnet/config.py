"""What a run is: frozen dataclasses, checked when they are built; `config_file.py` reads them.

A file lists only what differs from the defaults here, which are the seed network and the recipe of
Krizhevsky, Sutskever and Hinton 2012 ("ImageNet classification with deep convolutional neural
networks"). What a place needs (endpoints, credentials, the tracking server) is not configuration:
it comes from `AWS_*`, `MLFLOW_*` and `RAY_*` in the environment.
"""

import dataclasses
import hashlib
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from alexnet.errors import ConfigError

MIN_IMAGE_PX = 63
"""Smallest input whose last pooling still has one pixel: 63 -> 15 -> 7 -> 3 -> 1."""


def checker(section: Any, prefix: str) -> Callable[[str, bool, str], None]:
    """A function `check(key, ok, rule)` that raises `<prefix>.<key> = <value>: <rule>`."""

    def check(key: str, ok: bool, rule: str) -> None:
        if not ok:
            raise ConfigError(f"{prefix}.{key} = {getattr(section, key)!r}: {rule}")

    return check


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The one-tower network of `alexnet/model.py`."""

    num_classes: int = 1000
    """Must equal the number of classes in the data set's manifest."""

    width: float = 1.0
    """Factor on every hidden layer's channels; 1 is AlexNet, smaller is for tests and laptops."""

    dropout: float = 0.5
    """Probability of dropping a unit before the first two fully connected layers; section 4.2."""

    def __post_init__(self) -> None:
        check = checker(self, "model")
        check("num_classes", self.num_classes >= 2, "must be 2 or more")
        check("width", 0 < self.width <= 4, "must be above 0 and at most 4")
        check("dropout", 0 <= self.dropout < 1, "must be in [0, 1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the images are and in which order they are read (`alexnet/loading/epoch_plan.py`)."""

    url: str = ""
    """Folder with `manifest.json`, local or `s3://bucket/prefix`, or one of the manifests in it,
    `.../manifest-<digest>.json`. Empty: the embedded digits."""

    image_px: int = 224
    """Side of the square the network sees."""

    num_streams: int = 64
    """Canonical streams the epoch is cut into; divides the global batch. At least the number of
    loader processes ever used with this run, because a stream is read by one process."""

    window_samples: int = 1024
    """Samples that a stream shuffles as one, and holds in memory: a loader process holds this many
    files of each of its streams. Together, `num_streams * window_samples` are mixed."""

    read_ahead_mib: int = 256
    """Memory of a loader process for samples that are read before their window's turn."""

    loader_processes: int = 4
    """Processes per worker that read, decode and augment; 0 does it in the training process."""

    cache_gib: float = 0.0
    """Disk of each node for whole shards that were read, shared by its processes; 0 keeps none."""

    cache_dir: str = "/tmp/alexnet-shards"  # noqa: S108 - contents are verified by digest
    """Folder of that cache, on a local disk of the nodes."""

    max_bad_share: float = 0.001
    """Share of a process's samples in an epoch that may be unreadable: each is replaced by another,
    drawn by its number, and listed. More stop the run."""

    max_bad_in_a_row: int = 8
    """Unreadable samples that a stream may have one after another; more stop the run, because then
    a shard is broken."""

    def __post_init__(self) -> None:
        check = checker(self, "data")
        check("image_px", self.image_px >= MIN_IMAGE_PX, f"must be {MIN_IMAGE_PX} or more")
        check("num_streams", self.num_streams >= 1, "must be 1 or more")
        check("window_samples", self.window_samples >= 1, "must be 1 or more")
        check(
            "read_ahead_mib", self.read_ahead_mib >= 0, "must be 0 or more; 0 reads nothing ahead"
        )
        check("cache_gib", self.cache_gib >= 0, "must be 0 or more; 0 keeps no shards")
        check("cache_dir", self.cache_dir.startswith("/"), "must be an absolute path")
        check("max_bad_share", 0 <= self.max_bad_share <= 1, "must be in [0, 1]")
        check("max_bad_in_a_row", self.max_bad_in_a_row >= 0, "must be 0 or more")
        check("loader_processes", 0 <= self.loader_processes <= 64, "must be in [0, 64]")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Ranges of the random changes to a training image (`alexnet/augment.py`)."""

    crop_area: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the image's area in the crop; Szegedy et al. 2014, section 6.
    The paper crops 224 of 256 px; area crops have replaced that everywhere."""

    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Narrowest and widest ratio of width to height of the crop."""

    flip: float = 0.5
    """Probability of mirroring left and right; section 4.1."""

    rotation_degrees: float = 10.0
    """Largest turn either way; our choice."""

    brightness: float = 0.2
    """Factor drawn from [1 - value, 1 + value]; likewise contrast and saturation; our choice."""

    contrast: float = 0.2
    """As `brightness`."""

    saturation: float = 0.2
    """As `brightness`."""

    hue: float = 0.02
    """Largest turn of the colour circle either way, in turns (0.5 is opposite); our choice."""

    lighting: float = 0.1
    """Standard deviation of the draw along each colour axis of the data set; section 4.1."""

    def __post_init__(self) -> None:
        check = checker(self, "augment")
        low, high = self.crop_area
        check("crop_area", 0 < low <= high <= 1, "must rise within (0, 1], e.g. [0.08, 1.0]")
        low, high = self.crop_aspect
        check("crop_aspect", 0 < low <= high, "must rise and be above 0, e.g. [0.75, 1.333]")
        check("flip", 0 <= self.flip <= 1, "must be in [0, 1]")
        check("rotation_degrees", 0 <= self.rotation_degrees <= 180, "must be in [0, 180]")
        for key in ("brightness", "contrast", "saturation"):
            check(key, 0 <= getattr(self, key) <= 1, "must be in [0, 1]; 0 turns it off")
        check("hue", 0 <= self.hue <= 0.5, "must be in [0, 0.5]; 0 turns it off")
        check("lighting", 0 <= self.lighting <= 1, "must be in [0, 1]; 0 turns it off")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """SGD with momentum and its learning rate (`alexnet/training/optimizer.py`)."""

    learning_rate: float = 0.01
    """Rate at a global batch of 128 images, the paper's; other batches scale it linearly (Goyal et
    al. 2017, section 2.1)."""

    momentum: float = 0.9
    """Section 5."""

    weight_decay: float = 5e-4
    """Section 5."""

    warmup_epochs: float = 5.0
    """Epochs over which the rate rises from 0; Goyal et al. 2017, section 2.2."""

    decay: Literal["cosine", "step"] = "cosine"
    """`step` divides by ten at each of `decay_epochs`, as the paper; `cosine` falls to 0 at the end
    (Loshchilov and Hutter 2017) and needs no epochs to be chosen."""

    decay_epochs: tuple[int, ...] = (30, 60, 80)
    """Epochs after which `step` drops the rate. The paper drops it three times in about 90 epochs,
    whenever validation error stalls; fixed epochs are our choice: a run can then be repeated."""

    def __post_init__(self) -> None:
        check = checker(self, "optim")
        check("learning_rate", self.learning_rate > 0, "must be above 0")
        check("momentum", 0 <= self.momentum < 1, "must be in [0, 1); at 1 updates never decay")
        check("weight_decay", self.weight_decay >= 0, "must be 0 or more; 0 turns it off")
        check("warmup_epochs", self.warmup_epochs >= 0, "must be 0 or more; 0 turns it off")
        rising = list(self.decay_epochs) == sorted(set(self.decay_epochs))
        check("decay_epochs", rising, "must rise strictly, e.g. [30, 60, 80]")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long, in which batches, and how often to look."""

    epochs: int = 90
    """Section 5 ("roughly 90 cycles")."""

    global_batch_size: int = 256
    """Images per update over all workers. The paper's is 128; twice that feeds more GPUs."""

    seed: int = 0
    """Of the initial weights, the order of the data, the augmentations and dropout."""

    parent: str = ""
    """SHA-256 (hex) of the weights that it begins with (`alexnet/training/warm_start.py`); empty:
    random ones. Set by `pipelines/retrain.py`, not by hand."""

    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints inside an epoch; the most that a kill can cost. Each epoch ends
    with one too."""

    log_every_steps: int = 20
    """Updates between progress lines."""

    def __post_init__(self) -> None:
        check = checker(self, "train")
        check("epochs", self.epochs >= 1, "must be 1 or more")
        check("global_batch_size", self.global_batch_size >= 1, "must be 1 or more")
        check("seed", 0 <= self.seed < 2**31, "must be in [0, 2**31)")
        check("parent", not self.parent or is_sha256(self.parent), "must be a SHA-256 in hex")
        check("checkpoint_every_s", self.checkpoint_every_s >= 0, "must be 0 (always) or more")
        check("log_every_steps", self.log_every_steps >= 1, "must be 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """What the run asks of Ray (`alexnet/adapters/ray_runner.py`)."""

    num_workers: int | tuple[int, int] = 0
    """Data-parallel workers. 0: one for each GPU of the cluster, or two where there is none.
    `[min, max]`: as many of them as the cluster has room for, more or fewer as nodes come and go;
    the images of a step do not depend on it."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes GPUs when the cluster has any."""

    cpus_per_worker: int = 1
    """CPUs that Ray sets aside for a worker: count its loader processes in."""

    start_timeout_s: float = 10.0
    """How long to wait for the cluster to have the resources; raise it where it scales up."""

    on_demand_after_s: float = 0.0
    """Seconds without enough spot capacity before on-demand nodes are requested, by the label
    `ray.io/market-type` of `ray_cluster.yaml`; Ray alone would ask for spot nodes for ever. 0:
    never."""

    max_failures: int = 3
    """Failures of workers after which the run gives up; each restarts from the last checkpoint."""

    storage_url: str = "runs"
    """Folder for runs and their checkpoints, local or `s3://bucket/prefix`; all nodes reach it."""

    checkpoints_kept: int = 3
    """Newest checkpoints of a run that are kept, besides the best by validation top-1. With two, a
    damaged one still has one before it."""

    store_timeout_s: float = 180.0
    """How long training waits for a store of data or checkpoints that does not answer."""

    hang_timeout_s: float = 300.0
    """How long workers wait for one that does not answer, before all start again from the last
    checkpoint. More than `store_timeout_s`: one may be waiting for the store."""

    resize_every_s: float = 60.0
    """How often it is looked whether there is room for more workers, up to the most. New ones cost
    all of them the work since the last checkpoint, and the time of a start."""

    stop_timeout_s: float = 60.0
    """How long SIGTERM, `ray job stop` or Ctrl-C wait for the last checkpoint."""

    @property
    def min_workers(self) -> int:
        """The fewest workers that train; 0 leaves the choice to the cluster."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The most workers that train; 0 leaves the choice to the cluster."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    def __post_init__(self) -> None:
        check = checker(self, "cluster")
        if isinstance(self.num_workers, int):
            check("num_workers", self.num_workers >= 0, "must be 0 (choose) or more")
        else:
            low, high = self.num_workers
            check("num_workers", 1 <= low <= high, "must rise from 1 or more, e.g. [2, 8]")
        check("cpus_per_worker", self.cpus_per_worker >= 1, "must be 1 or more")
        check("start_timeout_s", self.start_timeout_s >= 0, "must be 0 or more")
        check("on_demand_after_s", self.on_demand_after_s >= 0, "must be 0 (never) or more")
        check("max_failures", self.max_failures >= 0, "must be 0 or more")
        check("checkpoints_kept", self.checkpoints_kept >= 1, "must be 1 or more")
        check("store_timeout_s", self.store_timeout_s > 0, "must be above 0")
        check("resize_every_s", self.resize_every_s > 0, "must be above 0")
        check("stop_timeout_s", self.stop_timeout_s > 0, "must be above 0")
        longer = self.hang_timeout_s > self.store_timeout_s
        check("hang_timeout_s", longer, "must be above cluster.store_timeout_s")
        check("storage_url", bool(self.storage_url), "must name a folder or s3://bucket/prefix")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """Where the best model goes (`alexnet/adapters/mlflow_registry.py`)."""

    model_name: str = "alexnet"
    """Registered model of which this run makes a version."""

    experiment: str = "alexnet"
    """MLflow experiment the run belongs to."""

    timeout_s: float = 300.0
    """How long the end of a run waits for an MLflow that does not answer."""

    onnx: bool = False
    """Whether a version also has an ONNX graph (`alexnet/registry/onnx_export.py`)."""

    on_decision: tuple[str, ...] = ()
    """Command that is run after each decision about a version, with the decision as JSON on its
    standard input: the program and its arguments, which no shell sees."""

    def __post_init__(self) -> None:
        check = checker(self, "registry")
        check("timeout_s", self.timeout_s >= 0, "must be 0 or more")
        for key in ("model_name", "experiment"):
            named = re.fullmatch(r"[\w.-]+", getattr(self, key))
            check(key, bool(named), "must be letters, digits, '.', '-' or '_'")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """When a version becomes champion (`alexnet/promotion/gate.py`)."""

    min_gain: float = 0.0
    """Least gain in top-1 over the champion; it must be more than chance besides."""

    alpha: float = 0.05
    """How often a challenger that is no better may pass by chance; also for each kind of harm."""

    max_class_loss: float = 0.1
    """Most that a class may lose of its top-1, as far as that is more than chance."""

    max_calibration_error: float = 0.2
    """Most that confidence may be off the share that is right, on average over the images."""

    min_top1: float = 0.0
    """What is asked of a version that no champion stands against; it must be better besides than
    to name the commonest class of every image, by more than chance."""

    max_latency_ms: float = 1000.0
    """Most that one image alone may take on one core, with decoding, where the gate runs."""

    max_skipped_share: float = 0.0
    """Share of the samples of an epoch that training may have skipped as unreadable."""

    require_clean_tree: bool = False
    """Whether the code must have been a commit without changes."""

    def __post_init__(self) -> None:
        check = checker(self, "gate")
        check("alpha", 0 < self.alpha < 1, "must be in (0, 1)")
        check("min_gain", -1 <= self.min_gain <= 1, "must be in [-1, 1]")
        check("max_latency_ms", self.max_latency_ms > 0, "must be above 0")
        for key in ("max_class_loss", "max_calibration_error", "min_top1", "max_skipped_share"):
            check(key, 0 <= getattr(self, key) <= 1, "must be in [0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """When the pipeline trains by itself, and how much it may spend (`alexnet/retraining/`)."""

    warm_start: bool = False
    """Whether training begins with the champion's weights instead of random ones."""

    on_code_change: bool = True
    """Whether another commit of the code is reason enough, or only new data or settings."""

    max_hours: float = 0.0
    """A training that takes longer is ended, with a checkpoint; 0: it may take as long as it takes.
    The pauses in which it was interrupted count."""

    max_cost: float = 0.0
    """The same for what it costs by `[price]`; 0: no limit."""

    schedule: str = ""
    """When a scheduler calls, as five fields of cron, such as `0 3 * * 1`. `pipelines/status.py`
    shows the next time, and `make schedule` keeps to it. Empty: it is not known here."""

    timezone: str = "UTC"
    """In whose clock, such as `Europe/Berlin`."""

    def __post_init__(self) -> None:
        check = checker(self, "retrain")
        for key in ("max_hours", "max_cost"):
            check(key, getattr(self, key) >= 0, "must be 0 or more")
        if self.schedule or self.timezone != "UTC":
            cron = "must be five fields of cron, such as '0 3 * * 1': Mondays at 3"
            check("schedule", not self.schedule or is_cron(self.schedule), cron)
            zone = "must be a time zone, such as 'Europe/Berlin'"
            check("timezone", is_timezone(self.timezone), zone)


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceConfig:
    """Prices to estimate the cost of a training by (`alexnet/telemetry/cost.py`); 0: no estimate.

    Look them up in your provider's list: they differ by region and by contract.
    """

    currency: str = "USD"
    """In which the prices are; a label, nothing is converted."""

    per_worker_hour: float = 0.0
    """Of a worker: its share of a node, so one GPU's where it has one."""

    per_1000_gets: float = 0.0
    """S3 requests that read an object."""

    per_1000_puts: float = 0.0
    """S3 requests that write (PUT, COPY, POST) or list."""

    per_gib_read: float = 0.0
    """Bytes out of S3; 0 where the cluster is in the bucket's region."""

    @property
    def known(self) -> bool:
        """Whether there is a price."""
        return any(getattr(self, key) for key in PRICES)

    def __post_init__(self) -> None:
        check = checker(self, "price")
        named = re.fullmatch(r"[A-Za-z]{1,12}", self.currency)
        check("currency", bool(named), "must be 1 to 12 letters, e.g. EUR")
        for key in PRICES:
            check(key, getattr(self, key) >= 0, "must be 0 or more")


PRICES = ("per_worker_hour", "per_1000_gets", "per_1000_puts", "per_gib_read")


@dataclass(frozen=True, kw_only=True, slots=True)
class NameConfig:
    """The run's own name (`alexnet/runs/run_record.py`)."""

    name: str = ""
    """Empty: made of `name`, of what decides the weights, and of a number."""

    def __post_init__(self) -> None:
        named = re.fullmatch(r"|[a-z0-9][a-z0-9-]{0,60}", self.name)
        rule = "must be at most 61 lower-case letters, digits or '-'"
        checker(self, "run")("name", bool(named), rule)


NOT_IDENTITY = {
    "name",
    "run",
    "cluster",
    "registry",
    "gate",
    "retrain",
    "price",
    "data.url",
    "data.read_ahead_mib",
    "data.loader_processes",
    "data.cache_gib",
    "data.cache_dir",
    "data.max_bad_share",
    "data.max_bad_in_a_row",
    "train.checkpoint_every_s",
    "train.log_every_steps",
}
"""Sections and keys that do not decide the weights: where a run is computed, how often it is looked
at, when it gives up. They may change between its restarts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A whole run. Sections are passed on singly, to what they configure."""

    name: str = "imagenet"
    """Begins the names of runs in MLflow and in the folder of checkpoints."""

    run: NameConfig = field(default_factory=NameConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    price: PriceConfig = field(default_factory=PriceConfig)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", self.name):
            raise ConfigError(
                f"name = {self.name!r}: must be at most 41 lower-case letters, digits or '-'"
            )
        batch, streams = self.train.global_batch_size, self.data.num_streams
        if batch % streams:
            nearest = max(1, round(batch / streams)) * streams
            raise ConfigError(
                f"train.global_batch_size = {batch}: must be a multiple of data.num_streams = "
                f"{streams}; {nearest} would be"
            )
        priced = not self.retrain.max_cost or self.price.known
        checker(self.retrain, "retrain")("max_cost", priced, "needs a price in [price]")
        if self.cluster.max_workers > streams:
            raise ConfigError(
                f"cluster.num_workers = {self.cluster.max_workers}: must be at most "
                f"data.num_streams = {streams}, because a stream is read by one worker"
            )

    def identity(self) -> dict[str, Any]:
        """`section.key` -> value, as JSON has it, of all that decides the weights."""
        kept = {
            key: value
            for key, value in flat(self).items()
            if key not in NOT_IDENTITY and key.partition(".")[0] not in NOT_IDENTITY
        }
        return typing.cast(dict[str, Any], json.loads(json.dumps(kept)))

    def digest(self) -> str:
        """SHA-256 (hex) of `identity` in canonical order."""
        return json_digest(self.identity())

    def recipe_digest(self) -> str:
        """The same whatever weights training begins with."""
        return json_digest({**self.identity(), "train.parent": ""})


def json_digest(tree: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the JSON of keys and values, whatever their order."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def is_sha256(text: str) -> bool:
    """Whether it is a digest in hexadecimal."""
    return bool(re.fullmatch("[0-9a-f]{64}", text))


def is_cron(text: str) -> bool:
    """Whether a text has five fields of cron."""
    # Not above: a served model brings this module along, but no package that knows cron.
    from croniter import croniter

    return len(text.split()) == 5 and bool(croniter.is_valid(text))


def is_timezone(name: str) -> bool:
    """Whether there is a time zone of a name."""
    try:
        zone: Any = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return isinstance(zone, tzinfo)


def flat(config: RunConfig) -> dict[str, Any]:
    """`section.key` -> value for every field; what MLflow gets as parameters."""
    pairs: dict[str, Any] = {}
    for key, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            pairs |= {f"{key}.{inner}": item for inner, item in value.items()}
        else:
            pairs[key] = value
    return pairs
