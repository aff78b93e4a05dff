"""The optimizer: SGD with momentum and weight decay."""

from torch import nn
from torch.optim import SGD

from alexnet.config import OptimConfig


def build(settings: OptimConfig, network: nn.Module) -> SGD:
    """SGD as in Krizhevsky et al. 2012, section 5: weight decay on all parameters.

    The rate is set before every step. `fused` does an update in one kernel instead of several for
    each parameter.
    """
    return SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_learning_rate_(optimizer: SGD, lr: float) -> None:
    """Set the rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
