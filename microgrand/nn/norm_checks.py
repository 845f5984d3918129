"""What normalisation refuses, and what to do instead."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from ..checks import is_integer
from ..kinds import ArrayLike, Shape
from ..tensor import Tensor
from . import layer_checks
from .checks import integer

# --------------------------------------------------------------------------------- options


def size(layer: Any, what: str, value: Any) -> int:
    """Return the number of a layer's channels, or raise."""
    return integer(f"{type(layer).__name__}'s {what}", value, 1)


def groups(who: str, num_groups: Any, channels: int) -> int:
    """Return a number of groups that divides the channels, or raise."""
    number = integer(f"{who}'s num_groups", num_groups, 1)
    if channels % number:
        raise ValueError(f"{who}'s num_groups must divide its {channels} channels, got {number}")
    return number


def lengths(who: str, normalized_shape: Any) -> Shape:
    """Return the lengths of the axes of features, or raise."""
    given = normalized_shape if isinstance(normalized_shape, (tuple, list)) else [normalized_shape]
    if not given or not all(is_integer(length) and length > 0 for length in given):
        raise (TypeError if not all(map(is_integer, given)) else ValueError)(
            f"{who}'s normalized_shape is the length of the last axis, or the lengths of the last "
            f"axes in a tuple, each at least 1, got {normalized_shape!r}"
        )
    return tuple([int(length) for length in given])


def small_number(layer: Any, eps: Any) -> float:
    """Return what is added to a variance, or raise."""
    if not 0 <= layer_checks.number(f"{type(layer).__name__}'s eps", eps) < np.inf:
        raise ValueError(f"{type(layer).__name__}'s eps is a number from 0, got {eps!r}")
    return float(eps)


def momentum(layer: Any, value: Any) -> float | None:
    """Return how much a batch counts in running averages, or raise."""
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(
            f"{type(layer).__name__}'s momentum is a number or None, got {value!r}; None "
            "averages all batches"
        )
    if not 0 <= float(value) <= 1:
        raise ValueError(
            f"{type(layer).__name__}'s momentum, how much a batch counts, is from 0 to 1, got "
            f"{value!r}"
        )
    return float(value)


def check_flags(layer: Any, **flags: Any) -> None:
    """Raise if an option that is true or false is something else."""
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{type(layer).__name__}'s {name} is True or False, got {value!r}")


# ----------------------------------------------------------------------------------- shapes


def check_ndim(
    layer: Any, x: ArrayLike, ndims: tuple[int, ...] | None, channels_wanted: int, channels: int = 1
) -> None:
    """Raise if a layer's input has other axes, or other channels than the layer."""
    shape = np.shape(x)
    if ndims is not None and len(shape) not in ndims:
        expected = " or ".join(str(n) for n in ndims)
        mend = "; give a single example a batch axis, x[None]" if len(shape) < min(ndims) else ""
        raise ValueError(
            f"{type(layer).__name__} got an input of shape {shape}, expected {expected} axes, "
            f"the channels before those of space{mend}"
        )
    if len(shape) < 2 or shape[channels] != channels_wanted:
        last = len(shape) > 2 and shape[-1] == channels_wanted
        mend = "; its channels seem to come last: give np.moveaxis(x, -1, 1)" if last else ""
        raise ValueError(
            f"{type(layer).__name__} got an input of shape {shape}, expected {channels_wanted} "
            f"channels along axis {channels}{mend}"
        )


def check_channels(who: str, channels: int, **parameters: Any) -> None:
    """Raise if a parameter does not have one number for each channel."""
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape != (channels,):
            raise ValueError(
                f"{who} got a {name} of shape {parameter.shape}, expected ({channels},), one "
                "number for each channel of the input"
            )


def check_statistics(who: str, statistics: dict[str, Any], option: str, of_input: Any) -> None:
    """Raise if running statistics cannot be updated, or are missing and not the input's own.

    `of_input` says whether the input's own count, by the option of that name.
    """
    for name, value in statistics.items():
        if value is not None and (not isinstance(value, Tensor) or value.requires_grad):
            raise TypeError(
                f"{who}'s {name} is a tensor without a gradient, as it is updated in "
                f"training, got {type(value).__name__}; make it nn.Buffer(data)"
            )
    given = [value is not None for value in statistics.values()]
    if any(given) != all(given):
        raise ValueError(f"{who} needs both running_mean and running_var, or neither")
    if not (all(given) or of_input):
        raise ValueError(
            f"{who} needs running_mean and running_var in evaluation; with {option}=True it uses "
            "the input's own"
        )


def check_batch_norm(
    x: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Tensor | None,
    bias: Tensor | None,
    training: Any,
) -> None:
    """Raise if arguments of a batch normalisation do not fit."""
    shape = x._array.shape
    if len(shape) < 2:
        raise ValueError(f"batch_norm got an input of shape {shape}, expected (n, channels, ...)")
    statistics = {"running_mean": running_mean, "running_var": running_var}
    check_statistics("batch_norm", statistics, "training", training)
    check_channels("batch_norm", shape[1], **statistics, weight=weight, bias=bias)
    if training and x._array.size <= shape[1]:
        raise ValueError(
            f"batch_norm got an input of shape {shape} in training: a variance needs more than one "
            "element for each channel; give a larger batch, or call eval() before predicting one"
        )


def check_has_momentum(layer: Any, momentum: Any) -> None:
    """Raise if an instance normalisation is to average all batches, which PyTorch's does not."""
    if momentum is None:
        raise TypeError(
            f"{type(layer).__name__}'s momentum is a number, got None, which PyTorch takes for 0"
        )


def check_instance_norm(
    x: Tensor,
    statistics: dict[str, Any],
    weight: Tensor | None,
    bias: Tensor | None,
    use_input_stats: Any,
) -> None:
    """Raise if arguments of an instance normalisation do not fit."""
    shape = x._array.shape
    if len(shape) < 3:
        raise ValueError(
            f"instance_norm got an input of shape {shape}, expected (n, channels, length, ...)"
        )
    check_statistics("instance_norm", statistics, "use_input_stats", use_input_stats)
    check_channels("instance_norm", shape[1], **statistics, weight=weight, bias=bias)
    if use_input_stats and np.prod(shape[2:]) <= 1:
        raise ValueError(
            f"instance_norm got an input of shape {shape}: a variance over space needs more than "
            "one element; nn.BatchNorm takes it over the batch, too"
        )


def check_group_norm(
    x: Tensor, num_groups: Any, weight: Tensor | None, bias: Tensor | None
) -> None:
    """Raise if arguments of a group normalisation do not fit."""
    shape = x._array.shape
    if len(shape) < 2:
        raise ValueError(f"group_norm got an input of shape {shape}, expected (n, channels, ...)")
    groups("group_norm", num_groups, shape[1])
    check_channels("group_norm", shape[1], weight=weight, bias=bias)


def axes_of_features(
    who: str, x: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None
) -> tuple[int, ...]:
    """Return the axes to normalise over, or raise if they have other lengths."""
    expected = lengths(who, normalized_shape)
    shape = x._array.shape
    ndim = len(shape)
    if shape[-len(expected) :] != expected:
        raise ValueError(
            f"{who} got an input of shape {shape}, expected (..., "
            f"{', '.join(map(str, expected))}) for normalized_shape={normalized_shape}"
        )
    for name, parameter in ("weight", weight), ("bias", bias):
        if parameter is not None and parameter.shape != expected:
            raise ValueError(
                f"{who} got a {name} of shape {parameter.shape}, expected {expected}, one number "
                "for each feature"
            )
    return tuple(range(ndim - len(expected), ndim))
