"""Schedules of the learning rate, under PyTorch's names: it changes after each step or epoch.

    lr = scheduler.rate(step, initial_lr),    step = 0, 1, 2, ...

Each is a function of the number of calls of its `step`, so that a run can resume at any of them.
Only `ReduceLROnPlateau` looks at the training's progress.

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
