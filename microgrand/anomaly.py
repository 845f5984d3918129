"""Where a nan or an infinity comes from: `detect_anomaly`."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import checks, engine
from .dispatch import data_of
from .kinds import Value
from .traced import look
from .watching import watch_recording

#: The folders, and a file, whose frames are not the user's.
OURS = (*(os.path.dirname(str(x)) + os.sep for x in (__file__, np.__file__)), copy.__file__)


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise inside the block where a nan or an infinity first appears, forward or backward.

    The error names the operation and the line that called it, even if its derivative is to blame.
    This is slow: use it for debugging, not training. Also a decorator, ``@detect_anomaly()``. Holds
    for the current thread or asyncio task only.

    A forward result with infinities is not an anomaly if an argument has some, too: scores are
    masked by ``np.where(mask, scores, -np.inf)``. Values that record no gradient are not looked at.

    NumPy's own warnings point into microgrand, where the function is called. Inside
    ``np.errstate(all="raise", under="ignore")`` they are errors, and the traceback shows your line.

    Raises
    ------
    FloatingPointError
        In the operation whose result, or in the backward pass through the one whose VJP, first
        holds a nan or an infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor, detect_anomaly
    >>> x = Tensor([0.0, 4.0], requires_grad=True)
    >>> with detect_anomaly():  # doctest: +ELLIPSIS
    ...     loss = np.sqrt(x).sum()
    ...     with np.errstate(divide="ignore"):
    ...         loss.backward()
    Traceback (most recent call last):
        ...
    FloatingPointError: the VJP of np.sqrt gave inf for argument 0 of the call at ...
    """
    token = engine.observer.set(BackwardWatch())
    try:
        with watch_recording(watch_forward):
            yield
    finally:
        engine.observer.reset(token)


def watch_forward(node: Any) -> Any:
    """Remember where a value was computed, and raise if it holds the first nan or infinity."""
    if isinstance(engine.observer.get(), BackwardWatch):  # or the block is another thread's
        node.line = line_of_user()
        kind = anomaly_in(node)
        if kind:
            before = [anomaly_in(arg) for arg in node.args or ()]
            checks.check_forward_anomaly(node, kind, before)
    return node


class BackwardWatch:
    """An observer that raises where a cotangent holds the first nan or infinity."""

    def __init__(self) -> None:
        #: From a node to those that were computed from it, with their cotangents.
        self.users: dict[Any, list[tuple[Any, Value]]] = {}

    def __call__(self, node: Any, cotangent: Value) -> None:
        """Look at a complete cotangent."""
        if node not in self.users:  # a pass begins here
            self.users.clear()
        users = self.users.pop(node, [])
        kind = anomaly_in(cotangent)
        if kind:
            # Several uses have been added up: look at them one by one.
            guilty = [
                (user, i)
                for user, g in users
                for i, arg in enumerate(user.args or ())
                if arg is node and anomaly_in(contribution_of(user, g, i))
            ]
            checks.refuse_backward_anomaly(kind, guilty, began_here=not users)
        for arg in dict.fromkeys(arg for arg in node.args or () if isinstance(arg, engine.Node)):
            self.users.setdefault(arg, []).append((node, cotangent))


def contribution_of(node: Any, cotangent: Value, i: int) -> Value:
    """Recompute what a node's VJP contributed to argument `i`."""
    rules: Any = engine.rules_of[node.primitive]
    g, out, *operands = [data_of(value) for value in (cotangent, node, *node.args)]
    if rules.joint is not None:
        needed = [j == i for j in range(len(operands))]
        return rules.joint(g, out, needed, *operands, **node.kwargs)[i]
    return rules.vjps[i](g, out, *operands, **node.kwargs)


def anomaly_in(value: Value) -> str:
    """Return "nan" or "inf" if there is one among the numbers of a value, or the empty string."""
    array = look(value)
    is_number = isinstance(array, (float, complex)) or hasattr(array, "dtype")
    if not is_number or np.asarray(array).dtype.kind not in "fc" or np.isfinite(array).all():
        return ""
    return "nan" if np.isnan(array).any() else "inf"


def line_of_error(error: BaseException) -> str:
    """Return file and line of the innermost call from outside the library that led to an error."""
    traceback, line = error.__traceback__, "?"
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(OURS):
            line = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def line_of_user() -> str:
    """Return file and line of the innermost call from outside the library and NumPy."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
