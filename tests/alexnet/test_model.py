"""The network of the seed document: its shapes, its size, its first answer."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from alexnet import model
from alexnet.config import MIN_IMAGE_PX, ModelConfig
from alexnet.model import AlexNet


@pytest.fixture(scope="module")
def full():
    """The whole network, with its initial weights."""
    network = AlexNet()
    model.initialize_(network, 0)
    return network.eval()


def test_it_has_62_378_344_parameters(full):
    assert sum(p.numel() for p in full.parameters()) == 62_378_344


def test_every_layer_has_the_shape_of_the_seed_document(full):
    shapes = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
        for layer in full.children()
        if not isinstance(layer, model.BatchDropout)
    ]
    full(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    assert shapes == [
        (96, 55, 55), (96, 27, 27),
        (256, 27, 27), (256, 13, 13),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13), (256, 6, 6),
        (4096,), (4096,), (1000,),
    ]  # fmt: skip
    assert full.fc6.in_features == 9216


def test_it_computes_what_the_functions_in_a_row_do(full):
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    w = full.state_dict()
    x = images
    for name, stride, padding, pooled in (
        ("conv1", 4, 2, True), ("conv2", 1, 2, True), ("conv3", 1, 1, False),
        ("conv4", 1, 1, False), ("conv5", 1, 1, True),
    ):  # fmt: skip
        x = F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding).clamp(min=0)
        x = F.max_pool2d(x, 3, 2) if pooled else x
    x = x.reshape(2, -1)
    for name in ("fc6", "fc7"):
        x = (x @ w[f"{name}.weight"].T + w[f"{name}.bias"]).clamp(min=0)
    expected = x @ w["fc8.weight"].T + w["fc8.bias"]
    assert torch.allclose(full(images), expected, atol=1e-4)


def test_the_first_loss_is_that_of_a_guess(full):
    labels = torch.randint(1000, (8,), generator=torch.Generator().manual_seed(1))
    images = torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    assert F.cross_entropy(full(images), labels).item() == pytest.approx(math.log(1000), abs=0.1)


@pytest.mark.parametrize("image_px", [MIN_IMAGE_PX, 64, 128, 227, 256])
@pytest.mark.parametrize("width", [0.02, 0.5])
def test_other_sizes_and_widths_work(image_px, width):
    network = model.build(ModelConfig(num_classes=7, width=width), image_px)
    assert network(torch.zeros(2, 3, image_px, image_px)).shape == (2, 7)


def test_the_smallest_input_is_the_smallest_that_works():
    assert model.pooled_side(MIN_IMAGE_PX) == 1
    assert model.pooled_side(MIN_IMAGE_PX - 1) == 0


def test_initial_weights_depend_on_the_seed_alone():
    def weights(seed):
        network = AlexNet(width=0.1, num_classes=5, image_px=64)
        model.initialize_(network, seed)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    torch.manual_seed(1)
    first = weights(3)
    torch.manual_seed(2)
    assert torch.equal(weights(3), first)
    assert not torch.equal(weights(4), first)


def test_activations_neither_vanish_nor_explode_at_the_start(full):
    images = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    outputs = []
    for layer in (full.conv1, full.conv5, full.fc7):
        layer.register_forward_hook(lambda _, __, out: outputs.append(out.std().item()))
    full(images)
    assert all(0.3 < std < 6 for std in outputs)


def test_input_is_normalised_and_keeps_channels_last():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    made = model.to_input(images, mean, std)
    expected = (images.permute(0, 3, 1, 2) / 255 - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(made, expected, atol=1e-6)
    assert made.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_twenty_images_are_learnt_by_heart():
    torch.manual_seed(0)
    network = AlexNet(num_classes=5, width=0.1, dropout=0.0, image_px=64)
    model.initialize_(network, 0)
    images, labels = torch.randn(20, 3, 64, 64), torch.arange(20) % 5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.005, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert (network(images).argmax(1) == labels).all()


def test_dropout_keeps_the_mean_and_drops_its_share():
    torch.manual_seed(0)
    dropped = model.BatchDropout(0.3)(torch.ones(200, 500))
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    assert (dropped == 0).double().mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_dropout_of_shares_put_end_to_end_is_that_of_the_whole_batch(workers):
    x = torch.rand(12, 40)

    def dropped(first, rows):
        layer = model.BatchDropout(0.5)
        layer.place(first, 12)
        torch.manual_seed(7)
        return layer(rows)

    borders = [12 * i // workers for i in range(workers + 1)]
    shares = [dropped(a, x[a:b]) for a, b in pairwise(borders)]
    assert torch.equal(torch.cat(shares), dropped(0, x))


def test_nothing_is_dropped_outside_training():
    x = torch.rand(5, 7)
    assert torch.equal(model.BatchDropout(0.5).eval()(x), x)
