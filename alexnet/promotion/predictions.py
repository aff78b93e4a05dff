"""Per-image predictions of a model on a validation split, and the file that stores them.

Two of them for the same manifest are compared image by image. The file is safetensors: arrays, and
a few words about what they belong to.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from alexnet import model
from alexnet.errors import DataError

SCHEMA = 1
"""Raise by one when an array is added, removed or changes meaning."""

BINS = 15
"""Of confidence, for the calibration error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """One row an image, in the order of the split."""

    manifest_digest: str
    """Of the data set whose validation split this is."""
    weights_sha256: str
    """Of the weights that predicted."""
    label: NDArray[np.int64]
    """(N,) the right class."""
    predicted: NDArray[np.int64]
    """(N,) the most probable class."""
    confidence: NDArray[np.float32]
    """(N,) probability of `predicted`, in [0, 1]."""
    rank: NDArray[np.int64]
    """(N,) classes that are at least as probable as the right one; 0: the right one is ahead."""
    loss: NDArray[np.float32]
    """(N,) cross-entropy in nats."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the right class is the most probable one; a tie is wrong."""
        right: NDArray[np.bool_] = self.rank == 0
        return right

    @property
    def top1(self) -> float:
        """Share of images that are right, in [0, 1]."""
        return float(self.right.mean())

    @property
    def calibration_error(self) -> float:
        """How far confidence is from the share that is right, in [0, 1].

        The expected calibration error of Guo et al., "On Calibration of Modern Neural Networks"
        (2017), section 2, equation 3, with 15 bins of equal width as there.
        """
        bins = np.minimum((self.confidence * BINS).astype(np.int64), BINS - 1)
        count = np.bincount(bins, minlength=BINS)
        right = np.bincount(bins, weights=self.right, minlength=BINS)
        confidence = np.bincount(bins, weights=self.confidence, minlength=BINS)
        return float(np.abs(right - confidence).sum() / count.sum())


def rows(logits: Tensor, labels: Tensor) -> dict[str, NDArray[np.generic]]:
    """The arrays of `Predictions` for a batch.

    Args:
        logits: (N, K) of any float dtype.
        labels: (N,) int64 in [0, K).
    """
    logits = logits.double()
    confidence, predicted = logits.softmax(1).max(1)
    found = {
        "label": labels,
        "predicted": predicted,
        "confidence": confidence.float(),
        "rank": model.ranks(logits, labels),
        "loss": torch.nn.functional.cross_entropy(logits, labels, reduction="none").float(),
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


ARRAYS = ("label", "predicted", "confidence", "rank", "loss")


def write(path: Path, predictions: Predictions) -> None:
    """Put them into a file."""
    about = {
        "schema": str(SCHEMA),
        "manifest_digest": predictions.manifest_digest,
        "weights_sha256": predictions.weights_sha256,
    }
    save_file({name: getattr(predictions, name) for name in ARRAYS}, path, metadata=about)


def read(path: Path) -> Predictions:
    """What `write` wrote.

    Raises:
        DataError: the file is damaged, or of another release.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("schema") != str(SCHEMA):
                raise DataError(
                    f"{path}: schema {json.dumps(about.get('schema'))}; this code reads {SCHEMA}. "
                    "Evaluate the version again."
                )
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
            if len({array.shape for array in arrays.values()}) != 1:
                raise DataError(f"{path}: arrays of different lengths. Evaluate the version again.")
            return Predictions(
                manifest_digest=about["manifest_digest"],
                weights_sha256=about["weights_sha256"],
                **arrays,
            )
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"{path}: damaged: {error}. Evaluate the version again.") from error
