"""microgrand: an autograd micro-framework on NumPy that can be read in an evening."""

__version__ = "0.1.0"

from . import masks, vjps
from .engine import defvjp, enable_grad, is_grad_enabled, no_grad, primitive
from .tensor import Tensor
