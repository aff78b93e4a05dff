"""The training loop on one worker, in plain PyTorch."""

import time

import torch
import torch.nn.functional as F
from torch import nn

from alexnet import clock, model, seeds
from alexnet.config import RunConfig
from alexnet.dataset.manifest import Manifest
from alexnet.dataset.shard_reader import ShardReader
from alexnet.errors import DataError, DivergedError
from alexnet.loading.batch import Batch, checksum, join
from alexnet.loading.data_loader import ValidationStream, training_batches
from alexnet.loading.epoch_plan import share, steps_and_remainder
from alexnet.loading.samples import TrainParts, ValidationParts
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import CheckpointMeta, CheckpointState
from alexnet.runs.checkpoint_saver import Saver, retried
from alexnet.runs.checkpoint_store import Checkpoints
from alexnet.storage.store import ReadableStore
from alexnet.telemetry.epoch_ledger import Ledger
from alexnet.telemetry.events import Event, Kind
from alexnet.training import divergence, learning_rate, optimizer, warm_start
from alexnet.training.coordination import Control, Coordinator, End
from alexnet.training.divergence import LossGuard
from alexnet.training.epoch_account import EpochAccount
from alexnet.training.evaluation import Counts, Normalizer, evaluate, precision
from alexnet.training.meter import Meter
from alexnet.training.worker import Worker

VALIDATION_BATCH_SIZE = 256
"""Images a worker evaluates at once; the result does not depend on it."""


class Trainer:
    """State of one worker's training: network, optimizer, step."""

    def __init__(
        self,
        config: RunConfig,
        manifest: Manifest,
        store: ReadableStore,
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
        self.rate = 0.0
        self.guard = LossGuard(worker.device)
        streams, batch = config.data.num_streams, config.train.global_batch_size
        first = share(streams, worker.rank, worker.world_size).start * (batch // streams)
        self.network.dropout.place(first, batch)
        self.checkpoints = checkpoints
        self.saver = Saver(checkpoints, config.cluster.store_timeout_s, self._notice)
        self.coordinator = Coordinator(worker, self.saver, config.train.checkpoint_every_s)
        num_samples = manifest.num_samples("train")
        self.account = EpochAccount(worker, num_samples, batch)
        self.steps_per_epoch, _ = steps_and_remainder(num_samples, batch)
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
        self.account.resume(self.step % self.steps_per_epoch, meta.skipped)
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
                ledger = self.account.close(self.step // self.steps_per_epoch - 1)
                counts = self._evaluate(validation, ledger, meter)
                meter.since = time.perf_counter()  # validation is not the stream's time
            control = self.coordinator.next()
            end = self._asked_to_end(control)
            if epoch_ends or end != "done" or Control.SAVE in control:
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
        return {"train/learning_rate": self.rate, "data/batch_ids": float(ids)}

    def _asked_to_end(self, control: Control) -> End:
        """Why to end before the last step; "done" is to continue."""
        if Control.POLL in control:
            found = self.worker.gather([self.worker.node_metrics()])
            busy = {key: value for node in found for key, value in node.items()}
            if busy:
                self._publish("nodes", busy)
            if self.worker.preempted():
                return "preempted"
        return "stopped" if Control.STOP in control else "done"

    def update(self, wrapped: nn.Module, parts: list[Batch], meter: Meter) -> None:
        """One step of the optimizer, on this worker's parts of a global batch."""
        settings = self.config.train
        # Dropout draws from torch's global generator. Seeding that before each step makes a draw
        # depend on the step alone, so that a resumed run needs no saved generator state.
        torch.manual_seed(seeds.derive(settings.seed, "dropout", self.step))
        batch = join(parts, self.worker.device)
        self.rate = learning_rate.learning_rate(
            self.step,
            self.steps_per_epoch,
            settings.epochs,
            settings.global_batch_size,
            self.config.optim,
        )
        optimizer.set_learning_rate_(self.optimizer, self.rate)
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
        self.account.add(batch)

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
        skipped = self.account.skipped()
        self.coordinator.saved()
        if self.worker.rank != 0:
            return
        meta = CheckpointMeta(
            step=self.step,
            images_seen=self.step * self.config.train.global_batch_size,
            time_ms=clock.now_ms(),
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
        kind: Kind,
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
