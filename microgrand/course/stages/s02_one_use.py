"""Stage 2, one use: the chain rule, once."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..case import Plain
from ..compare import (
    BEGINNING,
    a_cotangent,
    a_shape,
    check_beginning,
    check_gradients,
    close,
    compare_gradient,
    mind_own_calls,
    numbers,
    wrong_gradient,
)
from ..door import kind_of
from ..stage import Fault, Stage, Suspect
from .s01_values import OPERATORS, REFLECTED, in_turn

stage = Stage(
    number=2,
    name="one use",
    contract=("Tensor.backward", "node"),
    lines=("Tensor.__init__", "Tensor.backward", "in_order", "node", "is_tensor", "as_tensor"),
    needs=(1,),
    hints=(
        "If z = a * b and a grows by 1, by how much does z grow?",
        "The gradient of an operand is g, the gradient of the result, times the local derivative. "
        "Every result remembers its parents and how to send g to them.",
        "`node(a * b, (x, y), lambda g: (g * b, g * a))`; backward calls the vjp, and hands the "
        "parts to the parents.",
    ),
    skeleton='''\
# Stage 2. Tensor gets two more things: a gradient, and the way back.
#
#     def backward(self, g=None):
#         ...  # g stands at this Tensor, of its shape; without one it is 1
#
# After z.backward(g), x.grad is the gradient of x, for every leaf x that z was made of, by one
# operator or by several in a row. A leaf is a Tensor that was not computed from others.
# Let every operator make its result with the function below.


def node(value, parents, vjp):
    """Make a Tensor from a computed array; vjp(g) returns a tuple: an array for each parent."""
    ...  # stage 2: the Tensor remembers its parents and the vjp
''',
)

BINARY = (("+", "add"), ("-", "sub"), ("*", "mul"), ("/", "truediv"))


@stage.property("the gradient of an operand is g times the local derivative", examples=5)
def each_operator(door, draw):
    shape = a_shape(draw, door, max_dims=2)
    x, y = numbers(draw, shape), numbers(draw, shape)
    for line, where, inputs in in_turn(x, y):
        check_gradients(door, line, where=where, **inputs)


WITH_NUMBERS = {
    "z = x - 3": "Tensor.__sub__",
    "z = x / 3": "Tensor.__truediv__",
    "z = 2 + x": REFLECTED["+"],
    "z = 2 - x": REFLECTED["-"],
    "z = 2 * x": REFLECTED["*"],
    "z = 2 / x": REFLECTED["/"],
}


@stage.property("the same with numbers on either side", examples=4)
def with_numbers(door, draw):
    x = numbers(draw, a_shape(draw, door, max_dims=2), low=0.2)
    for line, where in WITH_NUMBERS.items():
        check_gradients(door, line, where=where, x=x)


@stage.property("backward() of a single number begins with 1", examples=2)
def begins_with_one(door, draw):
    x, y = numbers(draw, (), low=0.2), numbers(draw, ())
    for lines in (["z = x * y"], *([line] for line in WITH_NUMBERS), ["w = -x", "z = w * y"]):
        check_beginning(door, *lines, x=x, y=y)


@stage.property(
    "and with an array: a vjp is given one, also where backward() has no argument",
    arrays=True,
    examples=1,
)
def begins_with_an_array(door, draw):
    if door.own is not None:
        return  # backward is given an array there
    x = numbers(draw, ())
    run = door.start(x=x, b=Plain(3 * x))
    run.names["node"] = door.names["node"]
    run("given = []", "vjp = lambda g: (given.append(g), (3 * g,))[1]")
    run("z = node(b, (x,), vjp)", "z.backward()")
    run.case.shown.append("given")
    for g in run["given"]:
        if not hasattr(g, "shape") and not door.is_tensor(g):
            raise Fault(
                f"the vjp is given {kind_of(g)}",
                "an array of the result's shape, here ()",
                "Tensor.backward",
                number=True,
            )


@st.composite
def trees(draw, names):
    """Draw an expression in which every name is used once."""
    if len(names) == 1:
        return draw(st.sampled_from(["{}", "{}", "-{}", "(2 * {})", "{} ** 2"])).format(names[0])
    cut = draw(st.integers(1, len(names) - 1))
    left, right = draw(trees(names[:cut])), draw(trees(names[cut:]))
    op = draw(st.sampled_from("+-*/"))
    if op == "/":  # by what is never near 0
        right = f"(1.5 + {right} ** 2)"
    return f"({left} {op} {right})"


@stage.property(
    "the chain rule: gradients pass through trees, in which every value is used once", examples=13
)
def through_trees(door, draw):
    names = "xyuv"[: draw(st.integers(2, 4))]
    line = f"z = {draw(trees(names))}"
    shape = a_shape(draw, door, max_dims=1)
    inputs = {name: numbers(draw, shape, low=0.5) for name in names}
    check_gradients(door, line, where="Tensor.backward", **inputs)


mind_own_calls(
    stage,
    [
        *((f"{{0}} {op} {{1}}", f"{{0}} {op} {{1}}", f"Tensor.__{name}__") for op, name in BINARY),
        ("-{0}", "-{0}", "Tensor.__neg__"),
        ("{0} ** 2", "{0} ** 3", "Tensor.__pow__"),
        ("2 / {0}", "3 / {0}", REFLECTED["/"]),
        ("2 * {0}", "3 * {0}", REFLECTED["*"]),
    ],
    again=False,
)


@stage.property(
    "node(value, parents, vjp) makes an operation of one's own", arrays=True, examples=4
)
def own_operation(door, draw):
    shape = a_shape(draw, door, max_dims=2)
    x, y = numbers(draw, shape), numbers(draw, shape)
    run = door.start(x=x, y=y, a=Plain(x), b=Plain(y))
    run(
        "vjp = lambda g: (2 * g * a * b, g * a ** 2)",
        "w = node(a ** 2 * b, (x, y), vjp)",
        "z = 2 * w",
    )
    g = a_cotangent(run.value("z"))
    run.backward("z", g)
    for name, right in zip("xy", (4 * g * x * y, 2 * g * x**2), strict=True):
        compare_gradient(run, name, right, "node", line="node", g=g, x=x, y=y)


@stage.property("backward leaves the data as it was", examples=3)
def data_stays(door, draw):
    shape = a_shape(draw, door, max_dims=1)
    inputs = {"x": numbers(draw, shape), "y": numbers(draw, shape)}
    for line in OPERATORS:
        run = door.start(**inputs)(line).backward("z", numbers(draw, shape))
        for name, before in inputs.items():
            if not np.array_equal(run.value(name), before):
                raise Fault(
                    f"{name}.data has changed", "the same numbers as before", "Tensor.backward"
                )


# ------------------------------------------------------------------------------- suspects

X, Y = np.array(1.5), np.array(0.75)


@stage.suspect(
    "a gradient never arrives there: the result must remember all of its parents, and backward "
    "must visit each"
)
def parent_forgotten(door, fault):
    nothing = bool(fault.data.get("nothing")) and fault.data.get("line") != "node"
    return nothing and not stops_early(door, fault)


@stage.suspect(
    "backward hands gradients to the parents, but these do not hand theirs on: visit every "
    "Tensor down to the leaves"
)
def stops_early(door, fault):
    if not fault.data.get("nothing"):
        return False
    run = door.start(x=X, y=Y)("w = x * y", "z = w * 2").backward("z", X)
    near = door.start(x=X, y=Y)("z = x * y").backward("z", X)
    return all(run.gradient(n) is None or not np.any(run.gradient(n)) for n in "xy") and all(
        near.gradient(n) is not None and np.any(near.gradient(n)) for n in "xy"
    )


@stage.suspect("backward(g) does not begin with the g that it is given")
def ignores_argument(door, fault):
    run = door.start(x=X, y=Y)("w = x * y", "z = w * 2").backward("z", np.array(1.75))
    found = run.gradient("x")
    return "g" in fault.data and found is not None and close(found, 2 * Y)


def beside_right_backward(suspect):
    """Keep a suspect from explaining what backward itself does."""
    return Suspect(
        suspect.cause,
        lambda door, fault: suspect.explains(door, fault) and not ignores_argument(door, fault),
    )


@stage.suspect("backward() without an argument has to begin with ones, the derivative of z by z")
def does_not_begin_with_one(door, fault):
    return "begins" in fault.data and not fault.data.get("nothing")


stage.suspects += BEGINNING


ALONE = (
    "the local derivative stands alone: it has to be multiplied by g, the gradient of the result"
)

stage.suspects += [
    wrong_gradient(
        "z = x - y",
        "y",
        lambda g, x, y, z: g,
        "the second operand of minus: if y grows, z shrinks, so its gradient is -g",
    ),
    wrong_gradient(
        "z = 2 - x",
        "x",
        lambda g, x, y, z: g,
        "the second operand of minus: if x grows, 2 - x shrinks, so its gradient is -g",
    ),
    wrong_gradient("z = -x", "x", lambda g, x, y, z: g, "the gradient of -x is -g: its sign"),
    *(
        wrong_gradient(
            "z = x * y",
            leaf,
            formula,
            "the factors of the product are swapped: the gradient of x is g * y, that of y g * x",
        )
        for leaf, formula in (
            ("x", lambda g, x, y, z: g * x),
            ("y", lambda g, x, y, z: g * y),
        )
    ),
    *(
        beside_right_backward(
            wrong_gradient(
                line,
                leaf,
                formula,
                ALONE,
            )
        )
        for line, leaf, formula in (
            ("z = x * y", "x", lambda g, x, y, z: y),
            ("z = x * y", "y", lambda g, x, y, z: x),
            ("z = x / y", "x", lambda g, x, y, z: 1 / y),
            ("z = x / y", "y", lambda g, x, y, z: -x / y**2),
            ("z = x + y", "x", lambda g, x, y, z: np.ones_like(g)),
            ("z = x + y", "y", lambda g, x, y, z: np.ones_like(g)),
            ("z = x ** 2", "x", lambda g, x, y, z: 2 * x),
            ("z = x ** 3", "x", lambda g, x, y, z: 3 * x**2),
        )
    ),
    *(
        wrong_gradient(
            "z = x / y",
            "y",
            formula,
            cause,
        )
        for formula, cause in (
            (
                lambda g, x, y, z: -g * x / y,
                "the quotient's derivative by y is -x / y ** 2: the square is missing",
            ),
            (
                lambda g, x, y, z: g * x / y**2,
                "the quotient's derivative by y is -x / y ** 2: the sign is missing",
            ),
            (
                lambda g, x, y, z: -g / y**2,
                "the quotient's derivative by y is -x / y ** 2: the factor x is missing",
            ),
        )
    ),
    wrong_gradient(
        "z = x / y",
        "x",
        lambda g, x, y, z: g * y,
        "the quotient's derivative by x is 1 / y: divide g by y",
    ),
    *(
        wrong_gradient(f"z = x ** {n}", "x", formula, cause)
        for n in (2, 3, -1, 0.5)
        for formula, cause in (
            (
                lambda g, x, y, z, n=n: g * n * x**n,
                "the derivative of x ** n is n * x ** (n - 1): the exponent is not lowered",
            ),
            (
                lambda g, x, y, z, n=n: g * x ** (n - 1),
                "the derivative of x ** n is n * x ** (n - 1): the factor n is missing",
            ),
            (
                lambda g, x, y, z, n=n: g * (n - 1) * x ** (n - 1),
                "the derivative of x ** n is n * x ** (n - 1): the factor is n, not n - 1",
            ),
        )
        if n != 2 or "not n - 1" not in cause  # where n - 1 is 1, and the factor missing
    ),
]
