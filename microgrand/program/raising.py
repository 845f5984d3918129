"""Which calls may raise an error, or warn, depending on the values that they are given.

An error that the function catches leads it another way. While it is recorded, it is noted; a run of
the program in which a call raises is done by eager code from the start.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from ..optim.optimizer import Optimizer
from .calls import (
    CHECKS,
    IN_PLACE,
    UFUNC_OF,
    Attribute,
    Call,
    Method,
    raw_bytes,
    same,
    variables_in,
)

#: What NumPy says of floating-point errors, as the filters of warnings see it.
MESSAGES = {
    "divide": "divide by zero encountered in",
    "over": "overflow encountered in",
    "under": "underflow encountered in",
    "invalid": "invalid value encountered in",
}
#: Functions of NumPy that look at values, and raise.
LOOKING = {
    *(np.take, np.take_along_axis, np.put, np.put_along_axis, np.choose, np.bincount, np.place),
    *(np.ravel_multi_index, np.unravel_index, np.histogram, np.histogram2d, np.histogramdd),
    *(np.digitize, np.quantile, np.percentile, np.nanquantile, np.nanpercentile, np.insert),
    *(np.delete, np.repeat, np.polyfit, np.roots, np.asarray_chkfinite, np.apply_along_axis),
    *(np.apply_over_axes, np.piecewise, np.interp, np.histogram_bin_edges, np.vander),
    *(np.nanargmax, np.nanargmin, np.average, np.cov, np.corrcoef, np.geomspace, np.arange),
    *(np.compress, np.extract, np.polydiv, np.split, np.array_split, Method("compress")),
    *(Method("take"), Method("choose"), Method("repeat"), Method("put")),
}
#: Functions of `numpy.linalg` that do not.
OF_PRODUCTS = {
    *("norm", "matrix_norm", "vector_norm", "matmul", "multi_dot", "outer", "cross", "tensordot"),
    *("vecdot", "matrix_transpose", "diagonal", "trace", "slogdet", "det"),
}
#: Draws of masks, which raise nothing either.
MODULE_OF_MASKS = "microgrand.nn.dropout."
#: Operators that raise if Python's numbers are too large, or zero.
RAISING_OPERATORS = {operator.truediv, operator.floordiv, operator.mod, operator.pow, divmod}


def may_raise(call: Call) -> bool:
    """Tell whether a call may raise an error, depending on values."""
    function = call.function
    if any(how == "raise" for _, how in call.errstate):
        return True
    if function in CHECKS or isinstance(function, Attribute) or function in (same, raw_bytes):
        return False
    if function in (operator.getitem, operator.setitem):
        return has_places(call.args[1])
    if function in RAISING_OPERATORS or function is np.power:
        return not any(is_inexact(x) for x in call.operands())
    if function in UFUNC_OF or function in IN_PLACE or isinstance(function, np.ufunc):
        return False
    if isinstance(getattr(function, "__self__", None), np.ufunc):
        return function.__name__ in ("at", "reduceat") and has_places(call.args[1])
    if function in LOOKING:
        return True
    if isinstance(function, Method):
        return any(x.is_generator for x in call.operands()) and len([*call.operands()]) > 1
    module = getattr(function, "__module__", None) or ""
    if module == "numpy.linalg":
        return function.__name__ not in OF_PRODUCTS
    tells_numbers = isinstance(getattr(function, "optimizer", None), Optimizer)
    return not (tells_numbers or module == "numpy" or module.startswith(MODULE_OF_MASKS))


def is_inexact(variable: Any) -> bool:
    """Tell whether NumPy computes with a value in floats, and at most warns."""
    return variable.dtype is not None and variable.dtype.kind in "fc"


def has_places(index: Any) -> bool:
    """Tell whether there are values in an index that are used as places."""
    return any(x.dtype is None or x.dtype.kind in "iu" for x in variables_in(index))


def warns_by_itself(function: Any) -> bool:
    """Tell whether a function of NumPy looks at values and warns, whatever `numpy.errstate` is."""
    name = getattr(function, "__name__", "")
    return name == "polyfit" or (name.startswith("nan") and name != "nan_to_num")


class Treatment:
    """What becomes of floating-point errors: by `numpy.errstate`, and the filters of warnings."""

    def __init__(self, around: Treatment | None = None) -> None:
        self.state: dict[str, Any] = {**np.geterr()}
        self.filters: Any = [*getattr(warnings, "_get_filters", lambda: warnings.filters)()]
        #: The list in which warnings are kept, and whether the function has made it.
        self.kept = getattr(getattr(warnings, "_showwarnmsg_impl", None), "__self__", None)
        self.is_inside = around is not None and self.kept is not around.kept
        if around is not None and not self.is_inside and self.filters == around.filters:
            self.told: dict[str, str] = around.told
        else:
            self.told = {kind: self.of_warning(kind) for kind in MESSAGES}
        self.by_filters = "raise" in self.told.values()
        self.errors: dict[str, str] = {
            kind: self.told[kind] if how == "warn" else how for kind, how in self.state.items()
        }

    def of_warning(self, kind: str) -> str:
        """Return what becomes of a warning: one that is kept can be asked for, as an error can."""
        for action, message, category, module, line in self.filters:
            speaks_of_it = message is None or message.match(MESSAGES[kind])
            if speaks_of_it and issubclass(RuntimeWarning, category) and not (module or line):
                if action == "error":
                    return "raise"
                if action == "ignore":
                    return "ignore"
                break
        return "raise" if self.is_inside else "warn"

    def number_kept(self) -> int:
        """Return how many warnings the function has kept."""
        return len(self.kept or ()) if self.is_inside else 0
