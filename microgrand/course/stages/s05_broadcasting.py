"""Stage 5, broadcasting undone: what was repeated forward is summed backward."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from ...testing import strategies
from ..case import Plain
from ..compare import a_cotangent, check_gradients, mind_own_calls, numbers
from ..stage import Fault, Stage
from .s01_values import OPERATORS, REFLECTED
from .s02_one_use import BINARY

stage = Stage(
    number=5,
    name="broadcasting",
    contract=("Tensor.__add__",),
    lines=("undo_broadcasting", "Tensor.backward"),
    needs=(1, 2),
    hints=(
        "y has 3 numbers, and the gradient that comes back 6. Which of the 6 belong to y[0]?",
        "NumPy repeats an operand along axes that it lacks, and along those of length 1. "
        "Each copy gets a gradient, and the original the sum of them.",
        "While the gradient has more axes than the operand, sum over the first; then sum, with "
        "keepdims=True, over each axis in which the operand has length 1.",
    ),
    skeleton="""\
# Stage 5. No new names: x + y, x * y and so on for shapes that NumPy broadcasts.
# The gradient of an operand has the operand's shape.
""",
)


PAIRS = [
    ((3,), (2, 3)),
    ((2, 3), (2, 1)),
    ((1, 1), (2, 3)),
    ((), (2, 3)),
    ((3, 1), (1, 2)),
    ((3,), (1, 3)),
    ((2, 2), (2,)),
    ((2, 3, 2), (3, 1)),
    ((1, 3, 1), (2, 1, 2)),
]


def two_shapes(draw):
    shapes = draw(st.sampled_from(PAIRS) | strategies.broadcastable_shapes(2, min_side=1))
    assume(shapes[0] != shapes[1])
    return shapes


@stage.property("the gradient of an operand has the operand's shape", examples=1)
def shapes(door, draw):
    if door.scalar:
        raise Fault(
            "a Tensor is a single number: its backward takes no g",
            "from here on, Tensor(array) and backward(g) with an array of its shape",
            "Tensor.backward",
        )
    for pair, (line, where) in itertools.product(PAIRS, OPERATORS.items()):
        x, y = (numbers(draw, shape, low=0.5) for shape in pair)
        run = door.start(x=x, y=y)(line)
        run.backward("z", a_cotangent(run.value("z")))
        for name, operand in (("x", x), ("y", y)):
            found = run.gradient(name)
            shape = None if found is None else found.shape
            if shape != operand.shape:
                raise Fault(
                    f"{name}.grad is None" if shape is None else f"{name}.grad has shape {shape}",
                    f"shape {operand.shape}",
                    where,
                    nothing=shape is None,
                )


@stage.property("and it is right: the sum over all copies")
def sums(door, draw):
    x, y = (numbers(draw, s, low=0.5) for s in two_shapes(draw))
    for line, where in OPERATORS.items():
        check_gradients(door, line, where=where, x=x, y=y)


@stage.property("the same with an array on either side", examples=7)
def beside_arrays(door, draw):
    x, a = (numbers(draw, s, low=0.5) for s in two_shapes(draw))
    for op, where in REFLECTED.items():
        line = f"z = x {op} a"
        check_gradients(door, line, where=OPERATORS[f"z = x {op} y"], x=x, a=Plain(a))
        check_gradients(door, f"z = a {op} x", where=where, x=x, a=Plain(a))


@stage.property("and where a broadcast operand is used twice", examples=5)
def used_twice(door, draw):
    x, y = (numbers(draw, s, low=0.5) for s in two_shapes(draw))
    check_gradients(door, "w = x * y", "z = w * x + y", where="Tensor.backward", x=x, y=y)


mind_own_calls(
    stage,
    [(f"{{0}} {op} {{1}}", f"{{0}} {op} {{1}}", f"Tensor.__{name}__") for op, name in BINARY],
    again=False,
    shapes={"x": (2, 3), "y": (3,), "u": (2, 1), "v": (2, 3)},
)

# ------------------------------------------------------------------------------- suspects

BIG = np.arange(1.0, 7.0).reshape(2, 3)
G = np.array([[1.0, -2.5, 4.75], [8.5, -17.0, 31.25]])


def outcome(door, shape, line="z = x + y", g=G):
    """Return the gradient of an operand of a shape beside one of g's, or None if it fails."""
    run = door.start(x=np.ones(shape), y=np.ones(g.shape))(line)
    try:
        return run.backward("z", g).gradient("x")
    except Exception:
        return None


def says(found, expected):
    return found is not None and found.shape == expected.shape and np.allclose(found, expected)


COLUMN, ROW = G.sum(1, keepdims=True), G.sum(0)


@stage.suspect(
    "broadcasting is not undone: sum the gradient over the axes along which the operand was "
    "repeated"
)
def not_undone(door, fault):
    return all(not says(outcome(door, s), r) for s, r in (((2, 1), COLUMN), ((3,), ROW))) and all(
        (found := outcome(door, s)) is None or found.shape == (2, 3) for s in ((2, 1), (3,))
    )


@stage.suspect(
    "axes of length 1 are forgotten: the gradient is summed over the axes in front only, and has "
    "to be summed over stretched ones, too"
)
def only_leading(door, fault):
    stretched = outcome(door, (2, 1))
    return says(outcome(door, (3,)), ROW) and (stretched is None or stretched.shape == (2, 3))


@stage.suspect(
    "axes in front are forgotten: an operand that has fewer axes was repeated along new first ones"
)
def only_stretched(door, fault):
    leading = outcome(door, (3,))
    return says(outcome(door, (2, 1)), COLUMN) and (leading is None or leading.ndim > 1)


@stage.suspect("the sum over an axis of length 1 has lost that axis: use keepdims=True")
def keepdims_forgotten(door, fault):
    found = outcome(door, (2, 1))
    return found is not None and found.shape == (2,) and says(outcome(door, (3,)), ROW)


@stage.suspect("the copies' gradients are averaged: they have to be summed")
def mean_for_sum(door, fault):
    return says(outcome(door, (2, 1)), COLUMN / 3) or says(outcome(door, (3,)), ROW / 2)


@stage.suspect("only one of the copies counts: sum over all of them")
def one_copy(door, fault):
    found = outcome(door, (3,))
    return any(says(found, row) for row in G) or any(
        says(outcome(door, (2, 1)), G[:, i : i + 1]) for i in range(3)
    )


@stage.suspect("it is summed over the last axes: NumPy adds the missing axes in front")
def from_the_right(door, fault):
    g = np.array([[1.0, 2.0], [4.0, 8.0]])
    return says(outcome(door, (2,), g=g), g.sum(1))


@stage.suspect(
    "only the second operand's gradient is summed, or only the first one's: both may be repeated"
)
def one_side(door, fault):
    def second(shape):
        run = door.start(x=np.ones((2, 3)), y=np.ones(shape))("z = x + y")
        try:
            return run.backward("z", G).gradient("y")
        except Exception:
            return None

    right = [says(outcome(door, (3,)), ROW), says(second((3,)), ROW)]
    return right in ([True, False], [False, True])


@stage.suspect("the sum is taken once, and the operand was repeated along several axes")
def one_axis(door, fault):
    g = np.arange(1.0, 9.0).reshape(2, 2, 2)
    single = says(outcome(door, (3,)), ROW) and says(outcome(door, (2, 1)), COLUMN)
    return single and not (
        says(outcome(door, (2,), g=g), g.sum((0, 1)))
        and says(outcome(door, (1, 1, 2), g=g), g.sum((0, 1), keepdims=True))
    )
