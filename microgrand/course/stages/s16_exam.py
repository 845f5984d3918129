"""Stage 16, the exam: programs that nobody wrote."""

from __future__ import annotations

import numpy as np

from ...testing import strategies
from ..compare import check_gradients, is_right, numbers
from ..stage import Stage, Suspect

stage = Stage(
    number=16,
    name="exam",
    contract=("Tensor",),
    lines=("Tensor.backward", "undo_broadcasting"),
    needs=(1, 2, 3, 5, 6, 7, 8),
    hints=(
        "Which of the two lines do you trust less?",
        "Operations that are right alone can be wrong together: where one changes an array that "
        "another one holds, or remembers something outside of its own call.",
        "`case.py` has the lines: check each alone with your check_gradient, and shorten the case "
        "until it passes.",
    ),
    skeleton="""\
# Stage 16. Nothing new: random programs of up to ten lines of all that you have written.
""",
)

LINES = [
    "{0} + {1}",
    "{0} * {1}",
    "{0} - {1}",
    ("{0} / {1}", "{1}"),
    "-{0}",
    "0.7 * {0}",
    "1.3 - {0}",
    "{0} ** 2",
    ("{0}.relu()", "{0}", "np.maximum({0}, 0)"),
    ("{0}.exp()", None, "np.exp({0})"),
    ("{0}.tanh()", None, "np.tanh({0})"),
    ("({0} * {0} + 1).log()", None, "np.log({0} * {0} + 1)"),
    "{0} @ {1}",
    "{0} @ {1}.transpose()",
    "{0}.sum()",
    "{0}.sum(axis=0)",
    "{0}.sum(axis=-1, keepdims=True)",
    "{0}.mean(axis=0)",
    "{0}.transpose()",
    "{0}.reshape(-1)",
    "{0}[0]",
    "{0}[[0, -1, 0]]",
    "{0}[::-1]",
]


@stage.property("an operation beside another that is given the same gradient", examples=3)
def beside(door, draw):
    x = numbers(draw, (3, 3), low=0.5)
    for name, text in FUNCTIONS.items():
        y = numbers(draw, SHAPES.get(name, (3, 3)))
        for last in ("z = a + y", "z = y + a"):
            check_gradients(door, f"a = {text}", last, where="", x=x, y=y)


@stage.property("an operation after one that broadcasts", examples=2)
def after_broadcasting(door, draw):
    # What g is there: an array of its own, a view, one that is repeated, or in another order.
    for shape, repeated, calls in (
        ((3, 3), (3,), ("exp()", "sum(axis=0)", "transpose()", "reshape(9)")),
        ((3, 3), (3, 1), ("mean(axis=1)", "transpose()")),
        ((3,), (1,), ("sum()", "reshape(3, 1)")),
    ):
        x, y = numbers(draw, shape), numbers(draw, repeated)
        for call in calls:
            check_gradients(door, "a = x + y", f"z = a.{call}", where="", x=x, y=y)


@stage.property("random programs of all operations", points=3, examples=25, seconds=40)
def programs(door, draw):
    program = draw(strategies.programs(max_lines=10, expressions=LINES))
    check_program(door, draw, program)


@stage.property("and of few, which meet more often", points=2, examples=25, seconds=40)
def sums_and_moves(door, draw):
    few = [
        LINES[0],
        LINES[1],
        "{0}.sum(axis=0)",
        "{0}.transpose()",
        "{0}.reshape(-1)",
        "{0}[0]",
        "{0}[::-1]",
        LINES[9],
        LINES[11],
        "{0}.mean(axis=0)",
        "{0} * {0}.sum(axis=0)",
    ]
    check_program(door, draw, draw(strategies.programs(max_lines=6, expressions=few)))


def check_program(door, draw, program):
    inputs = dict(zip(program.names, program.inputs, strict=True))
    lines = [*program.lines, f"z = {program.lines[-1].split(' = ')[0]}"]
    check_gradients(door, *lines, where="", **inputs)


# ------------------------------------------------------------------------------- suspects

X, Y = (np.random.default_rng(s).uniform(0.5, 2, (3, 3)) for s in (1, 2))


def right(door, *lines, shape=(3, 3)):
    y = Y if shape == (3, 3) else np.random.default_rng(3).uniform(0.5, 2, shape)
    return is_right(door, *lines, x=X, y=y)


FUNCTIONS = {
    "exp": "x.exp()",
    "log": "x.log()",
    "tanh": "x.tanh()",
    "relu": "(x - 1.2).relu()",
    "-x": "(-x)",
    "x ** 2": "(x ** 2)",
    "x * y": "(x * y)",
    "sum": "x.sum(axis=0)",
    "mean": "x.mean(axis=0)",
    "reshape": "x.reshape(9)",
    "transpose": "x.transpose()",
    "index": "x[0]",
}
SHAPES = {"sum": (3,), "mean": (3,), "reshape": (9,), "index": (3,)}


def changes_g(name, text):
    def explains(door, fault):
        shape = SHAPES.get(name, (3, 3))
        beside = [right(door, f"a = {text}", z, shape=shape) for z in ("z = a + y", "z = y + a")]
        return right(door, f"z = {text}", shape=shape) and not all(beside)

    return Suspect(
        f"the vjp of {name} changes g in place, and another operand was given the same array: "
        "compute a new one",
        explains,
    )


@stage.suspect(
    "broadcasting is undone for some gradients and not for others, though their shapes are the "
    "same: look at nothing but shapes there",
    where="undo_broadcasting",
)
def looks_at_more_than_shapes(door, fault):
    found, x, y = (fault.data.get(key) for key in ("gradient", "x", "y"))
    if door.case.lines[:1] != ["a = x + y"] or found is None:
        return False
    return found.shape == np.shape(x + y) != y.shape and is_right(door, "z = x + y", x=x, y=y)


stage.suspects += [changes_g(name, text) for name, text in FUNCTIONS.items()]


@stage.suspect(
    "reshape does not keep the order of elements after a transpose: give it no order, or order='C'"
)
def order_of_elements(door, fault):
    return right(door, "z = x.reshape(9)") and not right(
        door, "a = x.reshape(9)", "z = a.reshape(3, 3).transpose()"
    )


@stage.suspect(
    "a vjp writes into its g, which np.broadcast_to may have made and nobody can write to: compute "
    "a new array"
)
def read_only(door, fault):
    return (
        fault.data.get("kind") == "ValueError" and "read-only" in fault.found and beside_right(door)
    )


def beside_right(door):
    return all(right(door, f"a = {FUNCTIONS[name]}", "z = y + a") for name in ("exp", "x * y"))
