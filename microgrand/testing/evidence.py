"""What backward and differences say of one input, side by side, for experiments to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..kinds import Array
from .point import GradcheckError, Point

#: How many elements differences are taken of.
SAMPLE = 32
#: An explanation may be less exact than a derivative: 1e-4 is enough to tell 2 from 3.
TOLERANCE = 1e-4


@dataclass
class Evidence:
    """The gradient of one input for one random cotangent, and what differences show."""

    point: Point
    cotangent: Array
    #: What backward finds, of the input's shape.
    gradient: Array
    #: The numbers of the elements that differences were taken of.
    sample: Array
    #: The sizes of these elements.
    scale: Array
    #: Their derivatives, a row for each element and a column for each output.
    jacobian: Array
    #: The step of these differences, and the relative rounding of values.
    step: float

    @property
    def found(self) -> Array:
        """What backward finds for the sample."""
        return np.asarray(self.gradient.ravel()[self.sample], dtype=np.float64)

    @cached_property
    def expected(self) -> Array:
        """What differences show for the sample."""
        return np.asarray(self.jacobian @ self.cotangent)

    @property
    def noise(self) -> Array:
        """What rounding may add to each difference, for each output of the size 1."""
        return 10 * self.step**2 / self.scale

    @cached_property
    def shares(self) -> Array:
        """What each output sends to each element, 0 where it is no more than rounding."""
        shares = self.jacobian * self.cotangent
        noise = self.noise[:, None] * np.abs(self.cotangent * self.point.magnitude)
        return np.where(np.abs(shares) > noise, shares, 0)

    @property
    def reaches(self) -> Array:
        """Which elements move any output."""
        return np.asarray(self.shares.any(axis=1))

    def moves(self, i: int) -> Array:
        """Which elements move output `i`."""
        return np.asarray(self.shares[:, i] != 0)

    def is_one_share(self, which: int) -> bool:
        """Tell whether backward finds what the first or the last output sends, everywhere."""
        several = np.count_nonzero(self.shares, axis=1) > 1
        if not several.any():
            return False
        chosen = [
            row[np.flatnonzero(row)[[which]]].sum() if row.any() else 0.0 for row in self.shares
        ]
        return agree(self.found, np.array(chosen), self)


def agree(found: Array, expected: Array, evidence: Evidence) -> bool:
    """Tell whether two derivatives of the sample are the same."""
    size = float(np.linalg.norm(evidence.cotangent * evidence.point.magnitude))
    tolerance = max(TOLERANCE, evidence.step**2)
    allowed = tolerance * np.maximum(np.abs(found), np.abs(expected)) + evidence.noise * size
    return bool(np.all(np.abs(found - expected) <= allowed))


def gather(point: Point, k: int, element: int, step: float, seed: int) -> Evidence:
    """Collect evidence about input `k`, with a random cotangent and some random elements."""
    rng = np.random.default_rng(seed)
    m, x = point.magnitude.size, point.inputs[k]
    cotangent = rng.choice([-1, 1], m) * rng.integers(40, 90, m) / 64  # exact in every dtype
    others = rng.permutation(x.size)[:SAMPLE]
    sample = np.sort(np.array([element, *others[others != element]]))
    scale = point.scales[k][sample]
    rows = []
    for j, size in zip(sample, scale, strict=True):
        direction = np.zeros(x.shape)
        direction.flat[j] = step * size
        ahead, there = point.moved(k, direction)
        behind, here = point.moved(k, -direction)
        rows.append((ahead - behind) / (there[j] - here[j]))
    gradient = point.pull_back(cotangent)[k]
    return Evidence(point, cotangent, gradient, sample, scale, np.array(rows), step)


def perturbed(point: Point, seed: int) -> Point:
    """Return the same function at a point nearby."""
    rng = np.random.default_rng(seed)
    inputs = [
        (x * (1 + rng.uniform(0.01, 0.1, x.shape) * rng.choice([-1, 1], x.shape))).astype(x.dtype)
        for x in point.inputs
    ]
    return Point(point.fn, inputs, point.adapter, point.input_names, point.output_name)


def factor_of(evidence: Sequence[Evidence]) -> float | None:
    """Return the number that all gradients are off by, if there is one and it is no accident."""
    found = np.concatenate([e.found for e in evidence])
    expected = np.concatenate([e.expected for e in evidence])
    if np.count_nonzero(expected) < 2 or not found.any():
        return None
    factor = float(found @ expected / (expected @ expected))
    if all(agree(e.found, factor * e.expected, e) for e in evidence):
        return factor
    return None


def lengths(point: Point) -> list[int]:
    """Return all numbers of elements that there are."""
    arrays = [*point.inputs, *point.values]
    return [n for a in arrays for n in (a.size, *a.shape)]


def lengthened(point: Point, k: int, axis: int) -> Point:
    """Return the function at a point whose input `k` has one more element along an axis."""
    inputs = list(point.inputs)
    more = np.take(inputs[k], [0], axis=axis) * np.asarray(1.03, inputs[k].dtype)
    inputs[k] = np.concatenate([inputs[k], more], axis=axis)
    longer = Point(point.fn, inputs, point.adapter, point.input_names, point.output_name)
    if len(lengths(longer)) != len(lengths(point)):
        raise GradcheckError("the function does something different with more elements")
    return longer
