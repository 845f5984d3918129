"""Speed: `numpy.errstate` that is entered in each run, and made once for the state around it."""

from __future__ import annotations

from typing import Any

import numpy as np

state: Any  # where NumPy keeps the state, since version 2.0
try:
    from numpy._core.umath import _extobj_contextvar as state
except ImportError:  # it is elsewhere: `numpy.errstate` is used
    state = None


class Errstate:
    """A context manager like ``numpy.errstate(**options)``, for one thread at a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.around: Any = None
        self.inside: Any = None

    def __enter__(self) -> None:
        around = state.get()
        if around is not self.around:
            with np.errstate(**self.options):
                self.around, self.inside = around, state.get()
        self.token = state.set(self.inside)

    def __exit__(self, *error: object) -> None:
        state.reset(self.token)
