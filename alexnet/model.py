"""The network: AlexNet as one tower, and its initial weights.

Legend: N images, C channels, H height, W width, K classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config import ModelConfig

CHANNELS = (96, 256, 384, 384, 256)
"""Of the five convolutions; the paper's 48+48, 128+128, ... on two GPUs, as one tower."""

HIDDEN = 4096
"""Units of the first two fully connected layers; Krizhevsky et al. 2012, section 3.5."""

CLASSIFIER_STD = 0.001
"""Of the last layer's initial weights; our choice. Small logits make the first loss ln(K)."""


class BatchDropout(nn.Module):
    """Dropout (section 4.2) whose draw for an image depends on its place in the global batch alone.

    Each worker draws for the whole global batch, from the same seed, and uses the rows of its own
    images. So the loss of a step does not depend on how many workers share it. The other workers'
    rows cost a bit of memory traffic, which is little beside the layers that follow.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self._first, self._global_batch = 0, 0

    def place(self, first: int, global_batch: int) -> None:
        """Say which images come next.

        Args:
            first: place of this worker's first image in the global batch.
            global_batch: images in it.
        """
        self._first, self._global_batch = first, global_batch

    def forward(self, x: Tensor) -> Tensor:
        """(N, U) to (N, U), with about `probability` of the values 0 in training."""
        if not self.training or not self.probability:
            return x
        keep = 1 - self.probability
        rows = max(self._global_batch, len(x))
        mask = torch.empty(rows, x.shape[1], dtype=torch.bool, device=x.device).bernoulli_(keep)
        return x * mask[self._first : self._first + len(x)] / keep


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers; section 3 of the paper.

    Shapes at 224 px and width 1 are in `forward`. There is no response normalisation: later work
    (Simonyan and Zisserman 2015, section 2.1) found that it does not help.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        width: float = 1.0,
        dropout: float = 0.5,
        image_px: int = 224,
    ) -> None:
        """Build the layers.

        Args:
            num_classes: K.
            width: factor on all hidden channels; rounded to multiples of 8.
            dropout: probability of dropping an input of the first two fully connected layers.
            image_px: side of the square input, 63 or more.
        """
        super().__init__()
        c1, c2, c3, c4, c5 = (_scaled(channels, width) for channels in CHANNELS)
        hidden = _scaled(HIDDEN, width)
        side = pooled_side(image_px)
        self.conv1 = nn.Conv2d(3, c1, kernel_size=11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(c1, c2, kernel_size=5, padding=2)
        self.conv3 = nn.Conv2d(c2, c3, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, kernel_size=3, padding=1)
        self.conv5 = nn.Conv2d(c4, c5, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)  # overlapping; section 3.4
        self.dropout = BatchDropout(dropout)
        self.fc6 = nn.Linear(c5 * side * side, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, K) logits."""
        x = self.pool(F.relu(self.conv1(images)))  # (N, 96, 55, 55) -> (N, 96, 27, 27)
        x = self.pool(F.relu(self.conv2(x)))  # (N, 256, 27, 27) -> (N, 256, 13, 13)
        x = F.relu(self.conv3(x))  # (N, 384, 13, 13)
        x = F.relu(self.conv4(x))  # (N, 384, 13, 13)
        x = self.pool(F.relu(self.conv5(x)))  # (N, 256, 13, 13) -> (N, 256, 6, 6)
        x = x.flatten(1)  # (N, 9216)
        x = F.relu(self.fc6(self.dropout(x)))  # (N, 4096)
        x = F.relu(self.fc7(self.dropout(x)))  # (N, 4096)
        logits: Tensor = self.fc8(x)  # (N, K)
        return logits


def build(settings: ModelConfig, image_px: int) -> AlexNet:
    """The network of a run."""
    return AlexNet(
        num_classes=settings.num_classes,
        width=settings.width,
        dropout=settings.dropout,
        image_px=image_px,
    )


def initialize_(network: AlexNet, seed: int) -> None:
    """Draw the initial weights from `seed` alone, in place.

    He et al. 2015, section 2.2: normal with variance 2 / fan-in, biases 0. Our choice over the
    paper's N(0, 0.01) with biases of 1, which Caffe found flat at the start. The last layer
    starts near zero: its logits, and with them the first loss, are those of a guess.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                std = CLASSIFIER_STD if layer is network.fc8 else math.sqrt(2 / fan_in)
                layer.weight.normal_(0, std, generator=generator)
                layer.bias.zero_()  # type: ignore[union-attr]


def to_input(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalise images on their device.

    Args:
        images: (N, H, W, 3) uint8 RGB.
        mean: (3,) of the data set, in [0, 1]; on the same device.
        std: (3,) likewise.

    Returns:
        (N, 3, H, W) float32. Channels stay last in memory, the layout convolutions are fastest in.
    """
    return ((images / 255 - mean) / std).permute(0, 3, 1, 2)


def pooled_side(image_px: int) -> int:
    """Side of the last feature map: 6 at 224 px, 1 at 63 px."""
    side = (image_px + 2 * 2 - 11) // 4 + 1  # conv1
    for _ in range(3):
        side = (side - 3) // 2 + 1  # pool
    return side


def _scaled(channels: int, width: float) -> int:
    """Multiples of 8 keep matrix units busy."""
    return max(8, round(channels * width / 8) * 8)


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) classes that are at least as probable as the right one; 0: the right one is ahead.

    Args:
        logits: (N, K) of any float dtype.
        labels: (N,) int64 in [0, K).
    """
    right = logits.gather(1, labels[:, None])  # (N, 1)
    # NaN compares false with everything: ask for what is below, so that it counts as wrong.
    return logits.shape[1] - (logits < right).sum(1) - 1
