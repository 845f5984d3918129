"""Convolutions: functions and layers of what trilinear.py computes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from ..kinds import ArrayLike, Shape
from ..random import generator
from ..tensor import Tensor
from . import checks, conv_checks, layer_checks
from .inputs import as_tensor, hashable
from .module import Module, Parameter
from .padding import Mode, padded
from .trilinear import add_to_channels, correlate, correlate_input
from .windows import Windows

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]

# ------------------------------------------------------------------------------- functions


def convolve(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    axes: int,
) -> Tensor:
    """Convolve along any number of axes."""
    who = f"conv{axes}d"
    x, weight, bias = of_one_dtype(x, weight, bias)
    conv_checks.check_conv(who, x, weight, bias, groups, axes)
    lengths, kernel = x._array.shape[-axes:], weight._array.shape[2:]
    windows = windows_of(who, lengths, kernel, *hashable(stride, padding, dilation))
    return with_bias(correlate, x, weight, bias, windows, groups)


@functools.lru_cache(typed=True)
def windows_of(
    who: str, lengths: Shape, kernel: Shape, stride: Any, padding: Any, dilation: Any
) -> Windows:
    """Find the places of a kernel on an input; once, not at each step."""
    axes = len(lengths)
    stride, dilation = conv_checks.steps(who, axes, stride, dilation)
    pads = conv_checks.paddings(who, axes, padding, kernel, stride, dilation)
    places = [
        (length + before + after - d * (k - 1) - 1) // s + 1
        for length, (before, after), d, k, s in zip(
            lengths, pads, dilation, kernel, stride, strict=True
        )
    ]
    conv_checks.check_places(who, lengths, places, kernel, dilation, pads)
    before = tuple([pad[0] for pad in pads])
    return Windows(lengths, kernel, stride, before, dilation, tuple(places))


def convolve_transposed(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    axes: int,
) -> Tensor:
    """Transposed convolution along any number of axes: its input is `convolve`'s output."""
    who = f"conv_transpose{axes}d"
    x, weight, bias = of_one_dtype(x, weight, bias)
    conv_checks.check_conv_transpose(who, x, weight, bias, groups, axes)
    places, kernel = x._array.shape[-axes:], weight._array.shape[2:]
    options = hashable(stride, padding, output_padding, dilation)
    windows = windows_of_transposed(who, places, kernel, *options)
    return with_bias(correlate_input, x, weight, bias, windows, groups)


@functools.lru_cache(typed=True)
def windows_of_transposed(
    who: str,
    places: Shape,
    kernel: Shape,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
) -> Windows:
    """Find the input on which a kernel has these places; once, not at each step."""
    axes = len(places)
    stride, dilation = conv_checks.steps(who, axes, stride, dilation)
    pads = conv_checks.per_axis(who, "padding", padding, axes, 0)
    more = conv_checks.output_paddings(who, axes, output_padding, stride, dilation)
    lengths = [
        s * (p - 1) - 2 * pad + d * (k - 1) + 1 + extra
        for p, s, pad, d, k, extra in zip(places, stride, pads, dilation, kernel, more, strict=True)
    ]
    conv_checks.check_lengths(who, places, lengths, pads)
    return Windows(tuple(lengths), kernel, stride, pads, dilation, places)


def of_one_dtype(x: ArrayLike, weight: ArrayLike, bias: ArrayLike) -> tuple[Tensor, Tensor, Any]:
    """Make tensors of the weight's dtype."""
    weight = as_tensor(weight)
    dtype = weight._array.dtype
    return as_tensor(x, dtype), weight, None if bias is None else as_tensor(bias, dtype)


def with_bias(
    contraction: Any, x: Tensor, weight: Tensor, bias: Any, windows: Windows, groups: int
) -> Tensor:
    """Contract a batch, or one example without its axis, and add each channel's bias."""
    axes = len(windows.kernel)
    is_batch = x._array.ndim == axes + 2
    out = contraction(x if is_batch else np.expand_dims(x, 0), weight, windows, groups)
    if bias is not None:
        out = add_to_channels(out, bias)
    return out if is_batch else np.squeeze(out, 0)


def conv1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] | Literal["valid", "same"] = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve sequences; as `conv2d` along one axis.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, length)`` or ``(channels, length)``.
    weight
        Tensor or array of shape ``(out_channels, channels / groups, kernel)``.
    bias, stride, padding, dilation, groups
        As in `conv2d`.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, places)`` or ``(out_channels, places)``.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.conv1d([[1.0, 2.0, 4.0, 8.0]], [[[-1.0, 1.0]]])
    Tensor([[1., 2., 4.]])
    """
    return convolve(x, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | Literal["valid", "same"] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images: move a kernel over each, and weigh and sum what it meets.

    It is what mathematics calls a cross-correlation, as the kernel is not turned over:

        y[n, o, p] = bias[o] + sum over c, k of  weight[o, c, k] x[n, c, i(p, k)],
        i(p, k) = stride p + dilation k - padding,

    for pairs ``p`` of a row and a column, and pairs ``k`` in the kernel. Outside, ``x`` is zero.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, height, width)``, or ``(channels, height, width)``;
        it is cast to the dtype of `weight`.
    weight
        Tensor or array of shape ``(out_channels, channels / groups, *kernel)``.
    bias
        Tensor or array of shape ``(out_channels,)``, or None.
    stride
        How far the kernel moves from one place to the next, at least 1; a number, or one for each
        axis.
    padding
        How many zeros there are on each side, at least 0; ``"valid"`` for none, or ``"same"`` for
        as many as give an output of the input's size, where an odd number has one more at the end.
    dilation
        How far apart the kernel's elements are, at least 1.
    groups
        How many groups of channels there are: each group of output channels sees only its own
        group of input channels.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, *places)``, or without ``n``, and the dtype of `weight`. Along
        each axis there are ``(length + 2 padding - dilation (kernel - 1) - 1) // stride + 1``
        places.

    Raises
    ------
    TypeError
        If an array is not of a float dtype, or a number not an integer.
    ValueError
        If the shapes do not fit, or the kernel is larger than the padded input.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE 86 (1998), 2278-2324. Dumoulin, Visin, "A guide to convolution
    arithmetic for deep learning", arXiv:1603.07285, has pictures of the options.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> image = np.zeros((1, 3, 4))
    >>> image[0, 1, 2] = 1.0
    >>> F.conv2d(image, [[[[1.0, 2.0], [3.0, 4.0]]]])
    Tensor([[[0., 4., 3.],
             [0., 2., 1.]]])
    """
    return convolve(x, weight, bias, stride, padding, dilation, groups, 2)


def conv_transpose1d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
) -> Tensor:
    """Convolve sequences transposed; as `conv_transpose2d` along one axis.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, length)`` or ``(channels, length)``.
    weight
        Tensor or array of shape ``(channels, out_channels / groups, kernel)``.
    bias, stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, length)`` or ``(out_channels, length)``.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.conv_transpose1d([[1.0, 2.0]], [[[1.0, 10.0, 100.0]]], stride=2)
    Tensor([[  1.,  10., 102.,  20., 200.]])
    """
    return convolve_transposed(
        x, weight, bias, stride, padding, output_padding, groups, dilation, 1
    )


def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """Convolve images transposed: at each place, add the kernel, weighted by the input.

    It maps the output of a convolution with the same `weight` and options back to the shape of its
    input, as the convolution's VJP does: the transpose of a linear map, not its inverse.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, height, width)``, or ``(channels, height, width)``;
        it is cast to the dtype of `weight`.
    weight
        Tensor or array of shape ``(channels, out_channels / groups, *kernel)``.
    bias
        Tensor or array of shape ``(out_channels,)``, or None.
    stride, padding, groups, dilation
        Those of the convolution that this is the transpose of: see `conv2d`. `padding` takes rows
        and columns away, a number from 0.
    output_padding
        How many rows and columns there are at the end beyond the last place, less than `stride` or
        `dilation`: a convolution with a stride gives the same size for several sizes.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, *lengths)``, or without ``n``, and the dtype of `weight`. Each
        length is ``stride (places - 1) - 2 padding + dilation (kernel - 1) + output_padding + 1``.

    Raises
    ------
    TypeError
        If an array is not of a float dtype, or a number not an integer.
    ValueError
        If the shapes do not fit, or nothing is left of the output.

    References
    ----------
    Zeiler, Krishnan, Taylor, Fergus, "Deconvolutional Networks", CVPR 2010.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.conv_transpose2d([[[1.0, 2.0]]], [[[[1.0, 2.0], [3.0, 4.0]]]])
    Tensor([[[ 1.,  4.,  4.],
             [ 3., 10.,  8.]]])
    """
    return convolve_transposed(
        x, weight, bias, stride, padding, output_padding, groups, dilation, 2
    )


# ---------------------------------------------------------------------------------- layers


class Conv(Module):
    """What `Conv1d` and `Conv2d` share."""

    axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | Literal["valid", "same"] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        self.set_sizes(in_channels, out_channels, groups)
        self.kernel_size = conv_checks.per_axis(who, "kernel_size", kernel_size, self.axes, 1)
        self.stride, self.dilation = conv_checks.steps(who, self.axes, stride, dilation)
        conv_checks.paddings(who, self.axes, padding, self.kernel_size, self.stride, self.dilation)
        layer_checks.one_of(f"{who}'s padding_mode", padding_mode, get_args(PaddingMode))
        self.padding_mode: PaddingMode = padding_mode
        self.padding: Any = padding
        if not isinstance(padding, str):
            self.padding = conv_checks.per_axis(who, "padding", padding, self.axes, 0)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.set_parameters(shape, bias, dtype, rng)

    def set_sizes(self, in_channels: int, out_channels: int, groups: int) -> None:
        """Keep the numbers of channels and groups."""
        self.in_channels, self.out_channels, self.groups = conv_checks.channels_in_groups(
            type(self).__name__, in_channels, out_channels, groups
        )

    def set_parameters(self, shape: Shape, bias: bool, dtype: Any, rng: Any) -> None:
        """Draw the weight and the bias."""
        checks.check_bias(type(self).__name__, bias)
        rng = generator(rng)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = Parameter(rng.uniform(-bound, bound, shape), dtype=dtype)
        self.bias = (
            Parameter(rng.uniform(-bound, bound, self.out_channels), dtype=dtype) if bias else None
        )

    def forward(self, x: ArrayLike) -> Tensor:
        """Convolve a batch, or one example without its axis."""
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = self.padded_input(x, self.padding_mode), 0
        return convolve(
            *(x, self.weight, self.bias, self.stride, padding),
            *(self.dilation, self.groups, self.axes),
        )

    def padded_input(self, x: ArrayLike, mode: Mode) -> Tensor:
        """Put elements of the input around it, instead of zeros."""
        who = type(self).__name__
        x = as_tensor(x, self.weight.dtype)
        conv_checks.check_axes(who, x, self.axes)
        pads = conv_checks.paddings(
            who, self.axes, self.padding, self.kernel_size, self.stride, self.dilation
        )
        return padded(who, x, pads, mode)

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default, as PyTorch does."""
        options = {
            "padding": (self.padding, 0),
            "dilation": (self.dilation, 1),
            "output_padding": (getattr(self, "output_padding", (0,) * self.axes), 0),
        }
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        shown += [f"stride={self.stride}"]
        for name, (value, default) in options.items():
            if value != (default,) * self.axes:
                shown.append(f"{name}={value}")
        shown += [f"groups={self.groups}"] if self.groups != 1 else []
        shown += ["bias=False"] if self.bias is None else []
        shown += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(shown)


class Conv1d(Conv):
    """Convolution of sequences, ``(n, in_channels, length)`` or ``(in_channels, length)``.

    As `Conv2d`, along one axis; `functional.conv1d` is what it computes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> conv = nn.Conv1d(4, 8, 3, padding="same")
    >>> conv(np.ones((5, 4, 10))).shape, conv.weight.shape
    ((5, 8, 10), (8, 4, 3))
    """

    axes = 1


class Conv2d(Conv):
    """Convolution of images, ``(n, in_channels, height, width)`` or without ``n``.

    `functional.conv2d` is what it computes. Weight and bias are drawn uniformly from ``[-k, k]``
    with ``k = 1 / sqrt(fan_in)``, where ``fan_in = in_channels / groups * height * width`` of the
    kernel, as PyTorch does.

    Parameters
    ----------
    in_channels, out_channels
        How many channels input and output have, at least 1.
    kernel_size
        Of the kernel: a number, or one for each axis.
    stride, padding, dilation, groups
        As in `functional.conv2d`.
    bias
        Whether each output channel has a number that is added.
    padding_mode
        What is around the input: ``"zeros"``, or its own elements, ``"reflect"``, ``"replicate"``
        or ``"circular"``, as in `functional.pad`.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values; the library's generator by default.

    Attributes
    ----------
    weight
        Parameter of shape ``(out_channels, in_channels / groups, *kernel_size)``.
    bias
        Parameter of shape ``(out_channels,)``, or None.

    Raises
    ------
    TypeError, ValueError
        When made with numbers that are not integers or too small, or with groups that do not divide
        the channels; or called with an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> conv = nn.Conv2d(3, 16, 3, padding=1)
    >>> conv
    Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> conv(np.ones((5, 3, 8, 8))).shape
    (5, 16, 8, 8)
    """

    axes = 2


class ConvTranspose(Conv):
    """What `ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d` share."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        who = type(self).__name__
        self.set_sizes(in_channels, out_channels, groups)
        self.kernel_size = conv_checks.per_axis(who, "kernel_size", kernel_size, self.axes, 1)
        self.stride, self.dilation = conv_checks.steps(who, self.axes, stride, dilation)
        self.padding = conv_checks.per_axis(who, "padding", padding, self.axes, 0)
        self.output_padding = conv_checks.output_paddings(
            who, self.axes, output_padding, self.stride, self.dilation
        )
        conv_checks.check_mode_of_transposed(who, padding_mode)
        self.padding_mode = "zeros"
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.set_parameters(shape, bias, dtype, rng)

    def forward(self, x: ArrayLike, output_size: int | Sequence[int] | None = None) -> Tensor:
        """Convolve a batch transposed, or one example without its axis.

        Several sizes differ by less than the stride. `output_size` is one of them, instead of
        `output_padding`; of a whole shape, the last axes count.
        """
        more = self.output_padding
        if output_size is not None:
            more = conv_checks.paddings_to_size(self, np.shape(x), output_size)
        return convolve_transposed(
            *(x, self.weight, self.bias, self.stride, self.padding, more),
            *(self.groups, self.dilation, self.axes),
        )


class ConvTranspose1d(ConvTranspose):
    """Transposed convolution of sequences, ``(n, in_channels, length)`` or without ``n``.

    As `ConvTranspose2d`, along one axis; `functional.conv_transpose1d` is what it computes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> conv = nn.ConvTranspose1d(4, 8, 2, stride=2)
    >>> conv(np.ones((5, 4, 10))).shape, conv.weight.shape
    ((5, 8, 20), (4, 8, 2))
    """

    axes = 1


class ConvTranspose2d(ConvTranspose):
    """Transposed convolution of images, ``(n, in_channels, height, width)`` or without ``n``.

    `functional.conv_transpose2d` is what it computes. Weight and bias are drawn as in `Conv2d`,
    with the ``fan_in`` of the convolution that it is the transpose of, whose input is this one's
    output: ``out_channels / groups * height * width`` of the kernel.

    Parameters
    ----------
    in_channels, out_channels
        How many channels input and output have, at least 1.
    kernel_size
        Of the kernel: a number, or one for each axis.
    stride, padding, output_padding, groups, dilation
        As in `functional.conv_transpose2d`.
    bias
        Whether each output channel has a number that is added.
    padding_mode
        ``"zeros"``.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values; the library's generator by default.

    Attributes
    ----------
    weight
        Parameter of shape ``(in_channels, out_channels / groups, *kernel_size)``.
    bias
        Parameter of shape ``(out_channels,)``, or None.

    Raises
    ------
    TypeError, ValueError
        As in `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> conv = nn.ConvTranspose2d(16, 3, 3, stride=2, padding=1, output_padding=1)
    >>> conv(np.ones((5, 16, 8, 8))).shape, conv(np.ones((5, 16, 8, 8)), (15, 16)).shape
    ((5, 3, 16, 16), (5, 3, 15, 16))
    """

    axes = 2
