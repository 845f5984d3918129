"""Schedules of the learning rate, by PyTorch's names: after each step or epoch, another one.

    lr = scheduler.rate(step, initial_lr),    step = 0, 1, 2, ...

Each is a function of the number of calls of its `step`, so that a run goes on at any of them. Only
`ReduceLROnPlateau` looks at how the training goes.

    for epoch in range(epochs):
        train_one_epoch()
        scheduler.step()
"""

from .functions import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    SequentialLR,
    StepLR,
)
from .one_cycle import OneCycleLR
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
