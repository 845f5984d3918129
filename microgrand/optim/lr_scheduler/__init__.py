"""Schedules of the learning rate, by PyTorch's names: after each step or epoch, another one.

    lr = scheduler.rate(step, initial_lr),    step = 0, 1, 2, ...

Each is a function of the number of calls of its `step`, so that a run goes on at any of them. Only
`ReduceLROnPlateau` looks at how the training goes.

    for epoch in range(epochs):
        train_one_epoch()
        scheduler.step()
"""

from .compositions import ChainedScheduler, SequentialLR
from .cycles import CyclicLR, OneCycleLR
from .functions import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
