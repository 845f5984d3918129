"""Optimizers and constraints: how gradients change the parameters."""

from .constraints import project_max_norm
from .optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "project_max_norm"]
