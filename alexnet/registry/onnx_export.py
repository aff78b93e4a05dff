"""The network as an ONNX graph, for those who serve without Python.

The graph takes (N, image_px, image_px, 3) uint8 RGB, any N, and gives (N, K) logits: the
normalisation is inside, decoding and cropping are not.
"""

import importlib.util
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alexnet import augment, model
from alexnet.classifier import Classifier
from alexnet.errors import ArtifactError, ConfigError
from alexnet.registry.probe import TOLERANCE

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Refuse to begin what cannot be ended.

    Raises:
        ConfigError: a package is missing.
    """
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(
            f"registry.onnx = true: {', '.join(missing)} not installed. Run: pip install -c "
            "constraints.txt -e '.[onnx]'"
        )


class _Graph(nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network
        self.register_buffer("mean", torch.tensor(classifier.about.mean))
        self.register_buffer("std", torch.tensor(classifier.about.std))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(model.to_input(images, self.mean, self.std))  # type: ignore[arg-type]
        return logits


def write(path: Path, classifier: Classifier, files: list[bytes]) -> None:
    """Export, run the graph on real images, and compare with torch.

    Raises:
        ArtifactError: the graph gives other logits.
    """
    import onnxruntime

    side = classifier.about.image_px
    views = np.stack([augment.evaluate_view(file, side) for file in files])
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)  # a batch of 1 would stay 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        torch.onnx.export(
            _Graph(classifier).eval(),
            (example,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("images")}},
            external_data=False,
            verbose=False,
        )
    _leave_out_paths(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": views})
    expected = classifier.logits_of_views(torch.from_numpy(views)).numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ArtifactError(
            f"{path.name}: its logits differ from torch's by {difference:.2g}: must be at most "
            f"{TOLERANCE:g}. Set registry.onnx=false, and report it."
        )


def _leave_out_paths(path: Path) -> None:
    """The exporter writes down from which line of which file on this machine each node came."""
    import onnx

    graph = onnx.load(path)
    for node in graph.graph.node:
        del node.metadata_props[:]
    onnx.save(graph, path)
