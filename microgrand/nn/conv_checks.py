"""What convolution, pooling and normalisation refuse, and what to do instead."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from ..checks import is_integer
from ..kinds import Shape
from ..tensor import Tensor
from .checks import integer
from .layer_checks import one_of

Pairs = Sequence[tuple[int, int]]

#: What the spatial axes of a function are called, by how many there are.
AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}

# --------------------------------------------------------------------------------- options


def per_axis(who: str, what: str, value: Any, axes: int, least: int) -> Shape:
    """Return an option as one number for each spatial axis, or raise."""
    given = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(given) != axes or not all(is_integer(number) for number in given):
        raise TypeError(
            f"{who}'s {what} is an integer, or {axes} in a tuple, ({', '.join(AXES[axes])}), "
            f"got {value!r}"
        )
    if min(given) < least:
        raise ValueError(f"{who}'s {what} must be at least {least}, got {value!r}")
    return tuple([int(number) for number in given])


def steps(who: str, axes: int, stride: Any, dilation: Any) -> tuple[Shape, Shape]:
    """Return stride and dilation for each axis, or raise."""
    return (
        per_axis(who, "stride", stride, axes, 1),
        per_axis(who, "dilation", dilation, axes, 1),
    )


def paddings(
    who: str, axes: int, padding: Any, kernel: Shape, stride: Shape, dilation: Shape
) -> Pairs:
    """Return how many zeros there are before and after each axis, or raise."""
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(
                f"{who}'s padding='same' gives an output of the input's size, which a stride of "
                f"{stride} does not; for its size divided by the stride, give padding as numbers, "
                "(kernel_size - 1) // 2"
            )
        spare = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(zeros // 2, zeros - zeros // 2) for zeros in spare]
    if padding == "valid":
        return [(0, 0)] * axes
    if isinstance(padding, str):
        raise ValueError(
            f"{who}'s padding is 'same', 'valid' or a number of zeros, got {padding!r}"
        )
    return [(zeros, zeros) for zeros in per_axis(who, "padding", padding, axes, 0)]


def paddings_to_size(layer: Any, shape: Shape, output_size: Any) -> Shape:
    """Return the output's padding with which a transposed convolution has a size, or raise."""
    who, axes = type(layer).__name__, layer.axes
    given = output_size[-axes:] if isinstance(output_size, (tuple, list)) else output_size
    sizes = per_axis(who, "output_size", given, axes, 1)
    options = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    least = [
        s * (n - 1) - 2 * p + d * (k - 1) + 1
        for n, k, s, p, d in zip(shape[-axes:], *options, strict=True)
    ]
    more = tuple([size - smallest for size, smallest in zip(sizes, least, strict=True)])
    if not all(0 <= m < s for m, s in zip(more, layer.stride, strict=True)):
        most = tuple([n + s - 1 for n, s in zip(least, layer.stride, strict=True)])
        raise ValueError(
            f"{who} makes of an input of shape {shape} a size from {tuple(least)} to {most}, got "
            f"output_size={output_size}"
        )
    return more


def output_paddings(
    who: str, axes: int, output_padding: Any, stride: Shape, dilation: Shape
) -> Shape:
    """Return the output's padding for each axis, or raise."""
    more = per_axis(who, "output_padding", output_padding, axes, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(
            f"{who}'s output_padding must be less than the stride or the dilation, got "
            f"{output_padding!r} with stride {stride} and dilation {dilation}; for zeros around "
            "the output, np.pad it"
        )
    return more


def check_mode_of_transposed(who: str, padding_mode: Any) -> None:
    """Raise if a transposed convolution is to pad its input, which it does not."""
    if padding_mode != "zeros":
        raise ValueError(
            f"{who}'s padding_mode is 'zeros', got {padding_mode!r}; its padding takes away from "
            "the output, and to pad the input, call functional.pad before"
        )


# ------------------------------------------------------------------------ convolution's shapes


def layout(axes: int) -> str:
    """Describe the shape of an input."""
    spatial = ", ".join(AXES[axes])
    return f"(n, channels, {spatial}), or (channels, {spatial}) for one example"


def check_axes(who: str, x: Tensor, axes: int) -> None:
    """Raise if an input has too many axes, or too few."""
    shape = x._array.shape
    if len(shape) not in (axes + 1, axes + 2):
        mend = ""
        if len(shape) == axes:
            mend = (
                "; give it an axis for its channels, x[None] for one example, x[:, None] for more"
            )
        raise ValueError(f"{who} got an input of shape {shape}, expected {layout(axes)}{mend}")


def check_channels(who: str, x: Tensor, channels: int, axes: int, why: str) -> None:
    """Raise if an input has other channels than a layer takes."""
    shape = x._array.shape
    place = len(shape) - axes - 1
    if shape[place] == channels:
        return
    mend = ""
    if shape[-1] == channels:
        mend = f"; its channels seem to come last: give np.moveaxis(x, -1, {place})"
    elif channels == 1 and place == 0:
        mend = "; if it is a batch without an axis for its one channel, give x[:, None]"
    form = ", ".join(("n", "channels", *AXES[axes])[-len(shape) :])
    raise ValueError(
        f"{who} got an input of shape {shape}, ({form}), with {shape[place]} channels; {why}, "
        f"expected {channels}{mend}"
    )


def check_conv(
    who: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: Any, axes: int
) -> None:
    """Raise if input, weight and bias of a convolution do not fit."""
    shape = weight._array.shape
    names = f"(out_channels, channels / groups, {', '.join(AXES[axes])})"
    check_weight(who, shape, names, groups, axes)
    if shape[0] % groups:
        raise ValueError(
            f"{who} got a weight of shape {shape}, which is {names}, and groups={groups}, which "
            f"does not divide its {shape[0]} output channels"
        )
    check_axes(who, x, axes)
    why = f"for a weight of shape {shape}" + (f" and groups={groups}" if groups > 1 else "")
    check_channels(who, x, shape[1] * groups, axes, why)
    check_bias_of(who, bias, shape[0])


def check_conv_transpose(
    who: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: Any, axes: int
) -> None:
    """Raise if input, weight and bias of a transposed convolution do not fit."""
    shape = weight._array.shape
    names = f"(channels, out_channels / groups, {', '.join(AXES[axes])})"
    check_weight(who, shape, names, groups, axes)
    if shape[0] % groups:
        raise ValueError(
            f"{who} got a weight of shape {shape}, which is {names}, and groups={groups}, which "
            f"does not divide its {shape[0]} channels"
        )
    check_axes(who, x, axes)
    check_channels(who, x, shape[0], axes, f"for a weight of shape {shape}")
    check_bias_of(who, bias, shape[1] * groups)


def check_weight(who: str, shape: Shape, names: str, groups: Any, axes: int) -> None:
    """Raise if a weight has other axes or no elements, or if groups is not a number."""
    if len(shape) != axes + 2 or not all(shape):
        raise ValueError(f"{who} needs a weight of shape {names}, got {shape}")
    integer(f"{who}'s groups", groups, 1)


def check_bias_of(who: str, bias: Tensor | None, channels: int) -> None:
    """Raise if there is not one bias for each channel."""
    if bias is not None and bias._array.shape != (channels,):
        raise ValueError(
            f"{who} got a bias of shape {bias.shape}, expected ({channels},), one for each output "
            "channel"
        )


def check_places(
    who: str, lengths: Shape, places: Sequence[int], kernel: Shape, dilation: Shape, pads: Pairs
) -> None:
    """Raise if a kernel is larger than the padded input."""
    if min(places) < 1:
        span = tuple([d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)])
        spans = f"spans {span}" if span != kernel else f"is {kernel}"
        padded = tuple(
            [n + before + after for n, (before, after) in zip(lengths, pads, strict=True)]
        )
        raise ValueError(
            f"{who} got an input that is {lengths} in space, {padded} with its padding, for a "
            f"kernel that {spans}; pad more, or take a smaller kernel, or fewer strides and "
            "poolings before"
        )


def check_lengths(who: str, places: Shape, lengths: Sequence[int], pads: Shape) -> None:
    """Raise if a transposed convolution's padding leaves nothing of the output."""
    if min(lengths) < 1:
        raise ValueError(
            f"{who} got an input that is {places} in space, whose output would have the lengths "
            f"{tuple(lengths)}, as padding={pads} takes away that much on each side; give less "
            "padding"
        )


def channels_in_groups(
    who: str, in_channels: Any, out_channels: Any, groups: Any
) -> tuple[int, int, int]:
    """Return the sizes of a layer, or raise if it cannot have them."""
    sizes = (
        integer(f"{who}'s in_channels", in_channels, 1),
        integer(f"{who}'s out_channels", out_channels, 1),
        integer(f"{who}'s groups", groups, 1),
    )
    if math.gcd(*sizes) != sizes[2]:
        raise ValueError(
            f"{who}'s groups must divide both its in_channels and its out_channels, got {groups} "
            f"for {in_channels} and {out_channels}"
        )
    return sizes


# -------------------------------------------------------------------------------- pooling


def paddings_of_pool(who: str, axes: int, padding: Any, kernel: Shape, dilation: Shape) -> Shape:
    """Return how far a window may reach out along each axis, or raise."""
    pads = per_axis(who, "padding", padding, axes, 0)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(2 * pad > span for pad, span in zip(pads, spans, strict=True)):
        raise ValueError(
            f"{who}'s padding is at most half its window, which spans {tuple(spans)}, got {padding}"
        )
    return pads


def check_pool(who: str, pool: Any) -> None:
    """Raise if a layer cannot have its options."""
    kernel = per_axis(who, "kernel_size", pool.kernel_size, pool.axes, 1)
    _, dilation = steps(who, pool.axes, pool.stride, getattr(pool, "dilation", 1))
    paddings_of_pool(who, pool.axes, pool.padding, kernel, dilation)
    for name in "ceil_mode", "count_include_pad":
        if not isinstance(getattr(pool, name, True), bool):
            raise TypeError(f"{who}'s {name} is True or False, got {getattr(pool, name)!r}")


def check_sizes(who: str, output_size: Any, axes: int) -> tuple[Any, ...]:
    """Return the size of an output along each axis, None for that of the input, or raise."""
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    if len(given) != axes or not all(size is None or is_integer(size) for size in given):
        raise TypeError(
            f"{who}'s output_size is an integer, or {axes} in a tuple, ({', '.join(AXES[axes])}), "
            f"where None stands for the input's, got {output_size!r}"
        )
    if any(size is not None and size < 1 for size in given):
        raise ValueError(f"{who}'s output_size must be at least 1, got {output_size!r}")
    return tuple(given)


def sizes_of_output(who: str, x: Tensor, output_size: Any, axes: int) -> Shape:
    """Return the lengths of an adaptive pool's output, or raise."""
    check_axes(who, x, axes)
    given = check_sizes(who, output_size, axes)
    lengths = x._array.shape[-axes:]
    if min(lengths) < 1:
        raise ValueError(f"{who} got an input of shape {x.shape}, which has no elements to pool")
    return tuple([n if size is None else int(size) for n, size in zip(lengths, given, strict=True)])


# ------------------------------------------------------------------------------- resizing


def check_one_of(who: str, size: Any, scale_factor: Any) -> None:
    """Raise if not just one of an output's size and scale is given."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{who} needs either size or scale_factor, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )


#: The modes of resizing, and for how many spatial axes they are; None for any number.
MODES = {
    **dict.fromkeys(("nearest", "nearest-exact", "area")),
    "linear": 1,
    "bilinear": 2,
    "trilinear": 3,
    "bicubic": 2,
}


def check_mode(who: str, mode: Any, align_corners: Any) -> None:
    """Raise if a mode of resizing is not known, or its option not for it."""
    one_of(f"{who}'s mode", mode, tuple(MODES))
    if align_corners is None:
        return
    if not isinstance(align_corners, bool):
        raise TypeError(f"{who}'s align_corners is True or False, got {align_corners!r}")
    if MODES[mode] is None:
        between = ", ".join([repr(name) for name, axes in MODES.items() if axes])
        raise ValueError(
            f"{who}'s align_corners is for the modes {between}; leave it out with {mode!r}"
        )


def axes_to_resize(who: str, x: Tensor, mode: Any) -> int:
    """Return how many spatial axes an input has, or raise."""
    shape = x._array.shape
    if len(shape) not in (3, 4, 5) or not all(shape[2:]):
        raise ValueError(
            f"{who} got an input of shape {shape}, expected (n, channels, length), (n, channels, "
            "height, width) or (n, channels, depth, height, width); give a single example a batch "
            "axis, x[None]"
        )
    if MODES[mode] not in (None, len(shape) - 2):
        fitting = next(name for name, axes in MODES.items() if axes == len(shape) - 2)
        raise ValueError(
            f"{who} got an input of shape {shape} and mode={mode!r}; for that shape it is "
            f"{fitting!r}"
        )
    return len(shape) - 2


def sizes_after(
    who: str, lengths: Shape, size: Any, scale_factor: Any
) -> tuple[Shape, list[tuple[float, float]]]:
    """Return the lengths of a resized output, and as pairs the ratios to them, or raise."""
    check_one_of(who, size, scale_factor)
    axes = len(lengths)
    if size is not None:
        sizes = per_axis(who, "size", size, axes, 1)
        return sizes, list(zip(lengths, sizes, strict=True))
    given = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * axes
    if len(given) != axes or not all(isinstance(scale, numbers.Real) for scale in given):
        raise TypeError(
            f"{who}'s scale_factor is a number, or {axes} in a tuple, ({', '.join(AXES[axes])}), "
            f"got {scale_factor!r}"
        )
    scaled = [n * float(scale) for n, scale in zip(lengths, given, strict=True)]
    if not all(1 <= length < math.inf for length in scaled):
        raise ValueError(
            f"{who}'s scale_factor {scale_factor!r} makes lengths {scaled} of {lengths}"
        )
    return tuple([int(length) for length in scaled]), [(1, float(scale)) for scale in given]


def check_multiples(who: str, shape: Shape, factors: tuple[int, int, int]) -> None:
    """Raise if channels, height and width of images are not multiples of what they must be."""
    if len(shape) < 3 or any(n % r for n, r in zip(shape[-3:], factors, strict=True)):
        names = zip(("channels", "height", "width"), factors, strict=True)
        which = "".join(f", {name} a multiple of {r}" for name, r in names if r > 1)
        raise ValueError(
            f"{who} takes images (..., channels, height, width){which}, got an input of shape "
            f"{shape}"
        )


def check_groups_of_channels(shape: Shape, groups: int) -> None:
    """Raise if channels are not in groups."""
    if len(shape) < 3 or shape[1] % groups:
        raise ValueError(
            f"channel_shuffle takes an input (n, channels, length, ...), channels a multiple of "
            f"groups={groups}, got shape {shape}"
        )


def check_columns(shape: Shape, kernel: Shape, places: Shape) -> None:
    """Raise if columns are not what images are unfolded to."""
    number = math.prod(kernel)
    if len(shape) not in (2, 3) or shape[-2] % number or shape[-1] != math.prod(places):
        raise ValueError(
            f"fold takes columns (n, channels * {number}, {math.prod(places)}), or without n, for "
            f"a window that is {kernel} at {places} places, got shape {shape}"
        )


def check_dims(start_dim: Any, end_dim: Any) -> None:
    """Raise if axes to be flattened are not integers."""
    for name, dim in ("start_dim", start_dim), ("end_dim", end_dim):
        if not is_integer(dim):
            raise TypeError(f"Flatten's {name} is the number of an axis, got {dim!r}")


def axes_to_flatten(layer: Any, shape: Shape, start_dim: int, end_dim: int) -> tuple[int, int]:
    """Return the first and the last of the axes to be flattened, or raise."""
    ndim = len(shape)
    start, end = (dim + ndim if dim < 0 else dim for dim in (start_dim, end_dim))
    if not 0 <= start <= end < ndim:
        raise ValueError(
            f"{layer!r} got an input of shape {shape}, which has no axes from {start_dim} to "
            f"{end_dim}; for one example without a batch axis, Flatten(0)"
        )
    return start, end


def check_sizes_to_unflatten(dim: Any, sizes: Any) -> None:
    """Raise if an axis is not an integer, or its parts are not lengths of axes."""
    if not is_integer(dim):
        raise TypeError(f"Unflatten's dim is the number of an axis, got {dim!r}")
    if not isinstance(sizes, (tuple, list)) or not all(map(is_integer, sizes)):
        raise TypeError(f"Unflatten's unflattened_size is a tuple of lengths, got {sizes!r}")
    if not sizes or any(size < -1 for size in sizes) or list(sizes).count(-1) > 1:
        raise ValueError(
            "Unflatten's unflattened_size has lengths from 0, of which one may be -1 for what is "
            f"left, got {sizes!r}"
        )


def axis_to_unflatten(layer: Any, shape: Shape, dim: int, sizes: Shape) -> int:
    """Return the number of the axis to be split, or raise if it cannot be."""
    axis = dim + len(shape) if dim < 0 else dim
    if not 0 <= axis < len(shape):
        raise ValueError(f"{layer!r} got an input of shape {shape}, which has no axis {dim}")
    known = math.prod(size for size in sizes if size != -1)
    rest = shape[axis] % known if -1 in sizes and known else shape[axis] - known
    if rest:
        raise ValueError(
            f"{layer!r} got an input of shape {shape}, whose axis {dim} of length {shape[axis]} "
            f"cannot become axes of lengths {sizes}"
        )
    return axis
