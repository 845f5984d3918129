"""Gradient checks: the derivatives that backward computes against those that differences show.

A function f from R^n to R^m has a Jacobian J. Backward computes ``u J`` for a cotangent u.
Differences compute ``J v`` for a direction v, and need nothing but values of f:

    J v = (f(x + h v) - f(x - h v)) / 2h,    with an error of about h^2 / 6 + eps / h.

Here eps is the rounding of the dtype, and h = eps^(1/3) makes the sum of both smallest.
`gradcheck` compares the two on ``u J v``: with all unit vectors v and u, each u times a number,
that is the whole Jacobian entry by entry, with random ones a few numbers that agree if, and but
for an improbable accident only if, all of it does. Where they do not agree, a second look makes
sure that it is not the difference that is wrong, and experiments find out why.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .adapters import MICROGRAND, Adapter, as_outputs
from .causes import Failure, cause_of_crash
from .differences import RESOLUTION, Suspicion, allowance
from .fits import norm
from .in_float64 import InFloat64
from .point import (
    GradcheckError,
    Line,
    Point,
    as_numbers,
    as_sequence,
    flat,
    guarded,
    is_plain,
    size_of,
)

#: How many random directions the fast mode takes, and how many random cotangents both modes take.
PROJECTIONS = 2
#: How many evaluations of a function the full mode makes at least, so that a draw shows up that
#: is made in a tenth of them only: 19 times in 20.
EVALUATIONS = 30
#: What values may differ from those of a reference by: a part of their own size, in units of
#: eps^(2/3), and what rounding may do to inputs and to the largest value, in units of eps.
VALUE_RTOL, ROUNDING = 4, 8


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    order: Literal[1, 2] = 1,
    mode: Literal["full", "fast"] = "full",
    rtol: float | None = None,
    adapter: Adapter = MICROGRAND,
    reference: Callable[..., Any] | None = None,
) -> bool:
    """Check the derivatives of `fn` at a point against central differences.

    Parameters
    ----------
    fn
        Maps tensors to a tensor of any shape, or to a tuple or list of tensors. It must be
        deterministic: hold masks and other random draws still.
    *inputs
        The point: arrays of floats, which become the tensors that `fn` is given.
    order
        2 to also check the derivatives of the gradient.
    mode
        ``"full"`` compares every entry of the Jacobian, with two evaluations of `fn` for each
        element of the inputs and one backward pass for each of the outputs and two more, 30
        evaluations at least. ``"fast"`` compares random projections, with seven evaluations and
        two backward passes for one input of any size. The seed is fixed, so a check always does
        the same.
    rtol
        Relative error that is allowed; by default 1e-6 in float64, 5e-4 in float32 and 5e-2 in
        float16. What counts is the coarsest dtype among the tensors of inputs and outputs.
    adapter
        The framework, if it is not microgrand.
    reference
        Computes from float64 arrays what `fn` is to compute, by other means: values are compared
        before derivatives are. Each is compared by its own size: found is an error of more than
        1.5e-10 of that in float64, 1e-4 in float32 and 0.04 in float16, and of more than what
        rounding may add. That is 8 eps of the largest value of the tensor, 2e-15, 1e-6 or 8e-3
        of it, and what the reference changes by if each element of the inputs changes by 8 eps.

    Returns
    -------
    bool
        True; so that it may stand behind ``assert``.

    Raises
    ------
    GradcheckError
        If a derivative is wrong. The message names the input and the element, gives both
        derivatives, and the cause if there is evidence for one. Also if a value is wrong, or if
        `fn` or the adapter raises, or returns what makes no sense.
    TypeError, ValueError
        If an input is not an array of finite floats, or an option is unknown.

    Notes
    -----
    The step is relative: 6e-6 of an element's own size in float64, or of the input's largest where
    the element is 0; 5e-3 in float32 and 0.1 in float16. Over such long steps a difference may
    agree with a wrong derivative by chance, so float32 and float16 are compared in float64, too,
    which takes as many evaluations again.

    Differences cannot tell a derivative from 0 if it hardly moves the output. The full mode finds
    a mistake in a derivative at every point where the part that is missing moves an output, when
    the element changes by its own size, by more than 3e-10 of the largest output of that tensor in
    float64, 2e-4 in float32 and 0.02 in float16, by more than twice `rtol` of what the whole
    derivative does, and by more than 16 times what rounding on the way does to the output. The
    largest output counts as the smallest normal number of its dtype, at least. A framework that has
    no float64 is checked in its own digits alone. There 0.07 is found in float16, and only of
    functions that are nearly straight within a step: one that bends may pass by chance. The fast
    mode promises no size: its steps change all elements at once.

    Where large terms cancel, an output may be no more than what rounding leaves of them, like the
    mean of ``x - np.mean(x)``. It passes if its derivative is no more than that, too; otherwise the
    report says that nothing can be told there, and names no cause. So it does where rounding is
    seldom or never seen, as in ``x * x / x - x`` and ``np.sqrt(x * x) - np.abs(x)``: there the
    values do not show how large the terms are.

    A function whose values are as rough as those of the next coarser dtype is refused even if its
    derivative is right, as a part of it may be computed there: in float64 ``(x + c) - c`` is from
    about c = 1e8 x on. A part that rounding keeps from changing over a step looks constant, so if
    it is not recorded, that goes undetected: one that a float64 function rounds to float16, or
    ``np.log(1 + x**2)`` at 1e-8. One that turns so often that it is random from each number to the
    next, like ``0.05 * np.sin(1e16 * x)`` in float64, looks like rounding itself.

    A function that is only sometimes random is caught only if one of these evaluations is: if a
    tenth of them is, 19 times in 20 in the full mode.

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
    fn = adapter.function(fn)
    rng = np.random.default_rng(0)
    # Steps may leave the domain; what comes of it is reported, and needs no warning as well.
    with np.errstate(all="ignore"):
        first = Point(fn, arrays, adapter, names, "output")
        if reference is not None:
            check_values(first, reference)
        check(first, mode, rtol, rng)
        if mode == "full":
            done = 1 + first.magnitude.size + 2 * sum(x.size for x in arrays)
            first.evaluate_again(EVALUATIONS - done)
        if order == 2:
            cotangents = [
                rng.standard_normal(v.shape).astype(v.dtype if v.dtype.kind == "f" else float)
                for v in first.values
            ]
            names += [f"cotangent of output {i}" for i in range(len(cotangents))]
            gradient = gradient_of(fn, arrays, adapter)
            second = Point(gradient, arrays + cotangents, adapter, names, "gradient of input")
            # A gradient may be small because large terms cancel, as in 1 - tanh(x)^2. Their size
            # is that of f over that of x.
            size = norm(flat(cotangents) * first.magnitude)
            terms = flat([size / scale for scale in first.scales])
            second.magnitude = np.maximum(second.magnitude, terms)
            check(second, mode, rtol, rng)
    return True


def check_input(k: int, given: Any) -> Array:
    """Return a copy of input `k`; raise if there is nothing to differentiate in it."""
    if isinstance(given, Tensor):
        raise TypeError(f"gradcheck makes the tensors itself: give input {k} as x.data, an array")
    if isinstance(given, (list, tuple)) and any(isinstance(x, (np.ndarray, Tensor)) for x in given):
        raise TypeError(
            f"input {k} is a {type(given).__name__} of arrays, as PyTorch's gradcheck takes; here "
            "each is an input of its own: gradcheck(f, *inputs)"
        )
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
        outputs = as_outputs(guarded("the function", fn, *leaves))
        found = guarded("adapter.gradients", adapter.gradients, outputs, cotangents, leaves, True)
        return tuple(
            guarded("adapter.tensor", adapter.tensor, np.zeros_like(x) if g is None else g)
            if g is None or is_plain(g)
            else g
            for g, x in zip(as_sequence(found, len(inputs)), inputs, strict=True)
        )

    return gradient


# ------------------------------------------------------------------------------- the values


def check_values(point: Point, reference: Callable[..., Any]) -> None:
    """Raise if the function's values are not those of the reference, but for rounding."""
    arrays = [x.astype(np.float64) for x in point.inputs]
    outputs = as_outputs(guarded("reference", reference, *arrays))
    right = [as_numbers(value, "reference") for value in outputs]
    if any(map(np.iscomplexobj, right)):
        raise GradcheckError("reference returned complex numbers, and the function real ones")
    shapes = [value.shape for value in right]
    if shapes != [value.shape for value in point.values]:
        raise GradcheckError(
            f"wrong shape: the function returns {[value.shape for value in point.values]}, and the "
            f"reference {shapes}"
        )
    expected = flat(right)
    wrong = are_wrong(point, expected, 0)
    if wrong.any():
        # Rounding may be magnified by cancellation: as much as a change of the inputs would be.
        wrong = are_wrong(point, expected, conditioning(point, reference, expected))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise GradcheckError(
            f"wrong value of {point.output_at(i)}\n"
            f"found by the function: {point.flat_values[i]:.12g}\n"
            f"expected by the reference: {expected[i]:.12g}\n"
            "cause: the forward pass; derivatives have not been compared"
        )


def are_wrong(point: Point, expected: Array, noise: Any) -> Array:
    """Tell which values are not the expected ones, each by its own size."""
    allowed = VALUE_RTOL * point.eps ** (2 / 3) * np.abs(expected) + noise
    allowed += ROUNDING * point.eps * point.magnitude
    found = point.flat_values
    is_near = np.isfinite(expected) & (np.abs(found - expected) <= allowed)
    return np.asarray(~(is_near | (found == expected) | (np.isnan(found) & np.isnan(expected))))


def conditioning(point: Point, reference: Callable[..., Any], expected: Array) -> Array:
    """Return by how much the reference moves if each element of the inputs changes a little."""
    rng = np.random.default_rng(0)
    moved = np.zeros(expected.shape)
    for _ in range(4):  # one might leave a value where it is by chance
        arrays = [x.astype(np.float64) for x in point.inputs]
        for x in arrays:
            size = np.abs(x)
            size = np.where(size == 0, np.min(size, where=size > 0, initial=1), size)
            x += ROUNDING * point.eps * rng.choice([-1, 1], x.shape) * size
        with contextlib.suppress(Exception):  # which would hide the finding
            there = flat([np.asarray(out) for out in as_outputs(reference(*arrays))])
            moved = np.fmax(moved, np.abs(there - expected))
    return np.where(np.isfinite(moved), moved, 0)


# -------------------------------------------------------------------------- the derivatives


def check(point: Point, mode: str, rtol: float | None, rng: np.random.Generator) -> None:
    """Compare ``u J v``, for each input with several directions v; raise at the first mistake."""
    if rtol is None:
        rtol = max(1e-6, 1.5 * float(np.sqrt(point.eps)))
    cotangents = make_cotangents(point.magnitude.size, mode, rng)
    try:
        gradients = [point.pull_back(u) for u in cotangents]
    except GradcheckError as error:
        if error.__cause__ is None:  # nothing crashed
            raise
        raise GradcheckError(f"{error}{cause_of_crash(point)}") from error.__cause__
    finer = InFloat64.of(point)
    for k, scale in enumerate(point.scales):
        rows = np.array([g[k].ravel() for g in gradients], dtype=np.float64)
        rows = rows.reshape(len(gradients), scale.size)
        directions: Iterable[Array]
        if mode == "full":  # elements far below the largest are moved in proportion to both
            own = size_of(point.inputs[k])
            directions = itertools.chain(
                unit_vectors(scale, range(scale.size)),
                unit_vectors(own, np.flatnonzero(own < scale)),
            )
        else:
            directions = random_directions(scale, rng)
        for v in directions:
            line = Line(point, k, v.reshape(point.inputs[k].shape))
            for i, distance in mistakes(line, cotangents, rows, rtol, finer):
                u, row = cotangents[i], rows[i]
                if is_too_long(line, u, row, distance, rtol):
                    continue
                element = locate(point, k, u, row, v)
                raise GradcheckError(Failure(point, k, element, u, rtol).report())
            if finer is None:
                continue
            # In few digits, where steps are long, the two may agree by chance.
            for i in finer.mistakes(line, cotangents, rows, rtol):
                element = locate(finer.point, k, cotangents[i], rows[i], v)
                raise GradcheckError(Failure(finer.point, k, element, cotangents[i], rtol).report())


def mistakes(
    line: Line, cotangents: Array, rows: Array, rtol: float, finer: InFloat64 | None = None
) -> Iterator[tuple[int, float]]:
    """Compare along a line; yield the number of each cotangent whose gradient is wrong, and by
    how much.

    A row is what backward finds for a cotangent. What is right in float64 is right.
    """
    point, v = line.point, line.direction.ravel()
    ends, change = point.ends(line.k, line.direction)
    # Only what moves: a nan in the gradient of another element is no concern of this one.
    moving = np.flatnonzero(v)
    found = rows[:, moving] @ (change[moving] / (2 * point.step))
    expected = cotangents @ ((ends[0] - ends[1]) / (2 * point.step))
    distance = np.abs(found - expected)
    # A nan is wrong.
    wrong = ~(distance <= allowance(point, v, cotangents, rows, expected, rtol))
    if wrong.any():  # perhaps one of these evaluations had another draw
        for again, before in zip(point.ends(line.k, line.direction)[0], ends, strict=True):
            point.check_same(again, before)
    for i in np.flatnonzero(wrong):
        u, row = cotangents[i], rows[i]
        if finer is not None and finer.is_right(line, u, row, distance[i], rtol):
            continue
        if Suspicion(line, u, row, distance[i], rtol).is_confirmed:
            yield int(i), float(distance[i])


def is_too_long(
    line: Line, cotangent: Array, gradient: Array, distance: float, rtol: float
) -> bool:
    """Tell whether a mistake is spurious because the steps are too long for small elements.

    This is the case if with steps of their own size nothing is wrong, although it could be seen
    there; or if the longer ones lead to where the function is not finite.
    """
    point, v = line.point, line.direction.ravel()
    own, scale = size_of(point.inputs[line.k]), point.scales[line.k]
    tiny = (own < scale) & (v != 0) & (np.abs(v) > own)
    if not tiny.any():
        return False
    v = np.where(tiny, v / scale * own, v)
    least = RESOLUTION * point.eps / point.step * norm(cotangent * point.magnitude)
    if np.isfinite(distance) and not np.all(np.abs(gradient * v)[tiny] > least):
        return False
    shorter = Line(point, line.k, v.reshape(line.direction.shape))
    return not any(mistakes(shorter, cotangent[None], gradient[None], rtol))


def make_cotangents(m: int, mode: str, rng: np.random.Generator) -> Array:
    """Make cotangents of R^m: a multiple of each unit vector in the full mode, and random ones.

    No number is 1, 0 or -1, as a VJP that forgets to multiply by it would be right by accident,
    and both signs come up.
    """
    shape = (PROJECTIONS + 1, m)
    numbers = 2.0 ** (rng.uniform(0.3, 1.2, shape) * rng.choice([-1, 1], shape))
    numbers = numbers.astype(np.float16).astype(np.float64)  # the same number in every dtype
    signs = rng.choice([-1, 1], m)
    dense = np.array([signs * numbers[0], -signs * numbers[1]])
    if mode == "fast" or m < 2:
        return dense
    return np.concatenate([np.diag(rng.choice([-1, 1], m) * numbers[2]), dense])


def unit_vectors(scale: Array, elements: Iterable[int]) -> Iterator[Array]:
    """Yield a direction for each of some elements: a change of that element by its own size."""
    for j in elements:
        direction = np.zeros(scale.size)
        direction[j] = scale[j]
        yield direction


def random_directions(scale: Array, rng: np.random.Generator) -> Array:
    """Draw a few directions that change each element by about half its own size."""
    # Not by more, as a step in float16 is a tenth of that, and kinks may be near.
    return scale * rng.normal(0, 0.5, (PROJECTIONS if scale.size else 0, scale.size))


def locate(point: Point, k: int, cotangent: Array, gradient: Array, direction: Array) -> int:
    """Find an element whose derivative is wrong, by halving: 20 steps for a million.

    The error is a sum over the elements, so one half of them has at least half of it.
    """

    def error(start: int, end: int) -> float:
        part = np.zeros(direction.size)
        part[start:end] = direction[start:end]
        (ahead, behind), change = point.ends(k, part.reshape(point.inputs[k].shape))
        found = gradient[start:end] @ change[start:end]
        return float(np.nan_to_num(np.abs(found - cotangent @ (ahead - behind)), nan=np.inf))

    moving = np.flatnonzero(direction)
    start, end = int(moving[0]), int(moving[-1]) + 1
    while end - start > 1:
        middle = (start + end) // 2
        start, end = max((start, middle), (middle, end), key=lambda half: error(*half))
    return start
