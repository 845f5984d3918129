"""A function at one point: called, moved and pulled back, by whatever framework it is written in.

What a framework raises or returns is not to be trusted here: it is what is being checked. So each
call of it says who failed and how, with the shapes, and chains the exception.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..checks import broadcasts
from ..kinds import Array, Shape
from .adapters import MICROGRAND, Adapter, as_outputs
from .fits import norm, projection

#: How many values, on either side, show what rounding does to them.
SCATTERED = 16
#: Steps to these, of 1 at most: irregular, so that the last digits of what moves vary, too.
IRREGULAR = (np.arange(SCATTERED) + np.random.default_rng(3).uniform(size=SCATTERED)) / SCATTERED
#: By what part of its size an element moves at most, to find rounding that does not show nearby;
#: and how many times more than nearby it may be.
FAR, ALIKE = 0.25, 32
#: Of how many numbers at most, elements that move and values, what was evaluated is kept.
KEPT = 2**13


class GradcheckError(AssertionError):
    """Raised by `gradcheck`: the message says where the derivatives differ, and why."""


class Point:
    """A function at one point, with all its outputs strung together to one vector of R^m.

    Parameters
    ----------
    fn
        Maps tensors to a tensor, or to a tuple or list of them.
    inputs
        The point, in arrays.
    adapter
        The framework of the tensors.
    input_names, output_name
        What they are called in messages.

    Raises
    ------
    GradcheckError
        If the framework fails, in this and in all methods.
    TypeError
        If an output is complex.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        inputs: Sequence[Array],
        adapter: Adapter,
        input_names: Sequence[str],
        output_name: str,
    ) -> None:
        self.fn = fn
        self.adapter = adapter
        self.input_names = input_names
        self.output_name = output_name
        #: The point as the framework holds it, perhaps in a coarser dtype.
        self.inputs = [self.read_leaf(k, x)[1] for k, x in enumerate(inputs)]
        self.scales = [scale_of(x) for x in self.inputs]
        self.values = self.call(self.inputs)[2]
        if any(np.iscomplexobj(v) for v in self.values):
            raise TypeError(
                f"gradcheck compares real numbers, and {output_name} is complex; return np.real "
                "and np.imag of it, a tuple"
            )
        self.flat_values = flat(self.values)
        floats = [a.dtype for a in [*self.inputs, *self.values] if a.dtype.kind == "f"]
        #: The rounding of the coarsest dtype among inputs and outputs.
        self.eps = max([float(np.finfo(np.float64).eps), *(float(np.finfo(d).eps) for d in floats)])
        #: The step that makes the errors of a central difference smallest: h^2 and eps / h.
        self.step = self.eps ** (1 / 3)
        #: For each output the largest of its tensor, to which the rounding is in proportion: below
        #: the smallest normal number it no longer is.
        self.magnitude = flat([np.full(v.size, magnitude_of(v)) for v in self.values])
        #: The latest cotangents that `sizes` was asked about, and what it said.
        self.asked: tuple[Array, Array] | None = None

    def sizes(self, cotangents: Array) -> Array:
        """Return the size of the values along each of several cotangents."""
        # The same ones are asked about for each direction.
        if self.asked is None or self.asked[0] is not cotangents:
            self.asked = cotangents, norm(cotangents * self.magnitude, axis=1)
        return self.asked[1]

    # ---- forward

    def leaf(self, array: Array) -> Any:
        """Return a new tensor."""
        return guarded("adapter.tensor", self.adapter.tensor, array.copy())

    def read_leaf(self, k: int, array: Array) -> tuple[Any, Array]:
        """Return a new tensor for input `k`, and the values that it has."""
        name = self.input_names[k]
        tensor = self.leaf(array)
        values = self.read(tensor, f"the tensor of {name}")
        if values.shape != array.shape:
            raise GradcheckError(
                f"adapter.tensor was given an array of shape {array.shape} for {name}, and "
                f"adapter.array says its tensor has shape {values.shape}"
            )
        if values.dtype.kind != "f":
            raise GradcheckError(
                f"adapter.tensor was given an array of dtype {array.dtype} for {name}, and "
                f"adapter.array says its tensor has dtype {values.dtype}, which has no small steps"
            )
        return tensor, values

    def read(self, tensor: Any, what: str) -> Array:
        """Return a copy of a tensor's values: the framework may use the array again."""
        if tensor is None:
            raise GradcheckError(f"{what} is None, expected a tensor")
        if is_plain(tensor):  # a constant; an array has an attribute `data`, too
            return np.array(tensor)
        role = f"adapter.array, given {what}, of type {type(tensor).__name__},"
        return as_numbers(guarded(role, self.adapter.array, tensor), role)

    def call(self, arrays: Sequence[Array]) -> tuple[list[Any], tuple[Any, ...], list[Array]]:
        """Return new leaves, what the function makes of them, and its values."""
        leaves = [self.leaf(x) for x in arrays]
        return leaves, *self.apply(leaves)

    def apply(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], list[Array]]:
        """Return what the function makes of leaves, and its values."""
        outputs = as_outputs(guarded("the function", self.fn, *leaves))
        name = f"{self.output_name} {{}} of the function" if len(outputs) > 1 else "its result"
        return outputs, [self.read(output, name.format(i)) for i, output in enumerate(outputs)]

    def evaluate(self, arrays: Sequence[Array]) -> Array:
        """Return f of arrays, one vector as at the point."""
        values = self.call(arrays)[2]
        if [v.shape for v in values] != [v.shape for v in self.values]:
            raise GradcheckError("the function returns other shapes near the point")
        return flat(values)

    @cached_property
    def scatter(self) -> Array:
        """How far rounding on the way scatters each value; 0 where they are not seen to scatter.

        All elements move at once along a line: what the values leave of a line is their own. They
        move by a few units in the last place, none rounded. Over so short a way rounding may be
        the same everywhere, and then it is looked for over longer ones.
        """
        near = np.array([self.scattered_nearby, self.scattered(self.spacing, self.longer / 4)])
        sizes = [np.abs(x) / 3 for x in self.inputs]
        far = np.array([self.scattered(sizes, FAR), self.scattered(sizes, FAR / 4)])
        most = np.where(np.any(near, axis=0), ALIKE * alike(near), self.largest_far)
        if self.eps == np.finfo(np.float64).eps:  # in fewer digits, a curve may look like that
            # A jump or two on one of the ways tell nothing.
            jumps = np.any(near, axis=0) & (alike(near) == 0)
            most = np.where(jumps, math.sqrt(self.eps), most)
        return np.maximum(alike(near), np.where(alike(far) <= most, alike(far), 0))

    @cached_property
    def most_scatter(self) -> Array:
        """What `scatter` is at most, which takes a quarter of its evaluations to know."""
        near = np.where(np.isfinite(self.scattered_nearby), self.scattered_nearby, 0)
        return np.maximum(ALIKE * near, self.largest_far)

    @property
    def largest_far(self) -> float:
        """What rounding scatters values by at most that are the same nearby.

        What jumps by more, and is constant in between, was made so.
        """
        largest = max(1.0, *(float(np.max(np.abs(x), initial=0)) for x in self.inputs))
        return math.sqrt(self.eps) * largest

    @property
    def spacing(self) -> list[Array]:
        """The last places of the inputs."""
        return [np.abs(np.spacing(x)) for x in self.inputs]

    @property
    def longer(self) -> float:
        """How many units in the last place the longer of the short ways has."""
        return max(math.sqrt(1 / math.sqrt(self.eps)), 28.0)

    @cached_property
    def scattered_nearby(self) -> Array:
        """What a step of a few units in the last place leaves of a line."""
        return self.scattered(self.spacing, self.longer)

    def scattered(self, units: Sequence[Array], length: float) -> Array:
        """Return what steps of up to three units leave of a line, on a way of some length."""
        rng = np.random.default_rng(0)
        weights = [rng.integers(1, 4, x.shape) * rng.choice([-1, 1], x.shape) for x in self.inputs]
        steps = length * IRREGULAR
        if length > 1:  # last places have no parts
            steps = np.rint(steps)
        left, returns = [], False
        for side in (1, -1):  # there may be a jump at the point
            values = []
            for t in side * steps:
                moves = zip(self.inputs, weights, units, strict=True)
                near = [(x + t * w * unit).astype(x.dtype) for x, w, unit in moves]
                try:
                    values.append(self.evaluate(near) - self.flat_values)
                except GradcheckError:  # outside the domain
                    return np.full(self.flat_values.size, np.inf)
            left.append(projection(steps.tobytes(), 1) @ np.array(values))
            rises = np.diff(values, axis=0)
            returns |= bool(np.any(np.any(rises > 0, axis=0) & np.any(rises < 0, axis=0)))
        # Rounding goes up and down: what never returns is a curve, or stairs.
        pooled = self.pooled(np.concatenate(left))
        return pooled if returns else np.where(pooled > 0, np.inf, 0.0)

    def pooled(self, errors: Array) -> Array:
        """Return the size of the errors of each value, from several of each.

        They are alike within a tensor: a value may seem exact by chance. But one of many that is
        wild tells nothing of the others.
        """
        sizes = np.sqrt(np.mean(np.square(errors), axis=0))
        pooled = []
        for own in np.split(sizes, np.cumsum([value.size for value in self.values])[:-1]):
            alike = np.maximum(own, np.quantile(own, 0.75) if own.size else 0)
            pooled.append(np.minimum(32 * alike, np.sqrt(np.mean(np.square(own)))))
        return np.concatenate(pooled)

    def moved(self, k: int, change: Array) -> tuple[Array, Array]:
        """Return f where input `k` has changed, one vector, and the change after rounding, flat."""
        x = self.inputs[k]
        moved, there = self.read_leaf(k, (x + change).astype(x.dtype))
        change = np.subtract(there, x, dtype=np.float64).ravel()
        leaves = [moved if i == k else self.leaf(other) for i, other in enumerate(self.inputs)]
        values = self.apply(leaves)[1]
        if [v.shape for v in values] != [v.shape for v in self.values]:
            raise GradcheckError(
                f"after a small step in {self.input_names[k]} the function returns shapes "
                f"{[v.shape for v in values]}, before it {[v.shape for v in self.values]}: "
                "there is no derivative of that"
            )
        return flat(values), change

    def ends(self, k: int, direction: Array) -> tuple[tuple[Array, Array], Array]:
        """Return f a step ahead and a step behind in a direction, and the change between them."""
        ahead, there = self.moved(k, self.step * direction)
        behind, here = self.moved(k, -self.step * direction)
        return (ahead, behind), there - here

    def evaluate_again(self, times: int) -> None:
        """Raise if further evaluations at the point ever give other values."""
        for _ in range(times):
            self.check_same(flat(self.call(self.inputs)[2]), self.flat_values)

    def check_same(self, again: Array, first: Array) -> None:
        """Raise if two evaluations differ by more than rounding: parallel sums may be reordered."""
        if np.array_equal(again, first):  # the usual case, which takes less time
            return
        if again.shape == first.shape:
            rounding = max(1e-12, 64 * self.eps) * np.max(np.abs(first), initial=0.0)
            if np.allclose(again, first, rtol=0, atol=rounding, equal_nan=True):
                return
            i = int(np.argmax(again != first))
            values = f"{first[i]:.10g} and then {again[i]:.10g}"
        else:
            values = f"{first.size} and then {again.size} values"
        advice = "seed the generator in the first line of the function, or draw outside of it"
        if self.adapter is MICROGRAND:
            advice = (
                "check nn.DropoutMasks().hold(fn), which uses the dropout masks of its first call "
                "in all others, or call manual_seed(0) as its first line, or switch the module to "
                "evaluation with .eval()"
            )
        raise GradcheckError(
            f"the function is not deterministic: two evaluations at one point gave {values}. Hold "
            f"its draws still: {advice}"
        )

    # ---- backward

    def pull_back(self, cotangent: Array) -> list[Array]:
        """Return ``u J``, by the backward pass: a gradient for each input."""
        leaves, outputs, values = self.call(self.inputs)
        self.check_same(flat(values), self.flat_values)
        found = guarded(
            "adapter.gradients",
            self.adapter.gradients,
            outputs,
            self.tensors(cotangent),
            leaves,
            False,
        )
        return [self.as_gradient(k, g) for k, g in enumerate(as_sequence(found, len(leaves)))]

    def tensors(self, cotangent: Array) -> list[Any]:
        """Cut a vector of R^m up into tensors with the shapes and dtypes of the outputs."""
        ends = list(itertools.accumulate((value.size for value in self.values), initial=0))
        tensors = []
        for value, (start, end) in zip(self.values, itertools.pairwise(ends), strict=True):
            dtype = value.dtype if value.dtype.kind == "f" else np.dtype(float)
            part = cotangent[start:end].reshape(value.shape).astype(dtype)
            tensors.append(guarded("adapter.tensor", self.adapter.tensor, part))
        return tensors

    def as_gradient(self, k: int, gradient: Any) -> Array:
        """Return the gradient of input `k` as an array; raise if its shape is not the input's."""
        x, name = self.inputs[k], self.input_names[k]
        if gradient is None:
            return np.zeros(x.shape)
        if isinstance(gradient, (list, tuple)) or is_plain(gradient):
            g = as_numbers(gradient, f"adapter.gradients, for {name},")
        else:
            g = self.read(gradient, f"the gradient of {name}")
        if np.iscomplexobj(g):
            raise GradcheckError(f"the gradient of {name} is complex, expected real numbers")
        if g.shape == x.shape:
            return g
        message = f"the gradient of {name} has shape {g.shape}, expected {x.shape}"
        if g.shape == x.shape[::-1]:
            message += "\ncause: the result is transposed"
        elif sorted(g.shape) == sorted(x.shape):
            message += "\ncause: the axes of the result are permuted"
        elif broadcasts(x.shape, g.shape):
            message += f"\ncause: {NOT_UNDONE}"
        raise GradcheckError(message)

    # ---- names

    def output_at(self, i: int) -> str:
        """Name element `i` of R^m: ``output[0, 2]``."""
        several = len(self.values) > 1 or self.output_name != "output"
        for number, value in enumerate(self.values):
            if i < value.size:
                return (f"{self.output_name} {number}" if several else self.output_name) + at(
                    value.shape, i
                )
            i -= value.size
        raise IndexError(i)


class Line:
    """A function along a direction of one input. Steps are taken once, for all cotangents.

    Parameters
    ----------
    point
        The function.
    k
        The number of the input.
    direction
        Of that input's shape.
    """

    def __init__(self, point: Point, k: int, direction: Array) -> None:
        self.point = point
        self.k = k
        self.direction = direction
        #: The elements that move.
        self.moving: Any = np.flatnonzero(direction)
        if len(self.moving) == direction.size:
            self.moving = slice(None)  # which takes less time
        self.v = direction.ravel()[self.moving]
        #: v / |v|^2, but for the longest of v, whose square might overflow.
        self.longest = float(np.max(np.abs(self.v)))
        self.unit = self.v / self.longest
        self.unit /= np.sum(self.unit**2)
        self.is_short = self.v.size + point.flat_values.size <= KEPT
        self.kept: dict[bytes, tuple[Array, Array, Array]] = {}

    def parts(self, steps: Array) -> list[Array]:
        """Cut steps up into as many as are taken at once: one, where each takes much memory."""
        return [steps] if self.is_short else list(steps[:, None])

    def taken(self, steps: Array) -> tuple[Array, Array, Array]:
        """Return the steps made after rounding, each one's change of what moves, and the values.

        These are nan outside the domain.
        """
        key = steps.tobytes()
        if key in self.kept:
            return self.kept[key]
        changes, values = [], []
        for t in steps:
            try:
                value, change = self.point.moved(self.k, t * self.direction)
            except GradcheckError:
                value = np.full(self.point.flat_values.size, np.nan)
                change = t * self.direction.ravel()
            changes.append(change[self.moving])
            values.append(value)
        change = np.array(changes)
        found = np.sum(change / self.longest * self.unit, axis=1), change, np.array(values)
        if self.is_short:
            self.kept[key] = found
        return found


NOT_UNDONE = (
    "broadcasting is not undone; sum the gradient over the axes along which the input was repeated"
)


def guarded(role: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the framework; if it raises, report that with the role it plays."""
    try:
        return function(*args)
    except GradcheckError:
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] == "hypothesis":  # such as that of `assume`
            raise
        given = ", ".join(describe(arg) for arg in args if not isinstance(arg, bool))
        raise GradcheckError(
            f"{role} raised {type(error).__name__}: {error}\ncalled with {given}"
        ) from error


def alike(scattered: Array) -> Array:
    """Return what values scatter on both of two ways; 0 if it is more on one: no rounding does."""
    least, most = np.min(scattered, axis=0), np.max(scattered, axis=0)
    return np.where(np.isfinite(most) & (most <= 4 * least), least, 0.0)


def describe(value: Any) -> str:
    """Name a value's type, and its shape if it has one."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(describe(part) for part in value)}]"
    try:
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    except Exception:
        return type(value).__name__


def is_plain(value: Any) -> bool:
    """Tell whether a value is an array of numbers or a number, and no tensor of a framework."""
    if type(value) is np.ndarray:
        return value.dtype.kind in "biufc"
    return isinstance(value, (np.generic, int, float))


def as_numbers(given: Any, role: str) -> Array:
    """Return what should be an array as a new one; raise if there are no numbers in it."""
    try:
        array = np.array(given)
    except Exception as error:
        raise GradcheckError(
            f"{role} returned {type(given).__name__}, which is not an array: {error}"
        ) from error
    if array.dtype.kind not in "biufc":
        raise GradcheckError(
            f"{role} returned {describe(given)}, which holds {array.dtype}; expected an array of "
            "numbers"
        )
    return array


def as_sequence(found: Any, number: int) -> list[Any]:
    """Return the gradients as a list; raise if there is not one for each input."""
    if not isinstance(found, (list, tuple)):
        raise GradcheckError(
            f"adapter.gradients returned {describe(found)}, expected a list of {number} "
            "gradients, one for each input"
        )
    if len(found) != number:
        raise GradcheckError(
            f"adapter.gradients returned {len(found)} gradients, expected {number}, one for each "
            "input"
        )
    return list(found)


def size_of(x: Array) -> Array:
    """Return the size of each element of `x`, flat.

    A zero tells nothing of it, so the largest element stands in.
    """
    size = np.abs(x, dtype=np.float64).ravel()
    return np.asarray(np.where(size == 0, np.max(size, initial=0.0) or 1.0, size))


def scale_of(x: Array) -> Array:
    """Return the size of a change that matters to each element of `x`, flat.

    That is the element's own size; but one far below the largest may be so by chance, or drowned in
    rounding: hence 1e-4.
    """
    size = size_of(x)
    return np.asarray(np.maximum(size, 1e-4 * np.max(size, initial=0.0)))


def magnitude_of(value: Array) -> float:
    """Return the largest finite element, or the smallest number of full precision."""
    size = np.abs(value, dtype=np.float64)
    dtype = value.dtype if value.dtype.kind == "f" else np.float64
    return float(np.max(size[np.isfinite(size)], initial=float(np.finfo(dtype).tiny)))


def flat(arrays: Sequence[Array]) -> Array:
    """String arrays together to one vector of float64."""
    parts = [np.zeros(0), *(array.ravel() for array in arrays)]
    return np.concatenate(parts, dtype=np.float64, casting="same_kind")


def at(shape: Shape, i: int) -> str:
    """Write the index of the i-th element: ``[0, 2]``, or nothing for a 0-d array."""
    return f"[{', '.join(map(str, np.unravel_index(i, shape)))}]" if shape else ""
