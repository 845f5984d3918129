"""Optimizers and constraints: how gradients change the parameters."""

from . import lr_scheduler, swa_utils
from .adagrad import Adagrad
from .constraints import project_max_norm
from .lion import Lion
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW
from .rmsprop import RMSprop

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
    "project_max_norm",
    "swa_utils",
]
