"""The optimizer is the paper's SGD."""

import torch

from alexnet.config import OptimConfig
from alexnet.training import optimizer as optim


def test_an_update_is_that_of_the_formula():
    # v <- 0.9 v + (gradient + decay w); w <- w - rate v: torch's form of section 5.
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    optimizer = optim.build(OptimConfig(momentum=0.9, weight_decay=0.1), layer)
    weight, velocity = 2.0, 0.0
    for gradient, lr in ((1.0, 0.1), (0.5, 0.2), (0.0, 0.3)):
        optim.set_learning_rate_(optimizer, lr)
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.1 * weight
        weight -= lr * velocity
        assert abs(layer.weight.item() - weight) < 1e-6
