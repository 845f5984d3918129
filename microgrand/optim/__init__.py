"""Optimizers and constraints: how gradients change the parameters."""

from .adagrad import Adagrad
from .constraints import project_max_norm
from .lion import Lion
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW
from .rmsprop import RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "project_max_norm"]
