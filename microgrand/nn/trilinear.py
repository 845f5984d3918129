"""Convolution and its transpose: contractions of one trilinear form.

Let a kernel ``w`` move over an input ``x``. At place ``p``, its element ``k`` meets the input's
element ``i(p, k) = stride p + dilation k - padding`` (see windows.py), and

    y[n, o, p] = sum over c and k of  w[o, c, k] x[n, c, i(p, k)].

Multiplied by a cotangent and summed up, that is a number, linear in each of three arrays:

    T(x, w, y) = sum over n, o, p, c, k of  x[n, c, i(p, k)] w[o, c, k] y[n, o, p].

Its derivative by each of them is a product of the two others: `correlate` is dT/dy, the layer's
forward pass; `correlate_input` is dT/dx, the transposed convolution; `correlate_weight` is dT/dw.
As T is linear in each, all their derivatives are these three again: six VJPs give all orders.

Each is one product of matrices for each group of channels. One factor has for its columns what the
kernel meets at each place: an array larger than the input by the number of the kernel's elements.
It is rebuilt for each product, which costs little, rather than kept until the backward
pass. The batch comes last in memory, so that what an element meets lies there in long stretches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import defvjp, primitive, sum_of, wider
from ..kinds import Array, Value
from ..vjps.rules import wide
from .windows import Windows


def batch_last(x: Array) -> Array:
    """Bring the batch, the first axis, to the end, also in memory; float16 becomes float32."""
    x = np.transpose(x, (*range(1, x.ndim), 0))
    return x.astype(wider(x.dtype, 1) or x.dtype, order="C", copy=False)


def batch_first(x: Array, dtype: Any) -> Array:
    """Call the last axis the first again, and convert the result to the dtype of the operands."""
    return np.transpose(x, (x.ndim - 1, *range(x.ndim - 1))).astype(dtype, copy=False)


def columns(x: Array, windows: Windows, groups: int) -> Array:
    """Lay out what the kernel meets: (group, channel and element, place and example)."""
    x = batch_last(x)
    channels, n = len(x), x.shape[-1]
    blank = np.empty_like if windows.stay_inside else np.zeros_like
    found = blank(x, shape=(channels, *windows.kernel, *windows.places, n))
    for k, met, places in windows.meetings:
        found[(slice(None), *k, *places)] = x[(slice(None), *met)]
    height = channels // groups * math.prod(windows.kernel)
    return np.reshape(found, (groups, height, math.prod(windows.places) * n))


def rows(y: Array, groups: int) -> Array:
    """Lay out outputs: (group, channel, place and example)."""
    y = batch_last(y)
    return np.reshape(y, (groups, len(y) // groups, math.prod(y.shape[1:])))


def kernels(w: Array, groups: int) -> Array:
    """Lay out the weight: (group, output channel, input channel and element)."""
    return np.reshape(wide(w), (groups, len(w) // groups, math.prod(w.shape[1:])))


@primitive
def correlate(x: Value, w: Value, windows: Windows, groups: int) -> Value:
    """dT/dy: at each place, sum what the kernel meets, weighted."""
    product = np.matmul(kernels(w, groups), columns(x, windows, groups))
    y = np.reshape(product, (len(w), *windows.places, len(x)))
    return batch_first(y, x.dtype)


@primitive
def correlate_input(y: Value, w: Value, windows: Windows, groups: int) -> Value:
    """dT/dx: at each place, add the weighted kernel to what it meets."""
    product = np.matmul(np.swapaxes(kernels(w, groups), 1, 2), rows(y, groups))
    channels, n = groups * w.shape[1], len(y)
    shares = np.reshape(product, (channels, *windows.kernel, *windows.places, n))
    x = np.zeros_like(shares, shape=(channels, *windows.lengths, n))
    for k, met, places in windows.meetings:
        there = x[(slice(None), *met)]
        np.add(there, shares[(slice(None), *k, *places)], out=there)
    return batch_first(x, y.dtype)


@primitive
def correlate_weight(x: Value, y: Value, windows: Windows, groups: int) -> Value:
    """dT/dw: for each element of the kernel, sum what it meets, weighted."""
    product = np.matmul(rows(y, groups), np.swapaxes(columns(x, windows, groups), 1, 2))
    w = np.reshape(product, (y.shape[1], x.shape[1] // groups, *windows.kernel))
    return w.astype(x.dtype, copy=False)


defvjp(
    correlate,
    lambda g, out, x, w, *how: correlate_input(g, w, *how),
    lambda g, out, x, w, *how: correlate_weight(x, g, *how),
)
defvjp(
    correlate_input,
    lambda g, out, y, w, *how: correlate(g, w, *how),
    lambda g, out, y, w, *how: correlate_weight(g, y, *how),
)
defvjp(
    correlate_weight,
    lambda g, out, x, y, *how: correlate_input(y, g, *how),
    lambda g, out, x, y, *how: correlate(x, g, *how),
)


# ------------------------------------------------------------------------------------- bias


@primitive
def add_to_channels(y: Value, bias: Value) -> Value:
    """Add a number to each channel, the axis after that of the batch."""
    return y + np.reshape(bias, (len(bias),) + (1,) * (y.ndim - 2))


@primitive
def sum_of_channels(g: Value) -> Value:
    """Sum all elements of each channel."""
    axes = (0, *range(2, g.ndim))
    return sum_of(g, axis=axes, dtype=wider(g.dtype, g.size // max(g.shape[1], 1)))


defvjp(add_to_channels, lambda g, out, y, bias: g, lambda g, out, y, bias: sum_of_channels(g))
defvjp(
    sum_of_channels,
    lambda h, out, g: np.broadcast_to(np.reshape(h, (len(h),) + (1,) * (g.ndim - 2)), g.shape),
)
