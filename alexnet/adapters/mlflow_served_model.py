"""The registered model: images in, class names and probabilities out.

MLflow keeps this file beside the weights ("models from code") and runs it when the model is loaded,
so nothing is unpickled. The image goes the way of validation, so what is served is what was
measured.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from alexnet.classifier import Classifier
from alexnet.errors import DataError

AT_ONCE = 64
"""Images in a batch: a request of any size needs bounded memory."""

TOP_K = 5
"""Classes that are named for an image, where a request does not say how many."""


class ServedAlexNet(PythonModel):
    """AlexNet behind MLflow's pyfunc interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights and what the network needs to know."""
        files = {name: Path(path) for name, path in context.artifacts.items()}
        self.classifier = Classifier(files["weights"], files["about"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify images.

        Args:
            context: not used after loading.
            model_input: column `image`: the bytes of an image file of any size, the same in
                base64, or pixels: (H, W, 3) RGB or (H, W) grey, uint8 or lists of numbers. A cell
                may also be a list of files, as MLflow makes it of `{"inputs": {"image": [...]}}`.
            params: `top_k`, how many classes are named, 5 if not said.

        Returns:
            One row an image: `class`, the most probable one's name; `probability`, in [0, 1];
            `top_classes` and `top_probabilities`, the most probable ones, best first;
            `probabilities`, one a class in label order.

        Raises:
            DataError: an image cannot be decoded, or `top_k` is below 1.
        """
        del context
        top_k = int((params or {}).get("top_k", TOP_K))
        if top_k < 1:
            raise DataError(f"top_k = {top_k}: must be 1 or more")
        images = [image for cell in model_input["image"] for image in _images(cell)]
        batches = [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]
        rows = [row for batch in batches for row in self._rows(batch, top_k)]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _rows(self, files: list[bytes], top_k: int) -> list[tuple[Any, ...]]:
        classes = self.classifier.about.classes
        probabilities = self.classifier.logits(files).softmax(1)
        best, labels = probabilities.topk(min(top_k, len(classes)), 1)
        rows = []
        for top, found, each in zip(
            labels.tolist(), best.tolist(), probabilities.tolist(), strict=True
        ):
            names = [classes[label] for label in top]
            rows.append((names[0], found[0], names, found, each))
        return rows


COLUMNS = ("class", "probability", "top_classes", "top_probabilities", "probabilities")


def _images(cell: Any) -> list[bytes]:
    """Image files in a cell of the input."""
    if isinstance(cell, bytes | bytearray | memoryview):
        return [bytes(cell)]
    if isinstance(cell, str):
        return [_from_base64(cell)]
    if isinstance(cell, list) and cell and isinstance(cell[0], str | bytes):
        return [image for item in cell for image in _images(item)]
    return [_file_of(cell)]


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"an image that is no base64: {error}. Send the file's bytes.") from error


def _file_of(pixels: Any) -> bytes:
    """Pixels as an uncompressed file, so that they go the way of every image."""
    try:
        array: NDArray[Any] = np.asarray(pixels)
    except ValueError as error:  # lists of uneven lengths
        raise DataError(f"pixels of uneven rows: {error}") from error
    image = array.astype(np.uint8)
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not (shaped and array.size and np.array_equal(image, array)):
        raise DataError(
            f"pixels of shape {array.shape} and type {array.dtype}: must be (H, W, 3) RGB or "
            "(H, W) grey, whole numbers in [0, 255]"
        )
    ordered = image[..., ::-1] if image.ndim == 3 else image  # OpenCV's order is BGR
    return bytes(cv2.imencode(".bmp", np.ascontiguousarray(ordered))[1])


mlflow.models.set_model(ServedAlexNet())
