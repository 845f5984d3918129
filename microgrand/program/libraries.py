"""What belongs to a library: there is no state of the user's in it."""

from __future__ import annotations

import builtins
import gc
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from .holders import BUILTIN_METHODS


def in_library(value: Any) -> bool:
    """Tell whether a function, class or module is NumPy's, Python's or ours."""
    is_module = isinstance(value, types.ModuleType)
    name = value.__name__ if is_module else getattr(value, "__module__", None)
    top = name.split(".")[0] if isinstance(name, str) else ""
    if top == "builtins":  # so says what is made by exec(), too
        return is_module or vars(builtins).get(getattr(value, "__name__", "")) is value
    is_pythons = top in sys.stdlib_module_names and top != "__main__"
    return top in ("microgrand", "numpy") or is_pythons


def is_module_of_library(value: Any) -> bool:
    """Tell whether something is a module of NumPy, Python or ours, or of an installed package."""
    if not isinstance(value, types.ModuleType):
        return False
    folders = Path(getattr(value, "__file__", None) or "").parts
    return in_library(value) or "site-packages" in folders or "dist-packages" in folders


def is_librarys_own(value: Any) -> bool:
    """Tell whether something is a library's, found there by its name: it holds no user's state."""
    if isinstance(value, BUILTIN_METHODS):  # of a module, of a class, or of an object
        return value.__self__ is None or is_librarys_own(value.__self__)
    if is_module_of_library(value) or type(value).__name__ == "cython_function_or_method":
        return True
    if isinstance(value, np.ufunc):
        return not functions_of(value)
    if not isinstance(value, (types.FunctionType, type)) or not in_library(value):
        return False
    return getattr(sys.modules.get(value.__module__), value.__qualname__, None) is value


def functions_of(ufunc: np.ufunc) -> list[Any]:
    """Return the functions that a ufunc of `numpy.frompyfunc` calls."""
    return [x for x in gc.get_referents(ufunc) if callable(x)]
