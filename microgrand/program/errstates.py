"""Speed: `numpy.errstate` that is entered in each run, and made once for the state around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy._core import umath

#: Where NumPy keeps the state, since version 2.0; if it is elsewhere, `numpy.errstate` is used.
state: Any = getattr(umath, "_extobj_contextvar", None)


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
