"""microgrand: an autograd micro-framework on NumPy whose core can be read in an evening."""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING, Any

from . import checks, data, nn, optim, vjps
from .anomaly import detect_anomaly
from .engine import defvjp, primitive
from .flatten_util import ravel_pytree
from .grad_mode import enable_grad, is_grad_enabled, no_grad
from .memory import keep_freed_memory
from .random import manual_seed
from .recomputing import remat
from .tensor import Tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

if TYPE_CHECKING:
    from . import checkpoint
    from .program import compile

keep_freed_memory()

__all__ = [
    "Tensor",
    "checkpoint",
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
    "ravel_pytree",
    "remat",
    "value_and_grad",
    "vjp",
    "vjps",
]


def __getattr__(name: str) -> Any:
    """Import what is first asked for here: most programs do without it."""
    if name == "compile":
        from .program import compile

        globals()[name] = compile
        return compile
    if name == "checkpoint":
        return importlib.import_module(f"{__name__}.checkpoint")
    raise AttributeError(checks.missing_from_package(name, nn.functional))
