"""Stage 4, a check of your own: move x a little, look, compare."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..case import Plain
from ..compare import numbers, shown
from ..stage import Fault, Stage

stage = Stage(
    number=4,
    name="a check of your own",
    contract=("numerical_gradient", "check_gradient"),
    needs=(1, 2),
    hints=(
        "Which is nearer the tangent, a chord from here or one across?",
        "(f(x + h) - f(x - h)) / (2 * h), element by element, with h = 6e-6; then compare with "
        "what backward says, relative to its size.",
        "`for i in np.ndindex(x.shape): ...` on a float copy of x; put x[i] back before the next. "
        "In check_gradient `assert np.all(np.abs(a - b) <= 1e-5 * np.abs(b).max())`.",
    ),
    skeleton='''\
def numerical_gradient(f, x):
    """Return the derivatives of f, which maps an array to a number, at the array x."""
    ...  # stage 4: move each element by h, and look


def check_gradient(f, x):
    """Return True if backward is right for f, a map from a Tensor to a 0-d Tensor, at the array x.

    Raise an AssertionError if it is not.
    """
    ...
''',
)

FUNCTIONS = {
    "np.sum(x ** 2)": lambda x: 2 * x,
    "np.sum(x ** 3)": lambda x: 3 * x**2,
    "np.sum(np.exp(x))": np.exp,
    "np.sum(np.sin(3 * x))": lambda x: 3 * np.cos(3 * x),
    "np.prod(x)": lambda x: np.prod(x) / x,
    "100 + np.sum(5 * x)": lambda x: np.full_like(x, 5.0),
}


def numerical(door, text, x):
    run = door.start(x=Plain(x))(f"f = lambda x: float({text})")
    return run("found = numerical_gradient(f, x)")


def checked(run, expected, where="numerical_gradient", rtol=1e-7, **data):
    found = run.door.as_array(run["found"])
    if found is None:
        raise Fault(f"it returns {run['found']!r}", "an array of the shape of x", where)
    largest = float(np.max(np.abs(expected)))
    if found.shape != expected.shape or not np.all(np.abs(found - expected) <= rtol * largest):
        error = ""
        if found.shape == expected.shape:
            error = f", an error of {np.max(np.abs(found - expected) / np.abs(expected)):.1g}"
        raise Fault(f"{shown(found)}{error}", shown(expected), where, **data)


@stage.property("numerical_gradient is right to seven digits", examples=3)
def good(door, draw):
    for shape in ((2,), (3,), (2, 2)):
        x = numbers(draw, shape, low=0.3)
        for text, slope in FUNCTIONS.items():
            checked(numerical(door, text, x.copy()), slope(x), numerical=True)


@stage.property("it takes 0-d arrays, and arrays of integers, too", examples=1)
def of_other_kinds(door, draw):
    for text in ("np.sum(x ** 2)", "np.sum(x ** 3)"):
        for x in (np.array(1.5), np.array([1, 2, 3]), np.array(2)):
            run = numerical(door, text, x.copy())
            checked(run, np.asarray(FUNCTIONS[text](x), float), integers=x.dtype.kind == "i")


@stage.property("x is the same afterwards", examples=2)
def x_stays(door, draw):
    x = numbers(draw, (3,))
    run = numerical(door, "np.sum(x ** 2)", x.copy())
    if not np.array_equal(run["x"], x):
        raise Fault("x has changed", "the same numbers as before", "numerical_gradient", moved=True)


# ----------------------------------------------------------------------------- check_gradient

SLOPES = {
    "array(t) ** 2": "2 * array(t)",
    "array(t) ** 3": "3 * array(t) ** 2",
    "np.sin(array(t))": "np.cos(array(t))",
    "np.exp(array(t))": "np.exp(array(t))",
}
WRONG = {
    "2 % too large": "* 1.02",
    "3 % too small": "* 0.97",
    "of the wrong sign": "* -1",
    "0": "* 0",
    "wrong in its last element": "* (1 + (place == np.size(array(t)) - 1))",
    "wrong in its first element": "* (1 + 0.1 * (place == 0))",
}


#: The number of each element; of the array's shape, as a gradient has to be.
PLACE = "np.arange(np.size(array(t))).reshape(np.shape(array(t)))"

#: Where the last element's derivative is far smaller than the others', and counts as much.
SMALL_LAST = np.array([1.5, -0.8, 2e-4])


def with_derivative(text, change="", size=1.0):
    """Write f of a Tensor to a 0-d Tensor, through `node`, with a derivative that may be wrong."""
    return (
        f"f = lambda t: node(np.sum({size} * {text}), (t,), "
        f"lambda g: (g * {size} * {SLOPES[text]} {change.replace('place', PLACE)},))"
    )


def answer(door, f, x):
    """Return what check_gradient says: True, False for an AssertionError."""
    run = door.start(x=float(x) if door.scalar else Plain(x.copy()))
    run.names["array"] = door.value
    run.case.lines.append("array = lambda t: t.data")
    run(f)
    try:
        run("found = check_gradient(f, x)")
    except AssertionError:
        return False
    if not (isinstance(run["found"], (bool, np.bool_)) and run["found"]):
        raise Fault(
            f"it returns {run['found']!r}",
            "True where the gradient is right, or an AssertionError",
            "check_gradient",
            returns=True,
        )
    return True


def point(door, draw):
    if door.scalar:
        return numbers(draw, (), low=0.3)
    return numbers(draw, draw(st.sampled_from([(3,), (4,), ()])), low=0.3)


@stage.property("check_gradient returns True where backward is right", examples=3)
def accepts(door, draw):
    x = point(door, draw)
    for size in (1.0, 1e6, 1e-3):
        for text in [None] if door.scalar else SLOPES:
            f = f"f = lambda t: t * t * {size}" if text is None else with_derivative(text, "", size)
            accept(door, f, x, refused=size)


#: Where the derivative is 0: as a whole, and in one element.
ZEROS = {"0 * array(t)": "0 * array(t)", "array(t) * (place > 0)": "1.0 * (place > 0)"}


@stage.property("and also where the gradient is 0, as a whole or in an element", examples=2)
def accepts_zero(door, draw):
    x = point(door, draw)
    for value, slope in ZEROS.items():
        f = f"f = lambda t: node(np.sum({value}), (t,), lambda g: (g * {slope},))"
        f = f.replace("place", PLACE)
        accept(door, "f = lambda t: t * 0" if door.scalar else f, x, refused=0)


def accept(door, f, x, **data):
    if not answer(door, f, x):
        raise Fault("an AssertionError", "True, as the gradient is right", "check_gradient", **data)


@stage.property(
    "check_gradient raises an AssertionError where backward is wrong by 1 % or more", examples=3
)
def refuses(door, draw):
    x = point(door, draw)
    for size in (1.0, 1e-4, 1e4):
        if door.scalar:  # a gradient of t where it should be 2 * t
            refuse(door, f"f = lambda t: t * Tensor(array(t)) * {size}", x, size, "half")
            continue
        text = draw(st.sampled_from(list(SLOPES)))
        for kind, change in WRONG.items():
            refuse(door, with_derivative(text, change, size), x, size, kind)
    if door.scalar:
        return
    for size in (1.0, 1e4):
        last = with_derivative("array(t) ** 2", WRONG["wrong in its last element"], size)
        refuse(door, last, SMALL_LAST, size, "wrong in a small element", hidden=True)


def refuse(door, f, x, size, kind, **data):
    if answer(door, f, x):
        raise Fault(
            f"True, for a gradient that is {kind}",
            "an AssertionError",
            "check_gradient",
            accepted=size,
            kind=kind,
            **data,
        )


@stage.property("check_gradient refuses a gradient that is nan", arrays=True, examples=1)
def refuses_nan(door, draw):
    f = with_derivative("array(t) ** 2", "* np.nan")
    if answer(door, f, numbers(draw, (3,), low=0.3)):
        raise Fault("True, for a gradient of nan", "an AssertionError", "check_gradient", nan=True)


# ------------------------------------------------------------------------------- suspects


def error_at(door, text, x=1.5):
    """Return the error of numerical_gradient for a function of one number."""
    run = numerical(door, text, np.array([x]))
    return float(np.ravel(run["found"])[0] - FUNCTIONS[text](np.array([x]))[0])


CUBE, SQUARE, LINE = "np.sum(x ** 3)", "np.sum(x ** 2)", "100 + np.sum(5 * x)"


@stage.suspect(
    "the chord begins at x, and its error is as large as h: take f(x + h) - f(x - h), over 2 * h"
)
def one_sided(door, fault):
    # The second derivative of the square is 2, of the cube 9.
    square, cube = error_at(door, SQUARE), error_at(door, CUBE)
    return "numerical" in fault.data and abs(square) > 1e-7 and abs(cube / square - 4.5) < 0.5


@stage.suspect("h is too large: the error grows as its square; take about 6e-6")
def step_too_large(door, fault):
    square, cube = error_at(door, SQUARE), error_at(door, CUBE)
    return "numerical" in fault.data and abs(square) < 1e-9 and cube > 1e-7


@stage.suspect("h is too small: the difference is lost in rounding; take about 6e-6")
def step_too_small(door, fault):
    if "numerical" not in fault.data:
        return False
    errors = [abs(error_at(door, LINE, x)) for x in (1.1, 1.3, 1.7)]
    return max(errors) > 1e-7 and max(abs(error_at(door, SQUARE, x)) for x in (1.1, 1.7)) < 0.5


@stage.suspect("the difference is divided by h instead of 2 * h, or the other way round")
def divided_wrongly(door, fault):
    return "numerical" in fault.data and any(
        abs(error_at(door, SQUARE) - wrong) < 1e-4 for wrong in (3.0, -1.5)
    )


@stage.suspect("an element is not put back before the next one is moved")
def not_moved_back(door, fault):
    x = np.array([1.5, 0.5])
    run = numerical(door, "np.prod(x)", x.copy())
    off = np.abs(run["found"] - x[::-1])
    alone = abs(error_at(door, SQUARE))
    return (
        ("moved" in fault.data or "numerical" in fault.data)
        and alone < 1e-7
        and (off[0] < 1e-8 < off[1] or not np.array_equal(run["x"], x))
    )


@stage.suspect("the array of integers cannot hold x + h: make a float copy of x first")
def integers(door, fault):
    return bool(fault.data.get("integers")) or (
        fault.data.get("kind") is not None and "nothing" in fault.data
    )


@stage.suspect(
    "the error that is allowed is a fixed number: compare it with the size of the gradient"
)
def absolute(door, fault):
    small = fault.data.get("accepted") == 1e-4 or fault.data.get("refused") == 1e6
    small = small or "hidden" in fault.data
    others = [
        answer(door, with_derivative("array(t) ** 2", WRONG["of the wrong sign"], size), np.ones(3))
        for size in (1.0, 1e-4)
    ]
    right = [
        answer(door, with_derivative("array(t) ** 2", size=size), np.full(3, 1.7))
        for size in (1.0, 1e6)
    ]
    return small and (others == [False, True] or right == [True, False])


@stage.suspect(
    "every comparison with nan is false: ask `assert error <= limit`, not `if error > limit`"
)
def nan_passes(door, fault):
    return "nan" in fault.data


@stage.suspect(
    "0 is a right gradient, too: 0 / 0 is nan and 0 < 0 is false, so ask for an error that is <= "
    "limit, without dividing by the gradient"
)
def refuses_zero(door, fault):
    return fault.data.get("refused") == 0


@stage.suspect("only a part of the gradient is compared: all elements count")
def partly(door, fault):
    if "accepted" not in fault.data or "hidden" in fault.data:
        return False
    x = np.array([0.5, 0.8, 1.1])
    said = {kind: answer(door, with_derivative("array(t) ** 2", WRONG[kind]), x) for kind in WRONG}
    return not said["2 % too large"] and (
        said["wrong in its last element"] or said["wrong in its first element"]
    )


@stage.suspect(
    "a small element hides among large ones, as in a norm or a maximum of all: compare each "
    "element by itself, np.abs(a - b) with a limit for each"
)
def all_at_once(door, fault):
    return "hidden" in fault.data and not absolute(door, fault)


@stage.suspect(
    "it returns the outcome, where it should raise: an AssertionError for a wrong gradient"
)
def returns_outcome(door, fault):
    return "returns" in fault.data


@stage.suspect("the comparison is too generous: 1 % is an error, and rounding about 1e-9")
def too_generous(door, fault):
    if "accepted" not in fault.data or "hidden" in fault.data:
        return False
    x = np.array([0.5, 0.8, 1.1])
    said = {kind: answer(door, with_derivative("array(t) ** 2", WRONG[kind]), x) for kind in WRONG}
    return said["2 % too large"] and not said["of the wrong sign"]
