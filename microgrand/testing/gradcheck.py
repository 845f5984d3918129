"""Gradient checks: the derivatives that backward computes against those that differences show.

A function f from R^n to R^m has a Jacobian J. Backward computes ``u J`` for a cotangent u.
Differences compute ``J v`` for a direction v, and need nothing but values of f:

    J v = (f(x + h v) - f(x - h v)) / 2h,    with an error of about h^2 / 6 + eps / h.

Here eps = 2e-16 is the rounding of float64, and h = eps^(1/3) makes the sum of both smallest.
`gradcheck` compares the two on ``u J v``: with all unit vectors u and v that is the whole
Jacobian entry by entry, with random ones a few numbers that agree if, and but for an
improbable accident only if, all of it does. Where they do not agree, experiments find out why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine import backpropagate
from ..tensor import Tensor, unwrap

Array = NDArray[Any]

EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)
#: Steps for a second look: a kink nearby or a strong curvature wants a shorter one, rounding a
#: longer one. Powers of two, as these add no rounding of their own.
OTHER_STEPS = (STEP / 2**5, STEP * 2**5, STEP / 2**10, STEP / 2**15)
#: What rounding may add to a difference quotient, in units of the largest output: ten roundings.
NOISE = 10 * EPS / STEP
#: How many random cotangents and directions the fast mode takes.
PROJECTIONS = 2
#: How many evaluations of a function the full mode makes at least, so that a draw shows up that
#: is made in a tenth of them only: 19 times in 20.
EVALUATIONS = 30
#: How many elements the search for a cause looks at.
SAMPLE = 32


class GradcheckError(AssertionError):
    """Raised by `gradcheck`: the message says where the derivatives differ, and why."""


@dataclass(frozen=True)
class Adapter:
    """What `gradcheck` needs to know of a framework; by default it is microgrand.

    Parameters
    ----------
    tensor
        Makes a tensor from an array, one whose gradient can be asked for.
    array
        Gives the values of a tensor as an array.
    gradients
        Called as ``gradients(outputs, cotangents, leaves, create_graph)``, all sequences of
        tensors: runs backward from the outputs, and returns for each leaf its gradient, or None
        where none arrives. With `create_graph` (for ``order=2`` only) the gradients are tensors
        that can be differentiated again; otherwise arrays will do.

    Examples
    --------
    For PyTorch::

        pytorch = Adapter(
            tensor=lambda array: torch.tensor(array, requires_grad=True),
            array=lambda tensor: tensor.detach().numpy(),
            gradients=lambda outputs, cotangents, leaves, create_graph: torch.autograd.grad(
                outputs, leaves, cotangents, create_graph=create_graph, allow_unused=True
            ),
        )
        gradcheck(torch.special.erf, x, adapter=pytorch)

    For a framework with ``backward`` and ``grad`` alone, ``gradients`` calls
    ``output.backward(cotangent)`` for each output and returns ``[x.grad for x in leaves]``:
    the leaves are new each time.
    """

    tensor: Callable[[Array], Any]
    array: Callable[[Any], Array]
    gradients: Callable[[Sequence[Any], Sequence[Any], Sequence[Any], bool], Sequence[Any]]


def gradients(
    outputs: Sequence[Any], cotangents: Sequence[Any], leaves: Sequence[Any], create_graph: bool
) -> list[Any]:
    """Run microgrand's backward pass; other tensors that `fn` uses keep their ``grad``."""
    totals: dict[Any, Any] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if isinstance(output, Tensor) and output.requires_grad:
            start = cotangent if create_graph else cotangent.data
            found = backpropagate(output, start, set(leaves), create_graph, retain_graph=True)
            for leaf, g in found.items():
                totals[leaf] = totals[leaf] + g if leaf in totals else g
    return [totals.get(leaf) for leaf in leaves]


MICROGRAND = Adapter(
    tensor=lambda array: Tensor(array, requires_grad=True),
    array=lambda value: np.asarray(unwrap(value)),
    gradients=gradients,
)


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    order: Literal[1, 2] = 1,
    mode: Literal["full", "fast"] = "full",
    rtol: float = 1e-6,
    adapter: Adapter = MICROGRAND,
) -> bool:
    """Check the derivatives of `fn` at a point against central differences.

    Parameters
    ----------
    fn
        Maps tensors to a tensor of any shape, or to a tuple or list of tensors. It must be
        deterministic: hold masks and other random draws still.
    *inputs
        The point: float64 arrays, which become the tensors that `fn` is given.
    order
        2 to also check the derivatives of the gradient.
    mode
        ``"full"`` compares every entry of the Jacobian, with two evaluations of `fn` for each
        element of the inputs and one backward pass for each of the outputs, 30 evaluations at
        least. ``"fast"`` compares random projections, with seven evaluations and two backward
        passes for one input of any size. The seed is fixed, so a check always does the same.
    rtol
        Relative error that is allowed. Differences of float64 are good to about 1e-10.
    adapter
        The framework, if it is not microgrand.

    Returns
    -------
    bool
        True; so that it may stand behind ``assert``.

    Raises
    ------
    GradcheckError
        If a derivative is wrong. The message names the input and the element, gives both
        derivatives, and the cause if there is evidence for one.
    TypeError, ValueError
        If an input is not an array of finite floats, or an option is unknown.

    Notes
    -----
    The step is relative: 6e-6 of an element's own size, or of the input's largest where the
    element is 0. Differences cannot tell a derivative from 0 if it moves no output by more
    than 4e-10 of the largest output when the element changes by its own size. A function that is
    random only now and then is found out if one of these evaluations is: if a tenth of them is,
    19 times in 20 in the full mode.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.testing import gradcheck
    >>> gradcheck(lambda x, y: np.tanh(x @ y), np.ones((2, 3)), np.ones(3), order=2)
    True
    """
    if order not in (1, 2) or mode not in ("full", "fast"):
        raise ValueError(
            f"gradcheck expects order 1 or 2 and mode 'full' or 'fast', got {order!r} and {mode!r}"
        )
    if not inputs:
        raise TypeError("gradcheck needs at least one input, the point to check at; got none")
    arrays = [check_input(k, given) for k, given in enumerate(inputs)]
    names = [f"input {k}" for k in range(len(arrays))]
    rng = np.random.default_rng(0)
    # Steps may leave the domain; what comes of it is reported, and needs no warning as well.
    with np.errstate(all="ignore"):
        first = Point(fn, arrays, adapter, names, "output")
        check(first, mode, rtol, rng)
        if mode == "full":
            done = 1 + first.magnitude.size + 2 * sum(x.size for x in arrays)
            first.evaluate_again(EVALUATIONS - done)
        if order == 2:
            cotangents = [rng.standard_normal(value.shape) for value in first.values]
            names += [f"cotangent of output {i}" for i in range(len(cotangents))]
            gradient = gradient_of(fn, arrays, adapter)
            second = Point(gradient, arrays + cotangents, adapter, names, "gradient of input")
            # A gradient may be small because large terms cancel, as in 1 - tanh(x)^2. Their size
            # is that of f over that of x.
            size = np.linalg.norm(flat(cotangents) * first.magnitude)
            terms = flat([size / scale for scale in first.scales])
            second.magnitude = np.maximum(second.magnitude, terms)
            check(second, mode, rtol, rng)
    return True


def check_input(k: int, given: Any) -> Array:
    """Return a copy of input `k`; raise if there is nothing to differentiate in it."""
    if isinstance(given, Tensor):
        raise TypeError(f"gradcheck makes the tensors itself: give input {k} as x.data, an array")
    array = np.array(given)
    if array.dtype.kind != "f":
        raise TypeError(
            f"input {k} has dtype {array.dtype}, expected float64; arguments that are not to be "
            "differentiated go into the function: gradcheck(lambda x: f(x, indices), x)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"input {k} is not finite: there is no derivative at inf or nan")
    return array


def gradient_of(fn: Callable[..., Any], inputs: list[Array], adapter: Adapter) -> Any:
    """Make the function ``(x, u) -> u J(x)``, whose derivatives are of second order."""

    def gradient(*args: Any) -> tuple[Any, ...]:
        leaves, cotangents = args[: len(inputs)], args[len(inputs) :]
        found = adapter.gradients(as_outputs(fn(*leaves)), cotangents, leaves, True)
        return tuple(
            adapter.tensor(np.zeros_like(x)) if g is None else g
            for g, x in zip(found, inputs, strict=True)
        )

    return gradient


def as_outputs(result: Any) -> tuple[Any, ...]:
    """Make a tuple of what a function returned, one tensor or several."""
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


class Point:
    """A function at one point, with all its outputs strung together to one vector of R^m."""

    def __init__(
        self,
        fn: Callable[..., Any],
        inputs: list[Array],
        adapter: Adapter,
        input_names: list[str],
        output_name: str,
    ) -> None:
        self.fn = fn
        self.inputs = inputs
        self.adapter = adapter
        self.input_names = input_names
        self.output_name = output_name
        self.scales = [scale_of(x) for x in inputs]
        self.values = self.call(inputs)[2]
        if any(np.iscomplexobj(v) for v in self.values):
            raise TypeError(
                f"gradcheck compares real numbers, and {output_name} is complex; return np.real "
                "and np.imag of it, a tuple"
            )
        #: For each output the largest of its tensor, to which the rounding is in proportion.
        self.magnitude = flat(
            [np.full(v.size, np.max(np.abs(v), initial=0.0)) for v in self.values]
        )

    def call(self, arrays: Sequence[Array]) -> tuple[list[Any], tuple[Any, ...], list[Array]]:
        """Return new leaves, what the function makes of them, and its values."""
        leaves = [self.adapter.tensor(x.copy()) for x in arrays]
        outputs = as_outputs(self.fn(*leaves))
        return leaves, outputs, [self.adapter.array(output) for output in outputs]

    def evaluate_again(self, times: int) -> None:
        """Raise if further evaluations at the point ever give other values."""
        for _ in range(times):
            check_same_values(flat(self.call(self.inputs)[2]), flat(self.values))

    def moved(self, k: int, change: Array) -> Array:
        """Return f where input `k` has changed, one vector."""
        arrays = list(self.inputs)
        arrays[k] = (arrays[k] + change).astype(arrays[k].dtype)
        return flat(self.call(arrays)[2])

    def ends(self, k: int, direction: Array, step: float) -> tuple[Array, Array]:
        """Return f a step ahead and a step behind in a direction of input `k`."""
        return self.moved(k, step * direction), self.moved(k, -step * direction)

    def difference(self, k: int, direction: Array, step: float = STEP) -> Array:
        """Return ``J v`` for a direction of input `k`, by a central difference."""
        ahead, behind = self.ends(k, direction, step)
        return (ahead - behind) / (2 * step)

    def pull_back(self, cotangent: Array) -> list[Array]:
        """Return ``u J``, by the backward pass: a gradient for each input."""
        leaves, outputs, values = self.call(self.inputs)
        check_same_values(flat(values), flat(self.values))
        found = self.adapter.gradients(outputs, self.tensors(cotangent), leaves, False)
        return [self.check_shape(k, g) for k, g in enumerate(found)]

    def tensors(self, cotangent: Array) -> list[Any]:
        """Cut a vector of R^m up into tensors with the shapes and dtypes of the outputs."""
        ends = list(itertools.accumulate(value.size for value in self.values))
        parts = np.split(cotangent, ends[:-1])
        return [
            self.adapter.tensor(
                part.reshape(value.shape).astype(value.dtype if value.dtype.kind == "f" else float)
            )
            for part, value in zip(parts, self.values, strict=True)
        ]

    def check_shape(self, k: int, gradient: Any) -> Array:
        """Return the gradient of input `k` as an array; raise if its shape is not the input's."""
        x = self.inputs[k]
        if gradient is None:
            return np.zeros(x.shape)
        g = self.adapter.array(gradient)
        if g.shape == x.shape:
            return g
        message = f"the gradient of {self.input_names[k]} has shape {g.shape}, expected {x.shape}"
        if g.shape == x.shape[::-1]:
            message += "\ncause: the result is transposed"
        elif broadcasts(x.shape, g.shape):
            message += (
                "\ncause: broadcasting is not undone; sum the gradient over the axes along which "
                "the input was repeated"
            )
        raise GradcheckError(message)

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


def scale_of(x: Array) -> Array:
    """Return the size of a change that matters to each element of `x`, flat.

    That is the element's own size; a zero tells nothing of it, so the largest element stands in.
    An element far below the largest may be one by chance, or drowned in rounding: hence 1e-4.
    """
    size = np.abs(x, dtype=np.float64).ravel()
    largest = np.max(size, initial=0.0) or 1.0
    return np.where(size == 0, largest, np.maximum(size, 1e-4 * largest))


def flat(arrays: Sequence[Array]) -> Array:
    """String arrays together to one vector of float64."""
    return np.concatenate([np.zeros(0), *(array.ravel() for array in arrays)])


def at(shape: tuple[int, ...], i: int) -> str:
    """Write the index of the i-th element: ``[0, 2]``, or nothing for a 0-d array."""
    return f"[{', '.join(map(str, np.unravel_index(i, shape)))}]" if shape else ""


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Tell whether an array of `shape` can be broadcast to the shape `to`."""
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def check_same_values(again: Array, first: Array) -> None:
    """Raise if two evaluations differ by more than rounding, as parallel sums may be reordered."""
    if again.shape == first.shape:
        rounding = 1e-12 * np.max(np.abs(first), initial=0.0)
        if np.allclose(again, first, rtol=0, atol=rounding, equal_nan=True):
            return
        i = int(np.argmax(again != first))
        values = f"{first[i]:.10g} and then {again[i]:.10g}"
    else:
        values = f"{first.size} and then {again.size} values"
    raise GradcheckError(
        f"the function is not deterministic: two evaluations at one point gave {values}. Hold "
        "its draws still: check nn.DropoutMasks().hold(fn), which uses the dropout masks of its "
        "first call in all others, or call manual_seed(0) as its first line, or switch the module "
        "to evaluation with .eval()"
    )


def differ(found: Array, expected: Array, noise: Array, rtol: float) -> Array:
    """Tell where two derivatives differ by more than `rtol` and rounding, or are not finite."""
    allowed = rtol * np.maximum(np.abs(found), np.abs(expected)) + noise
    return np.asarray(~(np.abs(found - expected) <= allowed))  # a nan differs


# -------------------------------------------------------------------------------- the check


def check(point: Point, mode: str, rtol: float, rng: np.random.Generator) -> None:
    """Compare ``u J v``, for each input with several directions v; raise at the first mistake."""
    m = point.magnitude.size
    # A single output gets a second cotangent, which is not 1: a rule may have ignored it.
    cotangents = random_cotangents(m, rng) if m == 1 or mode == "fast" else np.eye(m)
    gradients = [point.pull_back(u) for u in cotangents]
    # A sum of independent roundings grows as their root mean square.
    noise = NOISE * np.sqrt(cotangents**2 @ point.magnitude**2)
    for k, scale in enumerate(point.scales):
        rows = np.array([g[k].ravel() for g in gradients]).reshape(len(gradients), scale.size)
        directions = unit_vectors(scale) if mode == "full" else random_directions(scale, rng)
        for j, v in enumerate(directions):
            # Only what moves: a nan in the gradient of another element is no concern of this one.
            moving = np.flatnonzero(v)
            found = rows[:, moving] @ v[moving]
            v = v.reshape(point.inputs[k].shape)
            ends = ahead, behind = point.ends(k, v, STEP)
            wrong = differ(found, cotangents @ (ahead - behind) / (2 * STEP), noise, rtol)
            if wrong.any():  # perhaps one of these evaluations had another draw
                for again, first in zip(point.ends(k, v, STEP), ends, strict=True):
                    check_same_values(again, first)
            for step in OTHER_STEPS:
                if not wrong.any():
                    break
                # A wrong derivative is wrong at every step.
                wrong &= differ(found, cotangents @ point.difference(k, v, step), noise, rtol)
            if wrong.any():
                i = int(np.argmax(wrong))
                element = j if mode == "full" else locate(point, k, cotangents[i], rows[i], v)
                raise GradcheckError(Failure(point, k, element, cotangents[i], rtol).report())


def unit_vectors(scale: Array) -> Iterator[Array]:
    """Yield a direction for each element: a change of that element by its own size."""
    for j in range(scale.size):
        direction = np.zeros(scale.size)
        direction[j] = scale[j]
        yield direction


def random_cotangents(m: int, rng: np.random.Generator) -> Array:
    """Draw a few cotangents of R^m; a single output gets 1 and -0.6."""
    return np.array([[1.0], [-0.6]]) if m == 1 else rng.standard_normal((PROJECTIONS, m))


def random_directions(scale: Array, rng: np.random.Generator) -> Iterable[Array]:
    """Draw a few directions that change each element by about its own size."""
    return scale * rng.standard_normal((PROJECTIONS if scale.size else 0, scale.size))


def locate(point: Point, k: int, cotangent: Array, gradient: Array, direction: Array) -> int:
    """Find an element whose derivative is wrong, by halving: 20 steps for a million.

    The error is a sum over the elements, so one half of them has at least half of it.
    """

    def error(start: int, end: int) -> float:
        part = np.zeros(direction.size)
        part[start:end] = direction.ravel()[start:end]
        expected = cotangent @ point.difference(k, part.reshape(direction.shape))
        found = gradient[start:end] @ part[start:end]
        return float(np.nan_to_num(np.abs(found - expected), nan=np.inf))

    start, end = 0, direction.size
    while end - start > 1:
        middle = (start + end) // 2
        start, end = max((start, middle), (middle, end), key=lambda half: error(*half))
    return start


# ------------------------------------------------------------------------ why a check failed


class Failure:
    """A derivative that is wrong, and experiments that tell why.

    Each experiment returns a sentence, or None if there is no evidence for that cause.
    """

    def __init__(self, point: Point, k: int, element: int, cotangent: Array, rtol: float) -> None:
        self.point = point
        self.k = k
        self.element = element
        self.cotangent = cotangent
        self.rtol = rtol
        self.x = point.inputs[k]
        point.evaluate_again(10)  # a draw would explain everything
        self.found = float(point.pull_back(cotangent)[k].ravel()[element])
        #: The relative rounding of the values, and the step and the noise of differences with it.
        arrays = [*point.inputs, *point.values]
        coarsest = max(np.finfo(a.dtype).eps for a in arrays if a.dtype.kind == "f")
        self.precision = float(np.clip(3 * self.roughness(), coarsest, 1e-3))
        self.step = self.precision ** (1 / 3)
        self.noise = 10 * self.precision / self.step
        # An explanation may be less exact than a derivative: 1e-4 is enough to tell 2 from 3.
        self.tolerance = max(1e-4, self.step**2)
        self.expected = self.difference(element, cotangent)

    def report(self) -> str:
        """Say which derivative is wrong, by how much and, if an experiment tells, why."""
        point, outputs = self.point, np.flatnonzero(self.cotangent)
        if len(outputs) == 1:
            above = point.output_at(int(outputs[0]))
        else:
            above = f"({point.output_name} along a random cotangent)"
        below = point.input_names[self.k] + at(self.x.shape, self.element)
        size = max(abs(self.found), abs(self.expected))
        error = abs(self.found - self.expected) / size if size else 0.0
        report = (
            f"wrong derivative d {above} / d {below}\n"
            f"found by backward: {self.found:.10g}\n"
            f"expected from differences: {self.expected:.10g}\n"
            f"relative error: {error:.3g}, allowed: {self.rtol:.3g}\n"
            f"{point.input_names[self.k]} has shape {self.x.shape} and dtype {self.x.dtype}"
        )
        for experiment in (
            self.is_outside_the_domain,
            self.is_at_a_jump,
            self.is_coarse,
            self.is_at_a_kink,
            self.is_cut_off,
            self.is_overwritten,
            self.is_transposed,
            self.is_off_by_a_factor,
        ):
            cause = experiment()
            if cause:
                return f"{report}\ncause: {cause}"
        return report

    def difference(self, element: int, cotangent: Array) -> float:
        """Return the expected derivative with respect to one element."""
        scale = self.point.scales[self.k][element]
        v = self.direction(element)
        return float(cotangent @ self.point.difference(self.k, v, self.step) / scale)

    def size(self) -> float:
        """Return the size of the values that differences were taken of."""
        return float(np.linalg.norm(self.cotangent * self.point.magnitude))

    def roughness(self) -> float:
        """Return how rough the values are around the point, relative to their size."""
        # So close to the point a smooth function is a cubic, but for terms of order STEP^4. What
        # is left of the values shows the roughness. The steps are irregular, as equal ones may
        # happen to be whole multiples of the spacing that the values are rounded to.
        steps = np.random.default_rng(1).uniform(-3, 3, 12)
        values = self.along(STEP * steps)
        if not np.isfinite(values).all() or not self.size():
            return 0.0
        powers = np.vander(steps, 4)
        residuals = values - powers @ np.linalg.lstsq(powers, values)[0]
        return float(np.linalg.norm(residuals) / np.sqrt(len(steps) - 4) / self.size())

    def direction(self, element: int) -> Array:
        """Return the change of one element by its own size."""
        direction = np.zeros(self.x.shape)
        direction.flat[element] = self.point.scales[self.k][element]
        return direction

    def along(self, steps: Array) -> Array:
        """Return the values of the wrong derivative's output along its input."""
        v = self.direction(self.element)
        values = [self.point.moved(self.k, t * v) for t in steps]
        return np.array(values) @ self.cotangent

    # ---- what backward and differences give elsewhere in the same input

    @cached_property
    def all_outputs(self) -> Array:
        """A random cotangent: a single output often depends on one element only."""
        cotangents = random_cotangents(self.point.magnitude.size, np.random.default_rng(1))
        return np.asarray(cotangents[0])

    @cached_property
    def gradient(self) -> Array:
        """What backward finds for that cotangent, of the input's shape."""
        return self.point.pull_back(self.all_outputs)[self.k]

    @cached_property
    def sample(self) -> Array:
        """The numbers of the wrong element and of some others."""
        others = np.random.default_rng(1).permutation(self.x.size)[:SAMPLE]
        return np.array([self.element, *others[others != self.element]])

    @cached_property
    def sample_expected(self) -> Array:
        """What differences show for them."""
        return np.array([self.difference(j, self.all_outputs) for j in self.sample])

    def explains(self, found: Array, expected: Array) -> bool:
        """Tell whether two derivatives agree on the sample."""
        noise = self.noise * np.linalg.norm(self.all_outputs * self.point.magnitude)
        scale = self.point.scales[self.k][self.sample]
        return not differ(found * scale, expected * scale, 10 * noise, self.tolerance).any()

    # ---- the experiments

    def is_outside_the_domain(self) -> str | None:
        """Are the values there, but the derivative nan or infinite, or not even the values?"""
        values = self.along(STEP * np.array([-1.0, 0.0, 1.0]))
        if not np.isfinite(values).all():
            return "the function is not finite at or next to this point; check it inside its domain"
        if not np.isfinite(self.found):
            return f"backward produces {self.found} although the function is finite around here"
        return None

    def is_coarse(self) -> str | None:
        """Are the values rougher than float64, and is all well with a step that suits them?"""
        error = abs(self.found - self.expected) * float(self.point.scales[self.k][self.element])
        if self.precision < 1e-11 or error > self.noise * self.size():
            return None
        for name, array in [
            *zip(self.point.input_names, self.point.inputs, strict=True),
            *((f"{self.point.output_name} {i}", v) for i, v in enumerate(self.point.values)),
        ]:
            if array.dtype.itemsize < 8:
                return (
                    f"{name} has dtype {array.dtype}, too coarse for the step of {STEP:.1g}; "
                    "check the same function in float64, parameters included"
                )
        return (
            f"the function's values are good to {self.precision:.1g} only, where float64 rounds to "
            "1e-16; is a part of it computed in float32?"
        )

    def is_at_a_jump(self) -> str | None:
        """Do the values left and right differ, however short the step?"""
        behind, here, ahead = self.along(STEP / 2**8 * np.array([-1.0, 0.0, 1.0]))
        behind_near, _, ahead_near = self.along(STEP / 2**12 * np.array([-1.0, 0.0, 1.0]))
        jump, jump_near = ahead - behind, ahead_near - behind_near
        # What is rounded to float32 has jumps, too, but not that large.
        if abs(jump) > 1e-6 * self.size() and 0.9 < jump_near / jump < 1.1:
            return (
                f"a jump at this point: the value is {behind:.6g} on the left, {here:.6g} here and "
                f"{ahead:.6g} on the right, so there is no derivative; move the input"
            )
        return None

    def is_at_a_kink(self) -> str | None:
        """Do the slopes left and right differ, however short the step?"""
        slopes = []
        for step in (STEP, STEP / 16):
            behind, here, ahead = self.along(step * np.array([-1.0, 0.0, 1.0]))
            slopes.append(((here - behind) / step, (ahead - here) / step))
        (left, right), (left_near, right_near) = slopes
        jump, jump_near = right - left, right_near - left_near
        # As the step shrinks, the slopes of a curve approach each other, and rounding would part
        # them further: those of a kink stay.
        if abs(jump) > 1e-3 * max(abs(left), abs(right)) and 0.5 < jump_near / jump < 2:
            scale = self.point.scales[self.k][self.element]
            return (
                f"a kink at this point: the slope is {left / scale:.6g} on the left and "
                f"{right / scale:.6g} on the right, so there is no derivative; move the input"
            )
        return None

    def is_cut_off(self) -> str | None:
        """Is there no gradient at all?"""
        if not self.gradient.any() and self.sample_expected.any():
            return (
                "no gradient arrives at this input; is it detached, converted to an array, or "
                "used where nothing is recorded?"
            )
        return None

    def is_overwritten(self) -> str | None:
        """Does using the input twice as often fail to double the gradient?"""
        point = self.point
        leaves = [point.adapter.tensor(x.copy()) for x in point.inputs]
        outputs = [*as_outputs(point.fn(*leaves)), *as_outputs(point.fn(*leaves))]
        cotangents = point.tensors(self.all_outputs) + point.tensors(self.all_outputs)
        found = point.adapter.gradients(outputs, cotangents, leaves, False)
        twice = point.check_shape(self.k, found[self.k])
        if self.gradient.any() and np.allclose(twice, self.gradient, rtol=1e-9, atol=0):
            return (
                "the gradient is overwritten instead of added: of several uses of the input only "
                "one counts"
            )
        return None

    def is_transposed(self) -> str | None:
        """Is it the right gradient with two axes swapped?"""
        for a, b in itertools.combinations(range(self.x.ndim), 2):
            if self.x.shape[a] == self.x.shape[b]:
                found = self.gradient.swapaxes(a, b).ravel()[self.sample]
                if self.explains(found, self.sample_expected):
                    return f"the result is transposed: axes {a} and {b} are swapped"
        return None

    def is_off_by_a_factor(self) -> str | None:
        """Is it the right gradient times a number?"""
        found, expected = self.gradient.ravel()[self.sample], self.sample_expected
        if not expected.any():
            return None
        factor = float(found @ expected / (expected @ expected))
        if factor == 0 or f"{factor:.6g}" == "1" or not self.explains(found, factor * expected):
            return None
        whole = round(factor if abs(factor) >= 1 else 1 / factor)
        distance = abs((factor if abs(factor) >= 1 else 1 / factor) - whole)
        exact = distance < self.tolerance * abs(whole)
        if exact and whole == -1:
            return "the sign is wrong: a minus is missing, or one too many"
        if exact and whole != 1:
            much = "large" if abs(factor) > 1 else "small"
            cause = f"off by a factor: {abs(whole)} times too {much}"
            cause += ", and the sign is wrong" if whole < 0 else ""
            n = abs(whole)
            lengths = {self.x.size, *self.x.shape}
            for value in self.point.values:
                lengths |= {value.size, *value.shape}
            if n in lengths:
                missing = "1/n is missing" if abs(factor) > 1 else "1/n is one too many"
                cause += f"; {n} is also a number of elements here, so perhaps a {missing}"
            return cause
        # A single number is some multiple of any other: that would be no evidence.
        if np.count_nonzero(expected) > 1:
            return f"off by a factor: found is {factor:.6g} times the expected, everywhere"
        return None
