"""Is a derivative wrong, or is it the difference? What to believe where the two disagree.

A central difference with step h is off by about h^2 / 6, unless the function is a parabola, and by
about eps / h, because its values are rounded. It is altogether wrong if there is a kink or a jump
between its ends. So a disagreement is only a suspicion. It is dropped if another estimate agrees
with the derivative, and can be trusted: its own error must be well below the disagreement. What
that error is depends on how rough the values are, and that is measured, not assumed: a function
may compute in float32 inside, or lose digits by cancellation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ..kinds import Array
from .fits import left_by, norm, slopes, smallest_residual
from .point import Line, Point

#: What rounding may add to a difference quotient with the usual step at the first look, and what
#: is let pass if the second look does not tell, both in units of eps / step of the largest output.
FIRST_NOISE, RESOLUTION = 2, 4
#: Shorter steps, as parts of the usual one: for a kink nearby, and for a strong curvature.
SHORTER = (2.0**-2, 2.0**-5, 2.0**-10, 2.0**-15)
#: Windows for measuring the roughness, in usual steps: what stays as they grow is roughness.
WINDOWS = (2.0**-5, 2.0**-2, 2.0, 2.0**4)
#: Two of them, one wider, in which most functions are smooth but for rounding.
PLAIN = (2.0**7, 2.0**4)
#: More windows, for polynomials. None goes beyond a third of the element's own size.
OTHERS = (2.0**-1, 2.0**0, 2.0**7, 2.0**10, 2.0**13)
WIDEST = 0.3
#: Parts of the usual step, none a multiple of another.
NEAR = np.array([-0.9, -0.37, 0.23, 0.71])
#: How many values are taken on each side of the point.
SAMPLES = 14
SIDES = slice(None, SAMPLES), slice(SAMPLES, None)
#: Irregular, as equal steps may be whole multiples of what the values are rounded to.
IRREGULAR = np.arange(SAMPLES) + np.random.default_rng(1).uniform(size=(2, SAMPLES))
IRREGULAR = np.concatenate([-IRREGULAR[1, ::-1], IRREGULAR[0]]) / SAMPLES
#: How many of these a polynomial may be fitted to, on either side.
CUTS = (SAMPLES, 9, 5)
#: In how many places a jump is looked for, and how often a step is halved at most to see if one is
#: left: down to two neighbouring numbers.
PLACES, HALVINGS = 8, 64
#: The part of what values scatter by that they jump by, at least, between two such neighbours.
JUMPS = 1 / 16
#: A slope is steep if it leads to this many times the values' size within a step.
STEEP = 4
#: Values of at most this many times their scatter are only rounding, and so is a derivative that
#: moves them by at most this many times that when the element changes by its own size.
NOTHING_ELSE, WITHIN = 32, 16


def allowance(
    point: Point, v: Array, cotangents: Array, rows: Array, expected: Array, rtol: float
) -> Array:
    """Return by how much each ``u J v`` may differ from what is expected."""
    moving = np.flatnonzero(v)
    # Elements may be in error by `rtol` of their own, even if they cancel.
    least = norm(rows[:, moving] * v[moving], axis=1)
    # A sum of independent roundings grows as their root mean square.
    noise = FIRST_NOISE * point.eps / point.step * point.sizes(cotangents)
    allowed = rtol * np.maximum(least, np.abs(expected)) + noise
    return np.where(np.isfinite(allowed), allowed, np.nan)  # of an infinity any part would be


class Suspicion:
    """A direction v of one input along which ``u J v`` by backward is not what a difference says.

    It looks at the values' defect ``e(t) = u f(x + t v) - u f(x) - t (u J) v``. If the derivative
    is right, the slope of e at 0 is 0.

    Parameters
    ----------
    line
        The function along v, whose elements are of the size of the input's; it is called again.
    cotangent
        u.
    gradient
        What backward finds for u J, flat.
    error
        By how much the difference at the first look disagrees; nan or inf where it has no value.
    rtol
        The relative error that is allowed.
    """

    def __init__(
        self,
        line: Line,
        cotangent: Array,
        gradient: Array,
        error: float,
        rtol: float,
    ) -> None:
        self.line = line
        self.point = line.point
        self.cotangent = cotangent
        self.rtol = rtol
        #: Only what moves: a nan in the gradient of another element is no concern of this one.
        self.row = gradient[line.moving]
        self.slope = float(np.sum(self.row * line.v))
        #: What `rtol` is a part of: elements may be in error by that even if they cancel.
        self.least_slope = float(norm(self.row * line.v))
        #: The size of the values, to which their rounding is in proportion.
        self.size = float(norm(cotangent * self.point.magnitude))
        self.windows: dict[float, tuple[Array, Array]] = {}
        self.error = error if np.isfinite(error) else abs(self.slope) + self.point.step * self.size

    @cached_property
    def floor(self) -> float:
        """The rounding of the values; those that do not move are always rounded alike."""
        ends = self.line.taken(self.point.step * np.array([-1.0, 1.0]))[2]
        moves = np.any(ends != self.point.flat_values, axis=0)
        sizes = (self.cotangent * self.point.magnitude)[moves]
        return float(self.point.eps / 2 * norm(sizes))

    @cached_property
    def is_confirmed(self) -> bool:
        """Is the derivative wrong, or the function too rough to tell?"""
        if not np.isfinite(self.slope):
            return True
        if self.is_smooth_and_right or self.is_steep_and_right:
            return False
        return not self.is_within_rounding and self.is_unexplained

    @property
    def is_unexplained(self) -> bool:
        """Does no estimate clear the derivative, or is the function too rough to tell?"""
        step = self.point.step
        if self.is_smooth_and_wrong:
            return True
        # A cheap question first: would a shorter step agree if rounding were all there is to it?
        # If none does, only a roughness that is refused anyway could explain a large error.
        shorter = [part * step for part in SHORTER]
        agreeing = [h for h in shorter if self.clears(*self.difference(h, self.floor))]
        if not agreeing and self.error > 3 * self.roughest / step:
            return True
        estimates = (self.difference(h, self.roughness) for h in agreeing)
        if any(self.clears(*found) for found in itertools.chain(estimates, self.polynomials())):
            return self.is_coarse
        return bool(self.error > RESOLUTION * self.point.eps * self.size / step)

    @property
    def is_smooth_and_right(self) -> bool:
        """Does a polynomial clear the derivative that leaves little more than rounding?"""
        # The usual case of a function that rounds several times, which takes few evaluations.
        return any(self.clears(*found) for width in PLAIN for found in self.smooth_slopes(width))

    @property
    def is_smooth_and_wrong(self) -> bool:
        """Do all polynomials that leave little more than rounding deny the derivative clearly?"""
        # The usual case of a mistake, for which nothing more is evaluated.
        if not self.error > RESOLUTION * self.point.eps * self.size / self.point.step:
            return False
        found = [estimate for width in PLAIN for estimate in self.smooth_slopes(width)]
        return len(found) > 1 and all(
            own_error <= self.error / 8 and not self.clears(slope, 2 * own_error)
            for slope, own_error in found
        )

    def smooth_slopes(self, width: float) -> Iterator[tuple[float, float]]:
        """Yield the slopes of polynomials that leave little more than rounding in a window."""
        t, e = self.window(min(width * self.point.step, WIDEST))
        yield from slopes(t, e, [times * self.floor for times in (1, 2, 4, 8)])

    @property
    def is_steep_and_right(self) -> bool:
        """Does the function turn within a step, as the derivative says, and do shorter ones agree?

        What is rounded to fewer digits has no such slope.
        """
        steep = abs(self.slope) * self.point.step > STEEP * self.size
        if not steep:
            return False
        for part in (0.1, 0.03):
            width = part * self.size / abs(self.slope)
            t, e = self.window(width)
            if not np.isfinite(e).all() or not np.isfinite(t / width).all():
                continue
            roughness = max(self.floor, *(left_by(t[side] / width, e[side], 5) for side in SIDES))
            for estimate in slopes(t, e, [times * roughness for times in (1, 2, 4)]):
                if self.clears(*estimate) and estimate[1] <= abs(self.slope) / 100:
                    return True
        return False

    @cached_property
    def noise(self) -> float:
        """What rounding on the way scatters the values by; 0 if they are not seen to scatter."""
        return float(norm(self.cotangent * self.point.scatter))

    @property
    def is_only_rounding(self) -> bool:
        """Are the values of the size of what rounding does to them?"""
        most = float(norm(self.cotangent * self.point.most_scatter))
        if self.size > NOTHING_ELSE * most:  # the usual case
            return False
        return self.noise > 0 and self.size <= NOTHING_ELSE * self.noise

    @property
    def is_rounded_away(self) -> bool:
        """Is the value 0 all around, and the derivative no more than rounding of numbers like 1?"""
        t, e = self.window(WIDEST)
        is_zero = not np.any(self.point.flat_values[self.cotangent != 0])
        still = np.all(np.abs(e + self.slope * t) <= 1e-9 * np.abs(self.slope * t))
        return bool(is_zero and still and self.least_slope <= WITHIN * self.point.eps)

    @property
    def is_within_rounding(self) -> bool:
        """Are the values only rounding, far around, and is the derivative no more than that?"""
        if not self.is_only_rounding or self.least_slope > WITHIN * self.noise:
            return False
        for width in (WIDEST, WIDEST / 4):
            t, e = self.window(width)
            if not np.isfinite(e).all():
                continue
            rise = e + self.slope * t
            slope = np.polyfit(t, rise, 1)[0]
            scattered = left_by(t, rise, 1)
            if scattered <= 4 * self.noise and abs(slope) <= WITHIN * self.noise:
                # What only turns often is smooth if one looks closely enough.
                return self.jumps(width, JUMPS * scattered)
        return False

    @property
    def is_kink(self) -> bool:
        """Do the slopes on both sides differ by the same, however short the step?"""
        bends = []
        for part in (1.0, *SHORTER):
            step = part * self.point.step
            bend = float(self.defect(np.array([-step, step]))[1].sum() / step)
            if abs(bend) < 16 * self.floor / step:
                break  # rounding
            bends.append(bend)
        # As the step shrinks, the slopes of a curve approach each other: those of a kink stay.
        return len(bends) > 1 and all(0.5 < bend / bends[0] < 2 for bend in bends)

    def clears(self, slope: float, own_error: float) -> bool:
        """Tell whether an estimate of the defect's slope clears the derivative."""
        allowed = self.rtol * max(self.least_slope, abs(self.slope + slope)) + own_error
        return own_error <= self.error / 4 and abs(slope) <= allowed

    @property
    def coarser(self) -> np.dtype[Any] | None:
        """The dtype that has about half the digits of the values'."""
        for name, coarser in itertools.pairwise(["float64", "float32", "float16"]):
            if self.point.eps == np.finfo(name).eps:
                return np.dtype(coarser)
        return None

    @property
    def roughest(self) -> float:
        """The roughness from which on a function is refused: that of a coarser dtype."""
        # The spread of rounding to it is 0.14 to 0.29 of its eps.
        coarser = self.coarser
        return np.inf if coarser is None else float(np.finfo(coarser).eps) / 16 * self.size

    @property
    def is_coarse(self) -> bool:
        """Are the values as rough as those of a coarser dtype, or do they look like such?"""
        if self.coarser is None or self.roughness > self.roughest:
            return self.roughness > self.roughest
        eps = float(np.finfo(self.coarser).eps)
        least = 4 * float(np.sqrt(eps * self.point.eps)) * self.size
        return self.roughness > least and (self.is_in(self.coarser) or self.is_of(self.coarser))

    def is_in(self, dtype: np.dtype[Any]) -> bool:
        """Are all values numbers of a coarser dtype?"""
        values = self.line.taken(self.point.step * NEAR)[2][:, self.cotangent != 0]
        return np.array_equal(values.astype(dtype), values)

    def is_of(self, dtype: np.dtype[Any]) -> bool:
        """Are the values the same for inputs that are the same in a coarser dtype?"""
        x = self.point.inputs[self.line.k].astype(np.float64)
        rounded, moves = x.astype(dtype), self.line.direction != 0
        # To a quarter of the way to the next number of that dtype.
        eps = float(np.finfo(dtype).eps) / 8
        near = [rounded.astype(np.float64) * (1 + part * eps) for part in (-1, 0, 1)]
        values = [self.point.moved(self.line.k, np.where(moves, y - x, 0))[0] for y in near]
        return np.array_equal(values[0], values[1]) and np.array_equal(values[1], values[2])

    # ---- estimates of the defect's slope, each with a bound for what roughness does to it

    def defect(self, steps: Array) -> tuple[Array, Array]:
        """Return the steps that were really made, after rounding, and e there."""
        found = [self.defect_at(part) for part in self.line.parts(steps)]
        made, values = zip(*found, strict=True)
        return np.concatenate(made), np.concatenate(values)

    def defect_at(self, steps: Array) -> tuple[Array, Array]:
        """Return the same for a few steps."""
        made, changes, values = self.line.taken(steps)
        # Not with @, which for long vectors waits for threads.
        rise = np.sum(self.cotangent * (values - self.point.flat_values), axis=1)
        return made, rise - np.sum(self.row * changes, axis=1)

    def difference(self, step: float, roughness: float) -> tuple[float, float]:
        """Return the slope of a central difference."""
        (behind, ahead), (left, right) = self.defect(np.array([-step, step]))
        if not ahead > behind:
            return np.nan, np.inf
        return float((right - left) / (ahead - behind)), 3 * roughness / step

    def polynomials(self) -> Iterator[tuple[float, float]]:
        """Yield the slopes of polynomials that go through all values but for their roughness."""
        widths = [min(width * self.point.step, WIDEST) for width in (*WINDOWS[1:], *OTHERS)]
        rough = [times * self.roughness for times in (1, 2, 4)]  # of few values, it is too small
        for width in dict.fromkeys(widths):
            t, e = self.window(width)
            # There may be a kink or the end of the domain on either side.
            for left, right in itertools.product(CUTS, CUTS):
                part = slice(SAMPLES - left, SAMPLES + right)
                yield from slopes(t[part], e[part], rough)

    def window(self, width: float) -> tuple[Array, Array]:
        """Return steps on both sides of the point, and e there."""
        if width not in self.windows:
            self.windows[width] = self.defect(width * IRREGULAR)
        return self.windows[width]

    # ---- roughness

    @cached_property
    def roughness(self) -> float:
        """How far the values are from smooth ones; at least the rounding of their dtype."""
        step = self.point.step
        found = [self.residual(min(width * step, WIDEST)) for width in WINDOWS]
        found = [residual for residual in found if np.isfinite(residual)]
        # Rounding leaves the same in all windows. Curvature leaves more in a wider one, and kinks
        # leave more or less.
        same = [min(found[i:]) for i in range(len(found) - 1) if found[i + 1] < 3 * found[i]]
        return max([self.floor, *same])

    def residual(self, width: float) -> float:
        """Return what a polynomial leaves of the values on the smoother side of the point."""
        t, e = self.window(width)
        sides = [smallest_residual(t[side] / width, e[side], self.floor) for side in SIDES]
        return min(sides)

    def jumps(self, width: float, least: float) -> bool:
        """Tell whether there is a jump of at least this height: halving finds it, where it stays.

        A kink, and everything that is smooth, leaves nothing.
        """
        t, e = self.window(width)
        if not np.isfinite(e).all():
            return True
        order = np.argsort(t)
        t, e = t[order], e[order]
        # Between two jumps, values may return as they jumped: so not every place tells.
        return any(
            self.is_jump((t[i], t[i + 1]), (e[i], e[i + 1]), least)
            for i in np.argsort(-np.abs(np.diff(e)))[:PLACES]
        )

    def is_jump(self, ends: tuple[float, float], values: tuple[float, float], least: float) -> bool:
        """Tell whether a jump of at least this height is left between two ends, by halving."""
        (left, right), (low, high) = ends, values
        for _ in range(HALVINGS):
            if abs(high - low) < least:
                return False
            (middle,), (value,) = self.defect(np.array([(left + right) / 2]))
            if middle in (left, right):
                break
            if abs(value - low) > abs(high - value):
                right, high = middle, value
            else:
                left, low = middle, value
        return bool(abs(high - low) >= least)
