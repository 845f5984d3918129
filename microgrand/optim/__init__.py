"""Optimizers and constraints: how gradients change the parameters."""

from . import lr_scheduler, swa_utils
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adamax import Adamax
from .constraints import project_max_norm
from .lion import Lion
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW
from .radam import RAdam
from .rmsprop import RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "project_max_norm",
    "swa_utils",
]
