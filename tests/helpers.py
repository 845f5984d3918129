"""What several files of tests use."""

import numpy as np

from microgrand import Tensor, defvjp, primitive

#: The dtypes that have derivatives.
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


def leaf(*values, dtype=float):
    """Make a vector that requires a gradient."""
    return Tensor(np.array(values, dtype), requires_grad=True)


def make(function, *vjps, **joint):
    """Make a primitive, with its derivative if there is one."""
    wrapped = primitive(function)
    if vjps or joint:
        defvjp(wrapped, *vjps, **joint)
    return wrapped
