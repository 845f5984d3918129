"""microgrand: an autograd micro-framework on NumPy whose core can be read in an evening."""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING, Any

from . import checks, tensor, vjps
from .anomaly import detect_anomaly
from .engine import defvjp, primitive
from .flatten_util import ravel_pytree
from .grad_mode import enable_grad, is_grad_enabled, no_grad
from .memory import keep_freed_memory
from .random import manual_seed
from .tensor import Tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

if TYPE_CHECKING:
    from . import checkpoint, data, nn, optim
    from .program import compile
    from .recomputing import remat

keep_freed_memory()
tensor.__class__ = checks.TensorModule

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


#: Imported when first used: those who only differentiate functions never load them.
MODULES = "checkpoint", "data", "nn", "optim"
MODULE_OF = {"compile": "program", "remat": "recomputing"}
#: Where names of PyTorch's are looked for that this package lacks.
HOMES = "nn.functional", "nn", "optim", "data"


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in MODULE_OF:
        found = getattr(importlib.import_module(f"{__name__}.{MODULE_OF[name]}"), name)
        globals()[name] = found
        return found
    if name.startswith("_"):  # which Python asks for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = (importlib.import_module(f"{__name__}.{home}") for home in HOMES)
    raise AttributeError(checks.missing_from_package(name, list(homes)))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
