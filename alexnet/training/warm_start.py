"""Initial weights taken from another version, as a file in the run's folder."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from alexnet.errors import CheckpointError
from alexnet.storage.store import Store, read_verified

NAME = "parent.safetensors"


def put(store: Store, weights: Path) -> None:
    """Give a run its parent's weights.

    Raises:
        StoreError: they cannot be written.
    """
    store.upload(weights, NAME)


def read(store: Store, sha256: str) -> dict[str, Any]:
    """The network's state.

    Raises:
        CheckpointError: it is no such file.
        DataError: it is another one.
        StoreError: it cannot be read.
    """
    try:
        return dict(load(read_verified(store, NAME, bytes.fromhex(sha256))))
    except SafetensorError as error:
        raise CheckpointError(f"{store.url}/{NAME}: no weights: {error}.") from error


def apply_(network: nn.Module, state: dict[str, Any], where: str) -> None:
    """Begin with these weights, in place.

    Raises:
        CheckpointError: they are another network's.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{where}/{NAME}: weights of another network: {reason} Set retrain.warm_start=false."
        ) from error
