"""Comparisons with the course's own framework, and the numbers to compare on."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from . import reference
from .case import Plain
from .door import Door
from .stage import Fault, Stage, Suspect

Array = NDArray[Any]
Shape = tuple[int, ...]

RIGHT = Door(reference)

#: The simplest first: Hypothesis shrinks to those.
SHAPES: list[Shape] = [(), (2,), (1,), (3,), (2, 3), (2, 2), (1, 3), (2, 1, 3), (2, 2, 2)]


def close(found: Array, expected: Array, rtol: float = 1e-6) -> bool:
    """Tell whether two arrays are equal but for rounding: shapes, infinities and all."""
    if found.shape != expected.shape:
        return False
    with np.errstate(all="ignore"):
        size = np.abs(expected)
        atol = 1e-10 + 1e-3 * rtol * float(size.max(initial=0.0))
        if np.isfinite(atol):  # the usual case, for which NumPy's own is slow
            return bool(np.all(np.abs(found - expected) <= atol + rtol * size))
        atol = 1e-10 + 1e-3 * rtol * float(size[np.isfinite(size)].max(initial=0.0))
        return bool(np.allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True))


def shown(array: Any, digits: int = 6) -> str:
    """Return an array in at most about 60 characters."""
    if array is None:
        return "None"
    array = np.asarray(array)
    if array.size > 6:
        return f"an array of shape {array.shape}"
    return np.array2string(array, precision=digits, separator=", ", suppress_small=True).replace(
        "\n", ""
    )


def apart(found: Any, expected: Any, show: Callable[[Any, int], str] = shown) -> tuple[str, str]:
    """Show two values with as many digits as tell them apart."""
    said = ("", "")
    for digits in (6, 9, 12, 17):
        said = show(found, digits), show(expected, digits)
        if said[0] != said[1]:
            break
    return said


def differing(found: Array, expected: Array) -> tuple[str, str]:
    """Say how two arrays differ: in shape, as a whole if they are small, or at one place."""
    if found.shape != expected.shape:
        return f"shape {found.shape}", f"shape {expected.shape}"
    if found.size <= 6:
        return apart(found, expected)
    with np.errstate(all="ignore"):
        distance = np.nan_to_num(np.abs(found - expected), nan=np.inf)
    place = np.unravel_index(int(np.argmax(distance)), found.shape)
    at = f"[{', '.join(map(str, place))}]"
    said = apart(found[place], expected[place], lambda number, digits: f"{number:.{digits}g}")
    return f"{said[0]} at {at}", said[1]


# ----------------------------------------------------------------------------- the numbers


#: A case's seed, and how many arrays have been drawn in it: no two are the same.
DRAWN: list[int] = []

SEEDS = st.integers(0, 2**16 - 1)


def numbers(draw: Any, shape: Shape, low: float = -2.0, high: float = 2.0) -> Array:
    """Draw an array of numbers of few digits that are not round, none of them near 0."""
    if not DRAWN:
        DRAWN.extend((draw(SEEDS), 0))
    DRAWN[1] += 1
    rng = np.random.default_rng(DRAWN)
    if low > 0:
        return np.asarray(rng.uniform(low, high, shape).round(3))
    signs = rng.choice([-1, 1], shape)
    return np.asarray((rng.uniform(0.1, high, shape) * signs).round(3))


def a_shape(draw: Any, door: Door, min_dims: int = 0, max_dims: int = 3) -> Shape:
    """Draw a shape; for an engine of single numbers it is that of one."""
    if door.scalar:
        return ()
    shapes = [shape for shape in SHAPES if min_dims <= len(shape) <= max_dims]
    return tuple(draw(st.sampled_from(shapes)))


def a_cotangent(z: Array) -> Array:
    """Return the cotangent at the output: never ones."""
    return cotangent_of(z.shape).copy()


@functools.cache
def cotangent_of(shape: Shape) -> Array:
    """Return the cotangent for a shape: always the same one."""
    rng = np.random.default_rng(int(np.prod(shape)))
    return np.asarray((rng.uniform(0.3, 2.0, shape) * rng.choice([-1, 1], shape)).round(2))


# ------------------------------------------------------------------------- the comparisons


def check_value(door: Door, line: str, where: str = "", **inputs: Any) -> None:
    """Compare the value that a line gives to ``z``."""
    expected = RIGHT.start(**inputs)(line).value("z")
    found = value_of(door.start(**inputs)(line), where)
    if not close(found, expected):
        said = differing(found, expected)
        raise Fault(
            f"z is {said[0]}", said[1], where, line=line, values=found, right=expected, **inputs
        )


def check_gradients(door: Door, *lines: str, where: str = "", **inputs: Any) -> None:
    """Compare the gradients of ``z`` for a generic cotangent, of all inputs that are tensors."""
    right = RIGHT.start(**inputs)(*lines)
    value = right.value("z")
    g = a_cotangent(value)
    right.backward("z", g)
    run = door.start(**inputs)(*lines)
    found = value_of(run, where)
    if not close(found, value):
        said = differing(found, value)
        raise Fault(f"z is {said[0]}", said[1], where, line=lines[-1], values=found)
    leave_in_memory(inputs)
    run.backward("z", g)
    for name, given in inputs.items():
        if isinstance(given, np.ndarray):
            compare_gradient(run, name, right.gradient(name), where, line=lines[-1], g=g, **inputs)


def check_beginning(door: Door, *lines: str, **inputs: Any) -> None:
    """Compare the gradients of a single number ``z``, from which backward has no argument."""
    if door.own is not None:
        return  # it has another name there, and is given an array
    inputs = {name: inputs[name] for name in names_in(lines)}
    right = RIGHT.start(**inputs)(*lines, "z.backward()")
    run = door.start(**inputs)(*lines)
    run.value("z")
    run("z.backward()")
    for name in inputs:
        compare_gradient(
            run, name, right.gradient(name), "Tensor.backward", line="", begins=True, **inputs
        )


def leave_in_memory(inputs: dict[str, Any]) -> None:
    """Leave numbers in the memory that `np.empty` may get next, so that it is not all zeros."""
    for given in inputs.values():
        if isinstance(given, np.ndarray):
            _ = [np.full(given.shape, 77.0) for _ in range(6)]


def value_of(run: Any, where: str) -> Array:
    """Return the values of ``z``; if it is not a Tensor, say where it was made."""
    try:
        return np.asarray(run.value("z"))
    except Fault as fault:
        fault.where = fault.where or where
        raise


def compare_gradient(run: Any, name: str, right: Any, where: str, **data: Any) -> None:
    """Compare the gradient of one leaf."""
    found = run.gradient(name)
    expected = np.zeros(run.value(name).shape) if right is None else right
    data = {**data, "leaf": name, "gradient": found}
    if found is None:
        if not np.any(expected):
            return
        raise Fault(f"{name}.grad is None", shown(expected), where, nothing=True, **data)
    if not close(found, expected):
        said = differing(found, expected)
        nothing = found.shape == expected.shape and not np.any(found)
        raise Fault(f"{name}.grad is {said[0]}", said[1], where, nothing=nothing, **data)


def is_right(door: Door, *lines: str, **inputs: Any) -> bool:
    """Tell whether the gradients of ``z`` are right; an error counts as wrong."""
    try:
        check_gradients(door, *lines, **inputs)
    except Exception:
        return False
    return True


# ------------------------------------------------------------------------ calls by themselves

OWN_CALL = "two calls before one backward pass: each remembers its own values"
CHANGES_G = (
    "a vjp changes the g that it is given, and others have the same array: compute a new one, as "
    "in `g * slope`, without `*=`"
)
OUTSIDE = (
    "what a call has to remember is kept outside of it, in an object, a class or a global, where "
    "the next call overwrites it: keep it in variables of the call, which its vjp still sees"
)


def mind_own_calls(
    stage: Stage,
    pairs: Sequence[tuple[str, str, str]],
    again: bool = True,
    shapes: dict[str, Shape] | None = None,
    sentence: str = OWN_CALL,
    **options: Any,
) -> None:
    """Add a property to a stage, that calls do not know of each other, and its suspect.

    Parameters
    ----------
    pairs
        Two calls in the names ``{0}`` and ``{1}``, as ``"{0} * {1}"``, and the code to look at.
    again
        Whether the second call may use what the first one has used.
    shapes
        Those of x, y, u and v, if they are not all the same.
    sentence
        What the student is shown.
    """
    cases: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {}
    for first, second, where in pairs:
        # The sum may give both calls the very same g.
        variants = (("u", "v", "z = a - b"), ("u", "v", "z = a + b"), ("x", "v", "z = a - b"))
        for other, one, last in variants[: 2 + again]:
            a = f"a = {first.format('x', 'y')}"
            lines = (a, f"b = {second.format(other, one)}", last)
            twin = (a, f"b = {first.format(other, one if other == 'u' else 'y')}", last)
            cases[lines] = (twin, where)

    @stage.property(sentence, examples=2, **options)
    def own_calls(door: Door, draw: Any) -> None:
        for lines, (_, where) in cases.items():
            inputs = {
                name: numbers(draw, () if door.scalar else (shapes or {}).get(name, (3, 3)), 0.5)
                for name in names_in(lines)
            }
            check_gradients(door, *lines, where=where, **inputs)

    @stage.suspect(OUTSIDE)
    def outside(door: Door, fault: Fault) -> bool:
        lines = tuple(door.case.lines[:3])
        if lines in cases:
            inputs = door.case.inputs
            return not changes_g(door, fault) and only_together(lines, door, inputs)
        if fault.where != "Tensor.backward":  # a graph of many calls
            return False
        rng = np.random.default_rng(2)
        drawn = {
            n: rng.uniform(0.5, 2, () if door.scalar else (shapes or {}).get(n, (3, 3)))
            for n in "xyuv"
        }
        return any(
            not is_right(door, *lines, **{n: drawn[n] for n in names_in(lines)})
            and only_together(lines, door, drawn)
            for lines in cases
        )

    @stage.suspect(CHANGES_G)
    def changes_g(door: Door, fault: Fault) -> bool:
        lines = tuple(door.case.lines[:3])
        if lines not in cases or lines[2] != "z = a + b":
            return False
        given = {name: door.case.inputs[name] for name in names_in(lines)}
        return is_right(door, *lines[:2], "z = 2 * a + 3 * b", **given)

    def only_together(lines: tuple[str, ...], door: Door, inputs: dict[str, Any]) -> bool:
        given = {name: inputs[name] for name in names_in(lines)}
        twin = cases[lines][0]
        same = {
            name: given.get({"u": "x", "v": "y"}.get(name, name), given.get(name))
            for name in names_in(twin)
        }
        return is_right(door, *twin, **same) and all(
            is_right(door, f"z{line[1:]}", **{n: given[n] for n in names_in([line])})
            for line in lines[:2]
        )


def asks_for_g(door: Door, fault: Fault) -> bool:
    """Tell whether backward has to be given something."""
    said = str(fault.data.get("error", ""))
    return fault.data.get("kind") == "TypeError" and "missing" in said and "argument" in said


def begins_with_a_number(door: Door, fault: Fault) -> bool:
    """Tell whether backward is right only if it is given an array."""
    if "number" in fault.data:
        return True
    if door.case.lines[-1:] != ["z.backward()"] or "error" not in fault.data:
        return False
    lines, inputs = door.case.lines[:-1], door.case.inputs
    door.start(**inputs)(*lines).backward("z", np.array(1.0))
    return not asks_for_g(door, fault)


#: What is wrong where backward has no argument.
BEGINNING = [
    Suspect(
        "backward() can be called without an argument: `def backward(self, g=None)`, and None "
        "stands for 1",
        asks_for_g,
        where="Tensor.backward",
    ),
    Suspect(
        "the way back begins with a Python number, which has no shape: begin with an array,"
        " np.ones_like(self.data)",
        begins_with_a_number,
    ),
]


def names_in(lines: Sequence[str]) -> list[str]:
    """Return which of x, y, u and v are used."""
    return [name for name in "xyuv" if re.search(rf"\b{name}\b", " ".join(lines))]


# --------------------------------------------------------------------- formulas as suspects


def wrong_gradient(
    line: str, leaf: str, formula: Callable[..., Any], cause: str, signed: bool = False
) -> Suspect:
    """Make a suspect: a wrong derivative of an operation, as a formula of ``g, x, y, z``.

    It explains a fault if the student's gradient at other points is the formula's, and is not right
    everywhere. With `signed`, the points have either sign.
    """

    def explains(door: Door, fault: Fault) -> bool:
        if fault.data.get("line") != line or fault.data.get("leaf") != leaf:
            return False
        given = {k: v for k, v in fault.data.items() if k in ("x", "y") and v is not None}
        wrong = 0
        for seed in range(6 if signed else 2):
            rng = np.random.default_rng(seed)
            inputs = {k: like(rng, v, signed) for k, v in given.items()}
            right = RIGHT.start(**inputs)(line)
            z = right.value("z")
            g = rng.uniform(0.5, 2, z.shape) * rng.choice([-1, 1], z.shape)
            right.backward("z", g)
            found = door.start(**inputs)(line).backward("z", g).gradient(leaf)
            plain = {k: v.array if isinstance(v, Plain) else v for k, v in inputs.items()}
            said = np.asarray(formula(**{"g": g, "z": z, "x": None, "y": None, **plain}))
            expected = right.gradient(leaf)
            if expected is None or found is None or not close(found, said):
                return False
            wrong += not close(said, expected)
        return wrong > 0

    return Suspect(cause, explains)


def like(rng: np.random.Generator, given: Any, signed: bool = False) -> Any:
    """Draw other numbers of the same shape and kind, and sign unless it may be either."""
    if isinstance(given, Plain):
        return Plain(like(rng, given.array, signed))
    if not isinstance(given, np.ndarray) or given.dtype.kind != "f":
        return given
    signs = rng.choice([-1, 1], given.shape) if signed else np.where(given < 0, -1, 1)
    return np.asarray(rng.uniform(0.5, 2, given.shape) * signs)


def wrong_value(lines: tuple[str, ...], formula: Callable[..., Any], cause: str) -> Suspect:
    """Make a suspect: a wrong value of an operation, as a formula of ``x`` and ``y``."""

    def explains(door: Door, fault: Fault) -> bool:
        line = fault.data.get("line")
        if line not in lines or fault.data.get("values") is None:
            return False
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            given = {k: v for k, v in fault.data.items() if k in ("x", "y", "a")}
            inputs = {k: like(rng, v) for k, v in given.items()}
            plain = {k: v.array if isinstance(v, Plain) else v for k, v in inputs.items()}
            said = np.asarray(formula(**{"x": None, "y": None, "a": None, **plain}))
            right = RIGHT.start(**inputs)(line).value("z")
            found = door.start(**inputs)(line).value("z")
            if close(said, right) or not close(found, said):
                return False
        return True

    return Suspect(cause, explains)
