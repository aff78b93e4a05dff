"""Predicts a validation split in shares that can be spread over machines."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet.classifier import Classifier
from alexnet.config import DataConfig
from alexnet.dataset.manifest import Manifest
from alexnet.errors import AlexNetError, DataError
from alexnet.loading.samples import ValidationParts
from alexnet.promotion import predictions
from alexnet.promotion.predictions import Predictions
from alexnet.storage.store import Store

BATCH = 64

SHARE = 512
"""Images that one task predicts, about."""

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Predicts a share of the validation split; can be sent to another machine."""

    store: Store
    manifest: Manifest
    classifier: Classifier

    def shares(self) -> range:
        """Numbers of the shares."""
        return range(math.ceil(self.manifest.num_samples("val") / SHARE))

    def __call__(self, share: int) -> tuple[int, Rows]:
        """The number of the share, and the arrays of `Predictions` for its images.

        Raises:
            DataError, StoreError: an image cannot be read or decoded.
        """
        parts = ValidationParts(
            store=self.store,
            manifest=self.manifest,
            data=DataConfig(image_px=self.classifier.about.image_px, loader_processes=0),
            batch_size=BATCH,
            rank=share,
            world_size=len(self.shares()),
        )
        return share, _joined(self._rows(parts))

    def _rows(self, parts: ValidationParts) -> Iterator[Rows]:
        for batch in parts:
            if isinstance(batch, AlexNetError):
                raise batch
            logits = self.classifier.logits_of_views(batch.images)
            yield predictions.rows(logits, batch.labels)

    def predictions(self, shares: Iterable[tuple[int, Rows]], weights_sha256: str) -> Predictions:
        """All shares, in whatever order they came, as one."""
        in_order = [rows for _, rows in sorted(shares, key=lambda each: each[0])]
        return Predictions(
            manifest_digest=self.manifest.digest, weights_sha256=weights_sha256, **_joined(in_order)
        )


def check_classes(where: str, classes: tuple[str, ...], manifest: Manifest) -> None:
    """Refuse a version that does not know the classes of the images.

    Raises:
        DataError: they are others, or in another order.
    """
    if classes != manifest.classes:
        raise DataError(
            f"{where}: knows {len(classes)} classes, which are not the {len(manifest.classes)} of "
            f"manifest {manifest.digest[:12]}. Versions of other classes need another "
            "registry.model_name."
        )


def _joined(parts: Iterable[Rows]) -> Rows:
    listed = list(parts)
    return {name: np.concatenate([rows[name] for rows in listed]) for name in predictions.ARRAYS}
