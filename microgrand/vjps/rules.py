"""What the files of the table have in common: formulas, and the dtypes that VJPs compute in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import exact_formulas, formulas, plain_results


def formula(
    *functions: Any, exact: bool = False, plain: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """Register how NumPy functions are composed of functions of the table; a decorator.

    On tensors that require a gradient, the value is NumPy's own, and the derivative is that of the
    formula. With `exact`, the formula's value is known to be NumPy's, as it only moves elements or
    calls the same function: then the formula is all that is called. Of several results, those in
    `plain` are constant, and stay arrays; the formula has None in their place.

    A function that NumPy 2.0 did not have yet is given by its name.
    """

    def register(compose: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            if isinstance(function, str):
                if not hasattr(np, function):
                    continue
                function = getattr(np, function)
            formulas[function] = compose
            plain_results[function] = plain
            if exact:
                exact_formulas.add(function)
        return compose

    return register


def as_array(value: Any) -> Any:
    """Make lists and numbers arrays; leave tensors and arrays as they are."""
    return value if hasattr(value, "__array_function__") else np.asarray(value)


def as_in(out: Any, x: Any) -> Any:
    """Convert an operand to the dtype that a ufunc computed its result in."""
    return x.astype(out.dtype) if hasattr(x, "dtype") and x.dtype != out.dtype else x


def wide(x: Any) -> Any:
    """Convert float16 to float32, in which counts and sums do not soon overflow or stick."""
    return x.astype(np.float32) if x.dtype == np.float16 else x
