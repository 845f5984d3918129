"""The same function in float64, for what float32 and float16 cannot decide.

There steps are short enough for a function that bends or rounds too much in fewer digits; and two
numbers that agree by chance over a step of a tenth do not agree over one of a millionth.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ..kinds import Array
from .differences import WITHIN, Suspicion, allowance
from .fits import norm
from .point import GradcheckError, Line, Point, flat, magnitude_of

#: The roughness that rounding leaves is 0.14 to 0.29 of its eps; below this part there is none.
SMOOTH = 0.02
#: A gradient may be off by so many times what rounding does to the values, which is measured at so
#: many points, up to this part of an element's size away.
ROUNDINGS, POINTS, FAR = 8, 8, 0.25


class InFloat64:
    """A point of few digits, and the same one in float64.

    Parameters
    ----------
    coarse
        The point whose gradients are to be checked.
    point
        That in float64.
    """

    def __init__(self, coarse: Point, point: Point) -> None:
        self.coarse = coarse
        self.point = point
        #: The latest line, and the same in float64.
        self.lines: tuple[Line, Line] | None = None

    @classmethod
    def of(cls, coarse: Point) -> InFloat64 | None:
        """Return the same point in float64, or None if the function cannot compute there."""
        if coarse.eps == np.finfo(np.float64).eps:
            return None
        arrays = [x.astype(np.float64) for x in coarse.inputs]
        try:
            point = Point(coarse.fn, arrays, coarse.adapter, coarse.input_names, coarse.output_name)
        except (GradcheckError, TypeError):
            return None
        if point.eps == coarse.eps or point.magnitude.shape != coarse.magnitude.shape:
            return None
        # At second order, it is that of the terms.
        raised = coarse.magnitude > flat([np.full(v.size, magnitude_of(v)) for v in coarse.values])
        point.magnitude = np.maximum(point.magnitude, np.where(raised, coarse.magnitude, 0))
        return cls(coarse, point)

    def mistakes(self, line: Line, cotangents: Array, rows: Array, rtol: float) -> Iterator[int]:
        """Yield the number of each cotangent whose gradient is not the derivative in float64."""
        try:
            distance, wrong = self.compare(line, cotangents, rows, rtol)
            for i in np.flatnonzero(wrong):
                suspicion = self.suspicion(line, cotangents[i], rows[i], distance[i], rtol)
                if suspicion.is_confirmed and self.computes(suspicion):
                    yield int(i)
        except GradcheckError:  # which has been evaluated without
            return

    def is_right(
        self, line: Line, cotangent: Array, gradient: Array, distance: float, rtol: float
    ) -> bool:
        """Tell whether a gradient that is in error by `distance` is the derivative in float64."""
        try:
            (off,), (wrong,) = self.compare(line, cotangent[None], gradient[None], rtol)
            if wrong and self.suspicion(line, cotangent, gradient, off, rtol).is_confirmed:
                return False
            return self.computes(self.suspicion(line, cotangent, gradient, distance, rtol))
        except GradcheckError:
            return False

    def along(self, line: Line) -> Line:
        """Return the same line in float64, with what has been evaluated on it."""
        if self.lines is None or self.lines[0] is not line:
            self.lines = line, Line(self.point, line.k, line.direction)
        return self.lines[1]

    def suspicion(
        self, line: Line, cotangent: Array, gradient: Array, distance: float, rtol: float
    ) -> Suspicion:
        """Look at the values in float64."""
        return Suspicion(self.along(line), cotangent, gradient, distance, rtol)

    def compare(
        self, line: Line, cotangents: Array, rows: Array, rtol: float
    ) -> tuple[Array, Array]:
        """Return how far each gradient is from the differences in float64, and if that is wrong."""
        v = line.direction.ravel()
        ends, change = self.point.ends(line.k, line.direction)
        moving = np.flatnonzero(v)
        found = rows[:, moving] @ (change[moving] / (2 * self.point.step))
        expected = cotangents @ ((ends[0] - ends[1]) / (2 * self.point.step))
        distance = np.abs(found - expected)
        # These steps resolve more: left is what the gradient itself is rounded.
        allowed = allowance(self.point, v, cotangents, rows, expected, rtol)
        allowed += ROUNDINGS * self.coarse.eps * self.coarse.sizes(cotangents)
        wrong = ~(distance <= allowed)
        if wrong.any():
            allowed += ROUNDINGS * norm(cotangents * self.rounding, axis=1)
            wrong = ~(distance <= allowed)
        return distance, wrong

    @cached_property
    def rounding(self) -> Array:
        """What few digits do to the values, at the point and around it."""
        rng = np.random.default_rng(0)
        errors = [self.coarse.flat_values - self.point.flat_values]
        for _ in range(POINTS):
            arrays = [
                (x * (1 + FAR * rng.uniform(-1, 1, x.shape))).astype(x.dtype)
                for x in self.coarse.inputs
            ]
            exact = self.point.evaluate([x.astype(np.float64) for x in arrays])
            error = self.coarse.evaluate(arrays) - exact
            # Larger values are rounded more.
            is_alike = np.isfinite(error) & (np.abs(exact) <= 2 * self.coarse.magnitude)
            errors.append(np.where(is_alike, error, errors[0]))
        found = self.coarse.pooled(np.nan_to_num(errors, posinf=0, neginf=0))
        # The value may be 0 here, which no other is alike.
        return np.maximum(found, WITHIN / ROUNDINGS * self.coarse.scatter)

    def computes(self, suspicion: Suspicion) -> bool:
        """Tell whether the function really computes in float64.

        Rounded to fewer digits on the way, values stay as they are for a short step.
        """
        for name in ("float32", "float16"):
            eps = float(np.finfo(name).eps)
            least = SMOOTH * eps * suspicion.error
            width = 16 * eps
            if not suspicion.residual(width) <= least and suspicion.jumps(width, least):
                return False
        return True
