"""Fourier transforms: linear maps, whose VJP is the transposed map.

The matrix of the discrete Fourier transform is symmetric, so ``fft`` is its own transpose. What
``rfft`` leaves out of its result has the cotangent 0; what ``irfft`` adds to its argument doubles
the cotangents of what it mirrors. With ``n``, an argument is cut or padded with zeros first.
"""

from __future__ import annotations

import numpy as np

from ..dispatch import formula
from ..engine import defvjp
from ..kinds import ArrayLike, Axis, Function, Option, Shape, Value
from .rules import filled


def with_length(x: Value, n: int, axis: int) -> Value:
    """Cut off the end of an axis, or pad it with zeros, to length `n`."""
    x = np.moveaxis(x, axis, -1)
    if n <= x.shape[-1]:
        x = x[..., :n]
    else:
        x = np.concatenate([x, np.zeros_like(x, shape=(*x.shape[:-1], n - x.shape[-1]))], -1)
    return np.moveaxis(x, -1, axis)


def fft_vjp(transform: Function) -> Function:
    """Transform the cotangent in the same way."""

    def vjp(
        g: Value,
        out: Value,
        a: Value,
        n: int | None = None,
        axis: int = -1,
        norm: Option = None,
    ) -> Value:
        return with_length(transform(g, axis=axis, norm=norm), a.shape[axis], axis)

    return vjp


def rfft_vjp(
    g: Value, out: Value, a: Value, n: int | None = None, axis: int = -1, norm: Option = None
) -> Value:
    """Pad with the zero cotangents of what was left out, and transform."""
    length = a.shape[axis] if n is None else n
    g = np.real(np.fft.fft(with_length(g, length, axis), axis=axis, norm=norm))
    return with_length(g, a.shape[axis], axis)


def irfft_vjp(
    g: Value, out: Value, a: Value, n: int | None = None, axis: int = -1, norm: Option = None
) -> Value:
    """Transform; double what stands for two: all but the first, and the middle of an even n."""
    length = out.shape[axis]
    half = np.moveaxis(np.fft.ifft(g, axis=axis, norm=norm), axis, -1)[..., : length // 2 + 1]
    times = filled(half.shape[-1], 2, g.dtype, g)
    times[0] = 1
    if length % 2 == 0:
        times[-1] = 1
    return with_length(np.moveaxis(half * times, -1, axis), a.shape[axis], axis)


defvjp(np.fft.fft, fft_vjp(np.fft.fft))
defvjp(np.fft.ifft, fft_vjp(np.fft.ifft))
defvjp(np.fft.rfft, rfft_vjp)
defvjp(np.fft.irfft, irfft_vjp)

OPPOSITE: dict[Option, Option] = {
    None: "forward",
    "backward": "forward",
    "ortho": "ortho",
    "forward": "backward",
}


@formula(np.fft.hfft)
def _hfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Option = None) -> Value:
    return np.fft.irfft(np.conj(a), n, axis, norm=OPPOSITE[norm])


@formula(np.fft.ihfft)
def _ihfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: Option = None) -> Value:
    return np.conj(np.fft.rfft(a, n, axis, norm=OPPOSITE[norm]))


def lengths_and_axes(x: Value, s: Shape | None, axes: Axis) -> tuple[list[int | None], list[int]]:
    """Fill in the defaults of transforms along several axes: all axes, at full length."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    axes = list(axes)
    lengths = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    if len(lengths) != len(axes):
        raise ValueError(f"s={s} and axes={axes} have different lengths")
    # A length of None means that of the axis, but to irfft it would mean 2 (length - 1).
    return [x.shape[a] if n is None and s is not None else n
            for n, a in zip(lengths, axes, strict=True)], axes  # fmt: skip


@formula(np.fft.fftn)
def _fftn(a: ArrayLike, s: Shape | None = None, axes: Axis = None, norm: Option = None) -> Value:
    for n, axis in zip(*lengths_and_axes(a, s, axes), strict=True):
        a = np.fft.fft(a, n, axis, norm)
    return a


@formula(np.fft.ifftn)
def _ifftn(a: ArrayLike, s: Shape | None = None, axes: Axis = None, norm: Option = None) -> Value:
    for n, axis in zip(*lengths_and_axes(a, s, axes), strict=True):
        a = np.fft.ifft(a, n, axis, norm)
    return a


@formula(np.fft.rfftn)
def _rfftn(a: ArrayLike, s: Shape | None = None, axes: Axis = None, norm: Option = None) -> Value:
    lengths, axes = lengths_and_axes(a, s, axes)
    a = np.fft.rfft(a, lengths[-1], axes[-1], norm)
    for n, axis in zip(lengths[:-1], axes[:-1], strict=True):
        a = np.fft.fft(a, n, axis, norm)
    return a


@formula(np.fft.irfftn)
def _irfftn(a: ArrayLike, s: Shape | None = None, axes: Axis = None, norm: Option = None) -> Value:
    lengths, axes = lengths_and_axes(a, s, axes)
    for n, axis in zip(lengths[:-1], axes[:-1], strict=True):
        a = np.fft.ifft(a, n, axis, norm)
    return np.fft.irfft(a, lengths[-1], axes[-1], norm)


def over_two_axes(transform: Function) -> Function:
    """Make the version of an n-dimensional transform that is over the last two axes."""

    def transform2(
        a: ArrayLike, s: Shape | None = None, axes: Axis = (-2, -1), norm: Option = None
    ) -> Value:
        return transform(a, s, axes, norm)

    return transform2


formula(np.fft.fft2)(over_two_axes(np.fft.fftn))
formula(np.fft.ifft2)(over_two_axes(np.fft.ifftn))
formula(np.fft.rfft2)(over_two_axes(np.fft.rfftn))
formula(np.fft.irfft2)(over_two_axes(np.fft.irfftn))
