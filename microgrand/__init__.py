"""microgrand: an autograd micro-framework on NumPy whose core can be read in an evening."""

__version__ = "0.1.0"

from . import data, nn, optim, vjps
from .anomaly import detect_anomaly
from .engine import defvjp, primitive
from .grad_mode import enable_grad, is_grad_enabled, no_grad
from .memory import keep_freed_memory
from .program import compile
from .random import manual_seed
from .tensor import Tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

keep_freed_memory()

__all__ = [
    "Tensor",
    "compile",
    "data",
    "defvjp",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "value_and_grad",
    "vjp",
    "vjps",
]
