"""What `nn.init` refuses, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

from typing import Any

from ..checks import is_integer
from ..tensor import Tensor
from . import layer_checks

#: The names that `calculate_gain` knows.
NONLINEARITIES = (
    *("linear", "conv1d", "conv2d", "conv3d"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("sigmoid", "tanh", "relu", "leaky_relu", "selu"),
)


def check_is_leaf(tensor: Any) -> None:
    """Raise if there is nothing that could be filled."""
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        what = f"of dtype {tensor.dtype}" if hasattr(tensor, "dtype") else repr(tensor)
        raise TypeError(
            f"nn.init fills Parameters, tensors of a float dtype, got {type(tensor).__name__} "
            f"{what}; make it nn.Parameter(data)"
        )
    if not tensor.is_leaf:
        raise TypeError(
            "nn.init fills Parameters, got a tensor that was computed; fill what it was computed "
            "from"
        )


def check_is_matrix(who: str, tensor: Any) -> None:
    """Raise if it is not a matrix."""
    check_is_leaf(tensor)
    if tensor.ndim != 2:
        raise ValueError(f"{who} fills matrices, got shape {tensor.shape}")


def check_has_fans(tensor: Any) -> None:
    """Raise if a weight does not tell its inputs from its outputs."""
    check_is_leaf(tensor)
    if tensor.ndim < 2:
        raise ValueError(
            f"the weight needs at least two axes, (outputs, inputs, ...), got "
            f"{tensor.shape}; for a bias, use zeros_ or uniform_"
        )


def check_is_convolution(tensor: Any, groups: Any) -> None:
    """Raise if it is not a weight of a convolution with such groups."""
    check_is_leaf(tensor)
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(
            f"dirac_ fills weights of 3 to 5 axes, of convolutions, got {tensor.shape}"
        )
    if not is_integer(groups) or groups < 1 or tensor.shape[0] % groups:
        raise ValueError(f"groups must divide the {tensor.shape[0]} out_channels, got {groups!r}")


def check_truncation(std: Any, a: Any, b: Any) -> None:
    """Raise if nothing lies between the bounds."""
    layer_checks.positive("trunc_normal_'s std", std)
    if not a < b:
        raise ValueError(f"trunc_normal_ needs a < b, got {a} and {b}")


def check_nonlinearity(name: Any) -> None:
    """Raise if an activation's gain is not known."""
    layer_checks.one_of("nonlinearity", name, NONLINEARITIES)


def check_mode(mode: Any) -> None:
    """Raise if it is neither of the fans."""
    layer_checks.one_of("mode", mode, ("fan_in", "fan_out"))


def slope(param: Any) -> float:
    """Return the slope of a leaky ReLU, or raise."""
    return layer_checks.number("leaky_relu's slope", param)


def check_sparsity(sparsity: Any) -> None:
    """Raise if it is not a share."""
    if not 0 <= layer_checks.number("sparsity", sparsity) <= 1:
        raise ValueError(f"sparsity is a number from 0 to 1, got {sparsity!r}")
