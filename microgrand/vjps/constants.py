"""Functions whose derivative is zero wherever it exists, or that ask about types and positions.

They return plain arrays, also for tensors.
"""

from __future__ import annotations

import numpy as np

from ..dispatch import constant_for_reals, constant_functions

constant_functions.update(
    # comparisons and logic
    [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isclose],
    [np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.allclose, np.array_equal],
    [np.all, np.any, np.isnan, np.isinf, np.isfinite, np.signbit, np.isin, np.array_equiv],
    [np.isposinf, np.isneginf, np.iscomplex, np.isreal, np.iscomplexobj, np.isrealobj],
    # piecewise constant
    [np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.sign],
    [np.floor_divide, np.spacing, np.digitize, np.searchsorted],
    [np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift],
    [np.bitwise_count, np.gcd, np.lcm],
    # positions and counts
    [np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.lexsort],
    [np.nonzero, np.flatnonzero, np.argwhere, np.count_nonzero],
    [np.linalg.matrix_rank, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from],
    [np.ravel_multi_index, np.unravel_index],
    # shapes and types
    [np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.min_scalar_type],
    [np.zeros_like, np.ones_like, np.empty_like],
    [np.common_type, np.shares_memory, np.may_share_memory],
    [np.array_repr, np.array_str, np.array2string],
)
constant_for_reals.add(np.sign)  # of a complex number, it is the direction
# What NumPy has begun to phase out, or no longer has: trunc and isin are its successors.
constant_functions.update(getattr(np, name) for name in ("fix", "in1d") if hasattr(np, name))
for ufunc in (np.logical_and, np.logical_or, np.logical_xor):
    constant_functions.update([ufunc.reduce, ufunc.accumulate, ufunc.outer])
