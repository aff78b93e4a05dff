"""The registered model: encoded images in, class probabilities and names out.

MLflow keeps this file beside the weights ("models from code") and runs it when the model is loaded,
so nothing is unpickled: the weights are safetensors, the rest is JSON. The image goes through the
same `evaluate_view` as in validation, so what is served is what was measured.
"""

import base64
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from safetensors.torch import load_file

from alexnet import augment, model
from alexnet.config import ModelConfig


class ServedAlexNet(PythonModel):
    """AlexNet behind MLflow's pyfunc interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights and what the network needs to know."""
        about = json.loads(Path(context.artifacts["about"]).read_text(encoding="utf-8"))
        self.classes: list[str] = about["classes"]
        self.image_px: int = about["image_px"]
        self.mean, self.std = torch.tensor(about["mean"]), torch.tensor(about["std"])
        self.network = model.build(ModelConfig(**about["model"]), self.image_px)
        self.network.load_state_dict(load_file(context.artifacts["weights"]))
        self.network.eval()

    @torch.inference_mode()
    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify images.

        Args:
            context: not used after loading.
            model_input: column `image`, the bytes of an image file (base64 in JSON requests).
            params: none are known.

        Returns:
            `class`, the most probable one's name; `probability`, in [0, 1]; `probabilities`, one a
            class in label order.

        Raises:
            DataError: an image cannot be decoded.
        """
        del context, params
        views = [
            augment.evaluate_view(_bytes(image), self.image_px) for image in model_input["image"]
        ]
        images = torch.from_numpy(np.stack(views))  # (N, H, W, 3) uint8
        probabilities = self.network(model.to_input(images, self.mean, self.std)).softmax(1)
        best, labels = probabilities.max(1)
        return pd.DataFrame(
            {
                "class": [self.classes[label] for label in labels.tolist()],
                "probability": best.tolist(),
                "probabilities": probabilities.tolist(),
            }
        )


def _bytes(image: bytes | str) -> bytes:
    return base64.b64decode(image) if isinstance(image, str) else bytes(image)


mlflow.models.set_model(ServedAlexNet())
