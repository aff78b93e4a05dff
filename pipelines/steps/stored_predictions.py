"""Predictions of a version: the stored ones, or new ones made on the cluster."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from alexnet.adapters import ray_cluster
from alexnet.adapters.mlflow_registry import WEIGHTS, Registry, Version
from alexnet.adapters.ray_tasks import spread
from alexnet.classifier import ABOUT, Classifier
from alexnet.classifier import WEIGHTS as WEIGHTS_FILE
from alexnet.dataset.manifest import Manifest
from alexnet.errors import ArtifactError
from alexnet.promotion import prediction_tasks, predictions
from alexnet.promotion.prediction_tasks import Evaluation
from alexnet.promotion.predictions import Predictions
from alexnet.registry.artifact import DATA
from alexnet.storage import scratch
from alexnet.storage.store import Store


class Evaluator:
    """Joins the cluster when it is first needed, and leaves it at the end."""

    def __init__(
        self,
        registry: Registry,
        data: tuple[Store, Manifest],
        kept: Store | None,
        say: Callable[[str], None],
    ) -> None:
        """Evaluate nothing yet; without a folder in `kept` nothing is read or written."""
        self._registry, self._kept, self._say = registry, kept, say
        self._store, self._manifest = data
        self._cluster = ExitStack()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.close()

    def predictions(self, version: Version) -> Predictions:
        """What a version makes of the split.

        Raises:
            AlexNetError: it cannot be loaded, or the images cannot be read.
        """
        return self._stored(version) or self._made(version)

    def _name(self, version: Version) -> str:
        digests = (version.tags.get(WEIGHTS, ""), self._manifest.digest)
        return f"predictions/{'-'.join(digest[:12] for digest in digests)}.safetensors"

    def _stored(self, version: Version) -> Predictions | None:
        """Those that were made before, of just these weights and images."""
        name = self._name(version)
        if not self._kept or not self._kept.exists(name):
            return None
        with scratch.folder() as folder:
            file = folder / "stored"
            file.write_bytes(self._kept.read(name))
            found = predictions.read(file)
        known = (found.weights_sha256, found.manifest_digest)
        if known != (version.tags.get(WEIGHTS), self._manifest.digest):
            return None
        self._say(f"{version.shown}: predictions of {len(found.label)} images, as stored")
        return found

    def _made(self, version: Version) -> Predictions:
        with self._registry.fetched(version) as (folder, made_from):
            if made_from.weights_sha256 != version.tags.get(WEIGHTS):
                raise ArtifactError(f"{version.shown}: its tag {WEIGHTS} is not its lineage's.")
            network = Classifier(folder / DATA / WEIGHTS_FILE, folder / DATA / ABOUT)
        prediction_tasks.check_classes(version.shown, network.about.classes, self._manifest)
        found = self._evaluated(network, made_from.weights_sha256)
        self._say(f"{version.shown}: predicted {len(found.label)} images: top-1 {found.top1:.4f}")
        if self._kept:
            self._keep(self._kept, self._name(version), found)
        return found

    def _evaluated(self, network: Classifier, weights_sha256: str) -> Predictions:
        work = Evaluation(store=self._store, manifest=self._manifest, classifier=network)
        self._cluster.enter_context(ray_cluster.connected())
        return work.predictions(spread(work, work.shares()), weights_sha256)

    @staticmethod
    def _keep(kept: Store, name: str, found: Predictions) -> None:
        with scratch.folder() as folder:
            file: Path = folder / "made"
            predictions.write(file, found)
            kept.upload(file, name)
