"""Train and evaluate on one worker, in plain PyTorch."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import model, seeds
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import ShardReader
from alexnet.errors import DataError, DivergedError
from alexnet.loading.batch import Batch, checksum, join
from alexnet.loading.data_loader import ValidationStream, training_batches
from alexnet.loading.epoch_plan import share
from alexnet.loading.samples import TrainParts, ValidationParts
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import CheckpointMeta, CheckpointState
from alexnet.runs.checkpoint_saver import Saver, retried
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.storage.store import Store
from alexnet.telemetry import s3_usage
from alexnet.telemetry.epoch_ledger import Ledger, Skipped, Tally
from alexnet.telemetry.events import Event
from alexnet.training import divergence, learning_rate, optimizer, warm_start
from alexnet.training.divergence import LossGuard
from alexnet.training.evaluation import Counts
from alexnet.training.worker import Worker

VALIDATION_BATCH_SIZE = 256
"""Images a worker evaluates at once; the result does not depend on it."""

LOOK_S = 5.0
"""How often workers look whether their nodes are to be taken away, and how busy they are. A spot
node is announced 30 s or more ahead."""

End = Literal["done", "stopped", "preempted"]
"""Why a training returned: it is complete, somebody asked, or a node is taken away."""


class Orders(IntFlag):
    """What rank 0 decides for all workers, because clocks and messages differ between them."""

    NONE = 0
    SAVE = 1
    LOOK = 2
    STOP = 4


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast on GPUs that have it, float32 elsewhere.

    CPUs stay in float32: runs there are for learning and for tests, which compare bits.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


@dataclass
class Normalizer:
    """uint8 batches to the network's input, on the device."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, manifest: Manifest, device: torch.device) -> "Normalizer":
        """With the mean and standard deviation of the data set."""
        mean, std = (
            torch.tensor(v, device=device) for v in (manifest.colour.mean, manifest.colour.std)
        )
        return cls(mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 to (N, 3, H, W) float32, channels last in memory."""
        return model.to_input(images, self.mean, self.std)


@torch.inference_mode()
def evaluate(
    network: nn.Module, batches: Iterable[list[Batch]], normalize: Normalizer, worker: Worker
) -> Counts:
    """Counts over all workers' batches; the same on every worker.

    Counts are summed and divided once by the caller. Averaging the workers' accuracies would weigh
    a worker with 3 images like one with 3,000.
    """
    network.eval()
    total = Counts(0, 0, 0, 0.0)
    for parts in batches:
        batch = join(parts, worker.device)
        with precision(worker.device):
            logits = network(normalize(batch.images))
        total += Counts.of(logits, batch.labels)
    network.train()
    return Counts.from_tensor(worker.all_reduce(total.as_tensor().to(worker.device)))


@dataclass
class Meter:
    """What happened since the last progress line, and what was asked of S3 since the start."""

    device: torch.device
    images: int = 0
    wait_s: float = 0.0
    since: float = field(default_factory=time.perf_counter)
    loss_sum: Tensor = field(init=False)
    """Stays on the device: reading it every step would wait for the GPU every step."""
    asked: Tensor = field(init=False)
    """One number for each of `traffic.NAMES`."""

    def __post_init__(self) -> None:
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.asked = self.loss_sum.new_zeros(len(s3_usage.NAMES))

    def add(self, images: int, loss_sum: Tensor) -> None:
        """Count one step."""
        self.images += images
        self.loss_sum += loss_sum.detach()

    def timed(self, batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """The batches, with the time they kept the loop waiting."""
        while True:
            begun = time.perf_counter()
            parts = next(batches, None)
            self.wait_s += time.perf_counter() - begun
            if parts is None:
                return
            yield parts

    def rates(self, worker: Worker) -> dict[str, float]:
        """Over all workers, since the last call; every worker takes part."""
        elapsed_s = time.perf_counter() - self.since
        mine = self.loss_sum.new_tensor([0, self.images, self.wait_s])
        mine[0] = self.loss_sum
        loss_sum, images, wait_s = worker.all_reduce(mine).tolist()
        self.images, self.wait_s, self.since = 0, 0.0, time.perf_counter()
        self.loss_sum.zero_()
        return {
            "train/loss": loss_sum / images,
            "train/images_per_s": images / elapsed_s,
            "train/data_wait": wait_s / worker.world_size / elapsed_s,
        }

    def requests(self, worker: Worker) -> dict[str, float]:
        """Of all workers and their loader processes, up to now; every worker takes part."""
        self.asked += worker.all_reduce(self._own_requests())
        return s3_usage.metrics(self.asked.tolist())

    def last_requests(self) -> dict[str, float]:
        """The same with this worker's since, when the others may have ended."""
        self.asked += self._own_requests()
        return s3_usage.metrics(self.asked.tolist())

    def _own_requests(self) -> Tensor:
        return self.asked.new_tensor(s3_usage.OF_PROCESS.take())


class Trainer:
    """State of one worker's training: network, optimizer, step."""

    def __init__(
        self,
        config: RunConfig,
        manifest: Manifest,
        store: Store,
        worker: Worker,
        checkpoints: Checkpoints,
    ) -> None:
        self.config, self.manifest, self.store, self.worker = config, manifest, store, worker
        network = model.build(config.model, config.data.image_px)
        model.initialize_(network, config.train.seed)
        self.network = network.to(worker.device).to(memory_format=torch.channels_last)
        self.optimizer = optimizer.build(config.optim, self.network)
        self.normalize = Normalizer.of(manifest, worker.device)
        self.step = 0
        self.tally = Tally()
        self.guard = LossGuard(worker.device)
        streams, batch = config.data.num_streams, config.train.global_batch_size
        first = share(streams, worker.rank, worker.world_size).start * (batch // streams)
        self.network.dropout.place(first, batch)
        self.checkpoints = checkpoints
        self.saver = Saver(checkpoints, config.cluster.store_timeout_s, self._notice)
        self._saved_at = self._looked_at = time.monotonic()
        num_samples = manifest.num_samples("train")
        self.steps_per_epoch = num_samples // config.train.global_batch_size
        self.steps = self.steps_per_epoch * config.train.epochs

    def resume(self) -> int | None:
        """Go on from the newest whole checkpoint, which rank 0 reads for all.

        Returns:
            When training was there before, in milliseconds since 1970; None at step 0.

        Raises:
            CheckpointError: it is of another run, or all of them are damaged.
            StoreError: the store cannot be reached.
        """
        found = None
        if self.worker.rank == 0:
            found = retried(
                lambda: self.checkpoints.newest(self._check_same_run, self._notice),
                self.config.cluster.store_timeout_s,
                self._notice,
            )
        found = self.worker.broadcast(found)
        if found is None:
            self._begin()
            return None
        meta, state = found
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = meta.step
        if self.worker.rank == 0:  # the account of all workers so far
            turns = self.step % self.steps_per_epoch * self.config.train.global_batch_size
            self.tally = Tally(turns, list(meta.skipped))
        return int(meta.time_ms)

    def _begin(self) -> None:
        """Begin with the parent's weights, if there is one."""
        digest = self.config.train.parent
        if not digest:
            return
        store, state = self.checkpoints.store, None
        if self.worker.rank == 0:
            state = warm_start.read(store, digest)
        warm_start.apply_(self.network, self.worker.broadcast(state), store.url)

    def _check_same_run(self, meta: CheckpointMeta, where: str) -> None:
        identity, digest = self.config.identity(), self.manifest.digest
        checkpoint.check_same_run(meta, identity, digest, where)

    def run(self) -> End:
        """Train until the end, or until it is to stop; what was done is then in a checkpoint.

        Raises:
            DivergedError: a loss or a weight is not a finite number.
            AlexNetError: data or checkpoints cannot be read or written.
        """
        since_ms = self.resume()
        worker, every = self.worker, self.config.train
        wrapped = worker.wrap(self.network)
        validation = ValidationStream(self.validation_parts(), pin_memory=self._pinned)
        batches = training_batches(self.train_parts(), pin_memory=self._pinned)
        meter = Meter(worker.device)
        self._publish("started", {}, resumed_from_ms=since_ms)
        end: End = "done"
        for parts in meter.timed(batches):
            self.update(wrapped, parts, meter)
            epoch_ends = self.step % self.steps_per_epoch == 0
            if self.step % every.log_every_steps == 0 or epoch_ends or self.step == 1:
                self._check_losses()
                shown = self._shown(parts) | meter.requests(worker)
                self._publish("progress", meter.rates(worker) | shown)
            counts = None
            if epoch_ends:
                counts = self._evaluate(validation, self._close_epoch(), meter)
                meter.since = time.perf_counter()  # validation is not the stream's time
            orders = Orders(worker.relay(self._orders()))
            end = self._asked_to_end(orders)
            if epoch_ends or end != "done" or Orders.SAVE in orders:
                self._checkpoint(counts)
            if end != "done":
                break
        meter.requests(worker)
        self.saver.settle()
        self._publish("ended", meter.last_requests())
        return end

    def _shown(self, parts: list[Batch]) -> dict[str, float]:
        """What a progress line says of the step itself; every worker takes part."""
        mine = sum(checksum(part.ids) for part in parts)
        ids = self.worker.all_reduce(torch.tensor(mine, device=self.worker.device))
        return {"train/learning_rate": self._rate, "data/batch_ids": float(ids)}

    def _orders(self) -> Orders:
        """What all workers shall do, as rank 0 sees it."""
        if self.worker.rank != 0:
            return Orders.NONE
        self.saver.check()
        now, orders = time.monotonic(), Orders.NONE
        if now - self._saved_at >= self.config.train.checkpoint_every_s and not self.saver.busy:
            self._saved_at = now
            orders |= Orders.SAVE
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            orders |= Orders.LOOK
        if self.worker.stop_requested():
            orders |= Orders.STOP
        return orders

    def _asked_to_end(self, orders: Orders) -> End:
        """Whether to end before the last step, and why; "done" is to go on."""
        if Orders.LOOK in orders:
            found = self.worker.gather([self.worker.node_metrics()])
            busy = {key: value for node in found for key, value in node.items()}
            if busy:
                self._publish("nodes", busy)
            if self.worker.preempted():
                return "preempted"
        return "stopped" if Orders.STOP in orders else "done"

    def update(self, wrapped: nn.Module, parts: list[Batch], meter: Meter) -> None:
        """One step of the optimizer, on this worker's parts of a global batch."""
        settings = self.config.train
        # Dropout draws from torch's global generator. Seeding that before each step makes a draw
        # depend on the step alone, so that a resumed run needs no saved generator state.
        torch.manual_seed(seeds.derive(settings.seed, "dropout", self.step))
        batch = join(parts, self.worker.device)
        self._rate = learning_rate.learning_rate(
            self.step,
            self.steps_per_epoch,
            settings.epochs,
            settings.global_batch_size,
            self.config.optim,
        )
        optimizer.set_learning_rate_(self.optimizer, self._rate)
        with precision(self.worker.device):
            logits = wrapped(self.normalize(batch.images))
        losses = F.cross_entropy(logits.float(), batch.labels, reduction="none")
        self.guard.watch(self.step, losses, batch.ids)
        loss_sum = losses.sum()
        # DDP divides the summed gradients by the number of workers. Workers' batches may differ in
        # size, so each loss is scaled for the result to be the gradient of the global batch's mean.
        (loss_sum * (self.worker.world_size / settings.global_batch_size)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        meter.add(len(batch.labels), loss_sum)
        self.tally.turns += len(batch.labels)
        self.tally.skipped += batch.skipped

    def _skipped(self) -> tuple[Skipped, ...]:
        """All workers' skipped samples of this epoch; every worker takes part."""
        count = torch.tensor(len(self.tally.skipped), device=self.worker.device)
        # Nearly always nothing: then this one number is all that is exchanged.
        return (
            tuple(self.worker.gather(self.tally.skipped)) if self.worker.all_reduce(count) else ()
        )

    def _close_epoch(self) -> Ledger:
        """The account of the epoch that ends here."""
        skipped = self._skipped()
        turns = self.worker.all_reduce(torch.tensor(self.tally.turns, device=self.worker.device))
        expected = self.manifest.num_samples("train")
        ledger = Ledger(
            epoch=self.step // self.steps_per_epoch - 1,
            expected=expected,
            delivered=int(turns) - len(skipped),
            skipped=skipped,
            left_over=expected % self.config.train.global_batch_size,
        )
        ledger.check()
        self.tally = Tally()
        return ledger

    def _evaluate(self, validation: ValidationStream, ledger: Ledger, meter: Meter) -> Counts:
        counts = evaluate(self.network, validation, self.normalize, self.worker)
        expected = self.manifest.num_samples("val")
        if counts.images != expected:
            raise DataError(
                f"{self.store.url}: {counts.images} validation images were seen, the manifest says "
                f"{expected}. Prepare the data anew."
            )
        rates = {f"val/{name}": value for name, value in counts.rates().items()}
        shown = rates | ledger.metrics() | meter.requests(self.worker)
        self._publish("evaluated", shown, ledger)
        return counts

    def _check_losses(self) -> None:
        """Stop if a loss since the last look was not finite; every worker takes part."""
        if not self.worker.all_reduce(self.guard.tripped):
            return
        found = divergence.earliest(self.worker.gather(self.guard.found()))
        reader = ShardReader(self.store, self.manifest.split("train"))
        names = [reader.name_of(i) for i in found.sample_ids[: divergence.MOST_NAMED]]
        raise DivergedError(divergence.message(found, names))

    def _checkpoint(self, counts: Counts | None) -> None:
        """Begin to write the state after `step` updates; every worker takes part."""
        self._check_losses()
        if not divergence.all_finite(self.network):  # the same on all workers
            raise DivergedError(
                f"step {self.step}: weights are not finite, though the losses were. The last "
                "checkpoint is from before and is kept. Lower optim.learning_rate."
            )
        skipped = self._skipped()
        self._saved_at = time.monotonic()
        if self.worker.rank != 0:
            return
        meta = CheckpointMeta(
            step=self.step,
            images_seen=self.step * self.config.train.global_batch_size,
            time_ms=time.time_ns() // 10**6,
            identity=self.config.identity(),
            manifest_digest=self.manifest.digest,
            metrics=counts.rates() if counts else {},
            skipped=skipped,
        )
        state = CheckpointState(
            model=self.network.state_dict(), optimizer=self.optimizer.state_dict()
        )
        self.saver.save(meta, state)

    def _publish(
        self,
        kind: Any,
        metrics: dict[str, float],
        ledger: Ledger | None = None,
        resumed_from_ms: int | None = None,
    ) -> None:
        if self.worker.rank != 0:
            return
        event = Event(
            kind=kind,
            step=self.step,
            steps=self.steps,
            epoch=self.step / self.steps_per_epoch,
            metrics=metrics,
            ledger=ledger,
            workers=self.worker.world_size if kind == "started" else 0,
            resumed_from_ms=resumed_from_ms,
        )
        self.saver.note(event)
        self.worker.publish(event)

    def _notice(self, text: str) -> None:
        """Tell people something."""
        epoch = self.step / self.steps_per_epoch
        self.worker.publish(
            Event(kind="notice", step=self.step, steps=self.steps, epoch=epoch, text=text)
        )

    @property
    def _pinned(self) -> bool:
        return self.worker.device.type == "cuda"

    def train_parts(self) -> TrainParts:
        """What is left of this worker's training data."""
        return TrainParts(
            store=self.store,
            manifest=self.manifest,
            data=self.config.data,
            augment=self.config.augment,
            train=self.config.train,
            rank=self.worker.rank,
            world_size=self.worker.world_size,
            start_step=self.step,
        )

    def validation_parts(self) -> ValidationParts:
        """This worker's share of the validation split."""
        return ValidationParts(
            store=self.store,
            manifest=self.manifest,
            data=self.config.data,
            batch_size=VALIDATION_BATCH_SIZE,
            rank=self.worker.rank,
            world_size=self.worker.world_size,
        )
