"""Stage 1, values: a tensor is an array that will remember."""

from __future__ import annotations

import numpy as np

from ..case import Plain
from ..compare import a_shape, check_value, numbers, shown, wrong_value
from ..stage import Fault, Stage

#: First those that others may be built from: x - y from -y, -x from x * -1, x / y from y ** -1.
OPERATORS = {
    "z = x + y": "Tensor.__add__",
    "z = x * y": "Tensor.__mul__",
    "z = x - y": "Tensor.__sub__",
    "z = x / y": "Tensor.__truediv__",
}
POWERS = tuple(f"z = x ** {n}" for n in (2, 3, -1, 0.5))


def in_turn(x, y):
    """Yield lines, where to look, and inputs: no operator before those that it may be made of."""
    later = ("z = x - y", "z = x / y")
    for line, where in OPERATORS.items():
        if line not in later:
            yield line, where, {"x": x, "y": y}
    yield "z = -x", "Tensor.__neg__", {"x": x}
    for line in POWERS:
        yield line, "Tensor.__pow__", {"x": np.asarray(abs(x))}
    for line in later:
        yield line, OPERATORS[line], {"x": x, "y": y}


REFLECTED = {
    "+": "Tensor.__radd__",
    "-": "Tensor.__rsub__",
    "*": "Tensor.__rmul__",
    "/": "Tensor.__rtruediv__",
}

stage = Stage(
    number=1,
    name="values",
    contract=(
        "Tensor",
        *OPERATORS.values(),
        "Tensor.__neg__",
        "Tensor.__pow__",
        *REFLECTED.values(),
    ),
    optional=tuple(REFLECTED.values()),  # whose absence is a fault with a cause
    lines=("Tensor", "is_tensor", "as_tensor", "node"),
    hints=(
        "What does Python try for `3 - a`, and what for `array - a`?",
        "An operator whose left side does not know Tensors asks the right side's reflected method: "
        "`a.__rsub__(3)`. NumPy does so only for a class with `__array_ufunc__ = None`.",
        "`def __rsub__(self, other): return Tensor(other) - self`, and so for the others.",
    ),
    skeleton='''\
class Tensor:
    """An array that will remember how it was computed."""

    def __init__(self, data):
        self.data = ...  # stage 1: a float64 array

    def __add__(self, other):
        ...  # other may be a Tensor, a number or an array

    def __sub__(self, other):
        ...

    def __mul__(self, other):
        ...

    def __truediv__(self, other):
        ...

    def __neg__(self):
        ...

    def __pow__(self, n):
        ...  # n is a number

    # And for numbers and arrays on the left, as in 3 - a: __radd__, __rsub__, ...
''',
)

DATA = ("[1, 2, 3]", "np.array([[1, 2], [3, 4]])", "[[0.5, 2.5]]", "np.array([1.5, -0.5])", "3")


@stage.property("Tensor(data) has the data as float64 numbers in .data", arrays=True, examples=1)
def keeps_data(door, draw):
    for data in DATA:
        run = door.start()(f"x = Tensor({data})")
        found, expected = run.value("x"), np.asarray(eval(data, {"np": np}), dtype=float)
        if found.dtype != np.float64:
            run.case.shown.append("x.data.dtype")
            raise Fault(f"x.data has dtype {found.dtype}", "float64", "Tensor.__init__", kept=True)
        if not np.array_equal(found, expected):
            raise Fault(f"x.data is {found.tolist()}", str(expected.tolist()), "Tensor.__init__")


@stage.property("an operator's result is a Tensor with NumPy's values", examples=5)
def operators(door, draw):
    shape = a_shape(draw, door)
    for line, where, inputs in in_turn(numbers(draw, shape), numbers(draw, shape)):
        check_value(door, line, where, **inputs)


@stage.property("operators leave their operands as they were", examples=3)
def operands_stay(door, draw):
    shape = a_shape(draw, door)
    inputs = {"x": numbers(draw, shape), "y": numbers(draw, shape)}
    if not door.scalar:
        inputs["a"] = Plain(numbers(draw, shape))
    lines = [*OPERATORS, "z = -x", "z = x ** 2"]
    for line in lines if door.scalar else [*lines, "z = x + a", "z = x * a"]:
        run = door.start(**inputs)(line)
        for name, given in inputs.items():
            before = given.array if name == "a" else given
            found = run["a"] if name == "a" else run.value(name)
            if not np.array_equal(found, before):
                raise Fault(
                    f"{name} is {shown(found)} afterwards",
                    f"{shown(before)}, as before",
                    OPERATORS.get(line, ""),
                    changed=True,
                )


def check_sides(door, a, x):
    """Check all operators with something else on either side."""
    for op in REFLECTED:
        check_value(door, f"z = x {op} a", OPERATORS[f"z = x {op} y"], x=x, a=a)
    for op, where in REFLECTED.items():
        check_value(door, f"z = a {op} x", where, x=x, a=a)


@stage.property("a number may stand on either side of an operator", examples=3)
def with_numbers(door, draw):
    x = numbers(draw, a_shape(draw, door))
    for number in [2, 0.5] if door.scalar else [2, 0.5, np.float64(1.5)]:
        check_sides(door, number, x)


@stage.property("an array may stand on either side of an operator", arrays=True, examples=5)
def with_arrays(door, draw):
    shape = a_shape(draw, door)
    check_sides(door, Plain(numbers(draw, shape)), numbers(draw, shape))


# ------------------------------------------------------------------------------- suspects


@stage.suspect(
    "the data is not converted: make it an array with dtype=float, as integers cannot hold "
    "gradients"
)
def integers_kept(door, fault):
    return "kept" in fault.data and door.start()("x = Tensor([1, 2])").value("x").dtype.kind == "i"


@stage.suspect(
    "the data is float32, of seven digits: dtype=float is float64, which the checks need"
)
def single_precision(door, fault):
    return "kept" in fault.data and door.start()("x = Tensor([1])").value("x").dtype == np.float32


@stage.suspect(
    "NumPy on the left does the operation itself, element by element: put "
    "`__array_ufunc__ = None` into Tensor, then it leaves it to your reflected method"
)
def numpy_takes_over(door, fault):
    case = door.case
    if not isinstance(case.inputs.get("a"), (Plain, np.generic)) or "z = a" not in case.text():
        return False
    found = door.start(a=Plain(np.array([1.0, 2.0])), x=np.array([3.0, 4.0]))("z = a * x")["z"]
    return isinstance(found, np.ndarray)


def lacks_reflected(name, op):
    def explains(door, fault):
        is_left = f"z = a {op} x" in door.case.lines
        return (
            fault.data.get("kind") == "TypeError" and is_left and not door.has(f"Tensor.__{name}__")
        )

    return explains


for method, op in (("radd", "+"), ("rsub", "-"), ("rmul", "*"), ("rtruediv", "/")):
    stage.suspect(
        f"Python finds no `__{method}__` in Tensor: it is asked for when the left side of `{op}` "
        "is a number",
        where=OPERATORS[f"z = x {op} y"],
    )(lacks_reflected(method, op))


@stage.suspect(
    "an operand is changed in place: compute a new array, as in `self.data + other.data`, "
    "without `+=`"
)
def changed_in_place(door, fault):
    return "changed" in fault.data


stage.suspects += [
    wrong_value(
        ("z = a - x",),
        lambda x, y, a: x - a,
        "`a - x` is computed as `x - a`: the reflected operand is the left one",
    ),
    wrong_value(
        ("z = a / x",),
        lambda x, y, a: x / a,
        "`a / x` is computed as `x / a`: the reflected operand is the left one",
    ),
    wrong_value(
        POWERS,
        lambda x, y, a: x * 2,
        "the power is computed as a product: use `self.data ** n`",
    ),
    wrong_value(("z = -x",), lambda x, y, a: x, "the sign is not changed: return -self.data"),
    wrong_value(
        ("z = x / y", "z = x / a"),
        lambda x, y, a: x // (a if y is None else y),
        "`//` rounds down: use `/`",
    ),
    wrong_value(
        ("z = x - y", "z = x - a"),
        lambda x, y, a: (a if y is None else y) - x,
        "the operands of minus are in the wrong order",
    ),
    wrong_value(
        ("z = x / y", "z = x / a"),
        lambda x, y, a: (a if y is None else y) / x,
        "the operands of the quotient are in the wrong order",
    ),
]
