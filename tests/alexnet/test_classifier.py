"""Files that do not belong together are refused in one line, and take no memory first."""

import json
import resource

import pytest
import torch

from alexnet import classifier, model
from alexnet.classifier import ABOUT, WEIGHTS, About, Classifier
from alexnet.config import ModelConfig
from alexnet.errors import DataError

ABOUT_TINY = About(
    classes=("a", "b", "c"),
    image_px=64,
    mean=(0.4, 0.4, 0.4),
    std=(0.2, 0.2, 0.2),
    model={"num_classes": 3, "width": 0.05, "dropout": 0.5},
)


@pytest.fixture
def folder(tmp_path):
    network = model.build(ModelConfig(**ABOUT_TINY.model), 64)
    model.initialize_(network, 0)
    classifier.write(tmp_path, network.state_dict(), ABOUT_TINY)
    return tmp_path


def read(folder):
    return Classifier(folder / WEIGHTS, folder / ABOUT)


def test_it_is_read_as_it_was_written(folder):
    found = read(folder)
    assert found.about == ABOUT_TINY
    assert not found.network.training
    assert all(parameter.device.type == "cpu" for parameter in found.network.parameters())


def change(folder, **fields):
    tree = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**tree, **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"num_classes": 3, "width": 4.0, "dropout": 0.5}},
        {"model": {"num_classes": 10**9, "width": 4.0, "dropout": 0.5}},
        {"image_px": 10**6},
    ],
)
def test_a_description_of_a_huge_network_is_refused_and_takes_no_memory(folder, fields):
    change(folder, **fields)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"not the weights of .*about.json") as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"num_classes": 3, "width": 1e9, "dropout": 0.5}},
        {"model": {"num_classes": 3, "exec": "true"}},
        {"image_px": "large"},
        {"surprise": 1},
        {"classes": None},
    ],
)
def test_a_description_that_is_none_is_refused(folder, fields):
    change(folder, **fields)
    with pytest.raises(DataError):
        read(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95 pickled",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (70).to_bytes(8, "little")
        + b'{"fc8.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,999999999]}}',
    ],
)
def test_weights_that_are_none_are_refused(folder, data):
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(DataError, match="not the weights of"):
        read(folder)


def test_weights_of_another_network_are_refused(folder):
    other = model.build(ModelConfig(num_classes=4, width=0.05), 64)
    with torch.no_grad():
        classifier.write(folder, other.state_dict(), ABOUT_TINY)
    with pytest.raises(DataError, match="not the weights of"):
        read(folder)
