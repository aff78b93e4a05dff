"""A trained network with all it needs to classify image files, as two files that hold no code.

weights.safetensors   the network's state
about.json            `About`: classes, preprocessing, shape of the network
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alexnet import augment, model
from alexnet.config import ModelConfig
from alexnet.errors import AlexNetError, DataError, first_line

WEIGHTS, ABOUT = "weights.safetensors", "about.json"
"""Names of the two files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What is to be known besides the weights."""

    classes: tuple[str, ...]
    """Names, in label order."""
    image_px: int
    """Side of the network's input."""
    mean: tuple[float, float, float]
    """Of red, green and blue in the training data, in [0, 255]."""
    std: tuple[float, float, float]
    """Standard deviations of the same."""
    model: dict[str, Any]
    """Fields of `ModelConfig`."""


def write(folder: Path, weights: dict[str, Tensor], about: About) -> None:
    """Put both files into a folder."""
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, folder / WEIGHTS)
    (folder / ABOUT).write_text(json.dumps(dataclasses.asdict(about), indent=1), encoding="utf-8")


class Classifier:
    """The network in evaluation mode, on the CPU."""

    def __init__(self, weights: Path, about: Path) -> None:
        """Read both files; nothing in them is run.

        Raises:
            DataError: one is missing or damaged, or they do not belong together.
        """
        self.about = read_about(about)
        try:
            with torch.device("meta"):  # the file's size is the most that is allocated
                network = model.build(ModelConfig(**self.about.model), self.about.image_px)
            network.load_state_dict(load_file(weights), assign=True)
        except (SafetensorError, OSError, RuntimeError, TypeError, AlexNetError) as error:
            raise DataError(
                f"{weights}: not the weights of {about}: {first_line(error)}"
            ) from error
        self.network: nn.Module = network.eval()
        self._mean, self._std = torch.tensor(self.about.mean), torch.tensor(self.about.std)

    def logits(self, files: list[bytes]) -> Tensor:
        """(N, K) of N image files, by the preprocessing of validation.

        Raises:
            DataError: one of them cannot be decoded.
        """
        views = [augment.evaluate_view(file, self.about.image_px) for file in files]
        return self.logits_of_views(torch.from_numpy(np.stack(views)))

    @torch.inference_mode()
    def logits_of_views(self, views: Tensor) -> Tensor:
        """(N, K) of (N, image_px, image_px, 3) uint8 RGB."""
        logits: Tensor = self.network(model.to_input(views, self._mean, self._std))
        return logits


def read_about(path: Path) -> About:
    """What `write` wrote.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        for name in ("classes", "mean", "std"):
            tree[name] = tuple(tree[name])
        return About(**tree)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: missing or damaged: {error}") from error
