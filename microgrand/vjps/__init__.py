"""The table: NumPy's functions and their derivatives, one line each.

``defvjp(f, vjp_of_first_argument, ...)``: each VJP gets the cotangent ``g`` of the result, the
result ``out`` and the arguments, and returns the argument's cotangent, g times d out / d argument.
The engine undoes broadcasting. VJPs use NumPy functions only, so they can be differentiated
themselves. A function that NumPy composes of others may have a `formula` made of those instead: its
value is NumPy's own, to the bit, and its derivative is the formula's.

Conventions where no derivative exists: equal elements that compete (``max``, ``maximum``, ``sort``,
``median``) share the gradient evenly, but pair by pair in ``accumulate``, and in ``partition`` one
of them gets it all; two nans that meet in ``maximum`` or ``fmax`` both get it all, as in PyTorch's
``maximum``; ``abs`` has 0 at 0, and so have norms, ``hypot`` and ``arctan2``, to which two
infinities are equal; ``std`` has 0 where it is computed as 0, ``clip`` 1 at its bounds. A matrix
that a function takes to be symmetric has a symmetric gradient. Eigenvectors and singular vectors of
repeated values have no derivative, nor has the inverse of a singular matrix: asking for one raises
``LinAlgError``. The third derivative of ``det`` needs the inverse, so for singular matrices it
raises ``LinAlgError``, too. The pseudo-inverse is differentiated among the matrices of the same
rank. Of complex matrices, only products, inverses, determinants and ``solve`` have a derivative.
``tanh`` has the usual ``1 - tanh(x)^2``, which is exact to the rounding of ``tanh(x)``: in float64,
it is 0 from about 19 on.

Not supported on tensors that require a gradient, and why:

- ``eig eigvals``: complex in general; ``eigh`` is there for symmetric matrices.
- ``i0``: its derivative is the Bessel function i1, which NumPy lacks.
- ``nextafter``: a step between neighbouring numbers is not a differentiable function.
- ``real_if_close sort_complex``: the dtype of the result depends on the values.
- ``histogram histogram2d histogramdd histogram_bin_edges``: counts are piecewise constant; for
  weighted ones there is ``bincount``.
- ``unique unique_all unique_counts unique_inverse unique_values intersect1d setdiff1d setxor1d
  union1d``: which of several equal elements is kept is arbitrary; select with the indices that
  they return for ``x.detach()``.
- ``trim_zeros``: a slice whose ends depend on the values; slice with ends from ``np.nonzero``.
- ``piecewise``: it writes into an array; ``np.select`` and ``np.where`` are there.
- ``poly polyadd polyder polydiv polyfit polyint polymul polysub roots``: the old interface to
  polynomials, but for ``polyval`` and ``vander``; ``convolve`` multiplies, ``lstsq`` fits.
- ``geomspace logspace``: powers of ``linspace``.
- ``ix_ packbits unpackbits isnat einsum_path busday_count busday_offset is_busday
  datetime_as_string save savetxt savez savez_compressed``: no functions of real numbers.
- ``copyto fill_diagonal place put put_along_axis putmask``, ``ufunc.at``, ``out=``: they write into
  an array, and graphs need the old values.
- ``ufunc.reduceat``, and ``reduce`` and ``accumulate`` of ufuncs that are not associative.
- ``where=`` of ufuncs: it leaves elements undefined; ``np.where`` chooses between values.
- Arrays of other libraries go as far as their library does. CuPy's: ``nanvar`` and ``nanstd`` need
  ``where=`` of ``mean``, which it lacks. Dask's: what adds up elements at given places needs
  ``np.add.at``, so ``take``, ``flip``, ``roll``, ``pad``, ``repeat``, ``tile``, ``diagonal``,
  ``trace`` and indexing with lists raise in the backward pass; ``inner`` is computed at once.
- Options: ``weights`` and a tensor ``q`` of quantiles, other ``mode`` of ``pad`` than constant,
  edge, reflect, symmetric and wrap, ``reflect_type="odd"``, tensors as ``constant_values``,
  ``initial=`` or ``nan=``, ``mean=`` of ``var`` and ``std``, and the arbitrary columns that ``svd``
  and ``qr`` add to make a matrix of another shape square.
"""

from . import (
    calculus,
    constants,
    elementwise,
    fourier,
    indexing,
    linalg,
    norms,
    products,
    reductions,
    shapes,
    statistics,
)
