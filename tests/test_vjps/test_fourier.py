"""Checks of Fourier transforms: of real input, and of complex input made of two real ones."""

import numpy as np
from hypothesis import strategies as st

from .cases import Case, an_axis, arrays, covers, several_axes, shapes
from .walks import *  # noqa: F403  the tests of all that this file has checks for

NORMS = [None, "ortho", "forward", "backward"]
REAL_INPUT = (np.fft.rfft, np.fft.ihfft, np.fft.rfft2, np.fft.rfftn)


def of_parts(function, options, values):
    """A case that gives the real and the imaginary part of the result, of one or two inputs."""

    def call(x, y=None):
        z = function(x if y is None else x + 1j * y, **options)
        return np.real(z), np.imag(z)

    return Case(call, values)


@st.composite
def values_of(draw, function, least):
    shape = draw(shapes(least, 2, min_side=2, max_side=3 if least == 2 else 4))
    number = 1 if function in REAL_INPUT else draw(st.sampled_from([1, 2]))
    return [draw(arrays(shape)) for _ in range(number)]


@covers(np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft)
@st.composite
def transforms(draw, function):
    values = draw(values_of(function, 1))
    options = {
        "n": draw(st.none() | st.integers(1, 5)),
        "axis": draw(an_axis(values[0].ndim)),
        "norm": draw(st.sampled_from(NORMS)),
    }
    return of_parts(function, options, values)


@covers(np.fft.fft2, np.fft.ifft2, np.fft.rfft2, np.fft.irfft2)
@covers(np.fft.fftn, np.fft.ifftn, np.fft.rfftn, np.fft.irfftn)
@st.composite
def transforms_of_several_axes(draw, function):
    values = draw(values_of(function, 2))
    axes = draw(several_axes(values[0].ndim, 1))
    options = draw(
        st.sampled_from(
            [
                {"norm": draw(st.sampled_from(NORMS))},
                {"axes": axes},
                {"axes": axes, "s": [draw(st.sampled_from([2, 3, 4])) for _ in axes]},
            ]
        )
    )
    return of_parts(function, options, values)
