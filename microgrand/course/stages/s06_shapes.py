"""Stage 6, sums and shapes: sum spreads, moves are moved back, an index puts back."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from ..case import Plain
from ..compare import (
    BEGINNING,
    check_beginning,
    check_gradients,
    leave_in_memory,
    mind_own_calls,
    numbers,
)
from ..stage import Fault, Stage, Suspect

stage = Stage(
    number=6,
    name="sums and shapes",
    contract=(
        "Tensor.sum",
        "Tensor.mean",
        "Tensor.reshape",
        "Tensor.transpose",
        "Tensor.__getitem__",
    ),
    needs=(1, 2),
    hints=(
        "Where did element [1, 2] go, and who must be told?",
        "sum copies nothing: every element gets the sum's gradient. reshape and transpose move, so "
        "the gradient is moved back. An index takes, so the gradient is put there, and added where "
        "an element was taken twice.",
        "`np.broadcast_to(np.expand_dims(g, axis), shape)`; `g.reshape(shape)`; "
        "`g.transpose(np.argsort(axes))`; `np.add.at(zeros, index, g)`",
    ),
    skeleton="""\
# Stage 6. Five more methods of Tensor, each with NumPy's values and a way back:
#
#     def sum(self, axis=None, keepdims=False): ...
#     def mean(self, axis=None, keepdims=False): ...
#     def reshape(self, *shape): ...
#     def transpose(self, *axes): ...
#     def __getitem__(self, index): ...
""",
)


SHAPES = [(2, 3), (3,), (2, 2), (), (2, 3, 2), (3, 1, 2)]
AXES = {
    0: (None,),
    1: (None, 0, -1),
    2: (None, 0, 1, -1, -2, (0, 1), (1,)),
    3: (None, 0, 1, 2, -2, (0, 2), (-1, 0), (1, 2), (0, 1, 2)),
}


def check_reduction(name, door, draw):
    for shape in SHAPES:
        x = numbers(draw, shape)
        check_gradients(door, f"z = x.{name}()", where=f"Tensor.{name}", x=x)
        for more, axis in itertools.product(("", ", keepdims=True"), AXES[x.ndim]):
            line = f"z = x.{name}(axis={axis}{more})"
            check_gradients(door, line, where=f"Tensor.{name}", x=x)


@stage.property("x.sum(axis, keepdims): its value and its gradient", examples=1)
def sums(door, draw):
    check_reduction("sum", door, draw)


@stage.property("x.mean(axis, keepdims): its value and its gradient", examples=1)
def means(door, draw):
    check_reduction("mean", door, draw)


@stage.property("x.reshape: its value and its gradient", examples=1)
def reshapes(door, draw):
    for shape in ((2, 3), (4,), (2, 2), (2, 3, 2)):
        x = numbers(draw, shape)
        for new in ((x.size,), (-1,), shape[::-1], (1, *shape), (*shape, 1), (shape[0], -1)):
            for given in (", ".join(map(str, new)), str(new)):
                line = f"z = x.reshape({given})"
                check_gradients(door, line, where="Tensor.reshape", x=x)


@stage.property("x.transpose: its value and its gradient", examples=1)
def transposes(door, draw):
    for shape in ((2, 3), (3,), (2, 3, 4)):
        x = numbers(draw, shape)
        check_gradients(door, "z = x.transpose()", where="Tensor.transpose", x=x)
        for axes in itertools.permutations(range(len(shape))):
            for given in (", ".join(map(str, axes)), str(axes)):
                line = f"z = x.transpose({given})"
                check_gradients(door, line, where="Tensor.transpose", x=x)


@stage.property(
    "x.transpose of three axes of one length, where shapes give nothing away", examples=1
)
def transposes_cubes(door, draw):
    x = numbers(draw, (2, 2, 2))
    for axes in itertools.permutations(range(3)):
        line = f"z = x.transpose({axes})"
        check_gradients(door, line, where="Tensor.transpose", x=x)


INDICES = ("0", "-1", "1:", "::-1", "1, 2", ":, 1", "0, 1:", "mask", "i", "i, 1", ":, i")


@stage.property("x[index]: its value and its gradient, for numbers, slices, masks", examples=3)
def indices(door, draw):
    x = numbers(draw, (3, 4))
    plain = {"mask": Plain(x > 0), "i": Plain(np.array([2, 0]))}
    for text in INDICES:
        used = {name: array for name, array in plain.items() if name in text.split(", ")}
        check_gradients(door, f"z = x[{text}]", where="Tensor.__getitem__", x=x, **used)


@stage.property("x[index] with an element taken twice: it gets both gradients", examples=6)
def repeated(door, draw):
    x = numbers(draw, (3, 3))
    i = np.array(draw(st.lists(st.integers(0, 2), min_size=2, max_size=4)))
    for line in ("z = x[i]", "z = x[:, i]", "z = x[i, i]"):
        check_gradients(door, line, where="Tensor.__getitem__", x=x, i=Plain(i))


@stage.property("sums and shapes in one graph", examples=2)
def together(door, draw):
    x = numbers(draw, (2, 3), low=0.5)
    for lines in (
        ("w = x.sum(axis=0)", "z = w * x"),
        ("w = x.reshape(3, 2)", "z = w.transpose() * x"),
        ("w = x[0] + x[1]", "z = w * x.mean(axis=0)"),
        ("w = x.sum(axis=1, keepdims=True)", "z = (x * x / w).sum()"),
    ):
        check_gradients(door, *lines, where="Tensor.backward", x=x)


mind_own_calls(
    stage,
    [
        ("{0}.sum(axis=0)", "{0}.sum(axis=1)", "Tensor.sum"),
        ("{0}.sum(axis=0)", "{0}.sum(axis=0, keepdims=True)", "Tensor.sum"),
        ("{0}.mean(axis=0)", "{0}.mean()", "Tensor.mean"),
        ("{0}.reshape(9, 1)", "{0}.reshape(1, 9)", "Tensor.reshape"),
        (
            "{0}.reshape(3, 1, 3).transpose(1, 0, 2)",
            "{0}.reshape(3, 1, 3).transpose(2, 0, 1)",
            "Tensor.transpose",
        ),
        ("{0}[0]", "{0}[1]", "Tensor.__getitem__"),
        ("{0}[1:]", "{0}[[0, 0]]", "Tensor.__getitem__"),
    ],
    needs=(1, 2, 3),
)
mind_own_calls(
    stage,
    [("{0}.sum()", "{0}.sum()", "Tensor.sum"), ("{0}.mean()", "{0}.mean()", "Tensor.mean")],
    again=False,
    shapes={"x": (2, 3), "u": (4,)},
    sentence="and so it is for other shapes",
)


@stage.property("backward() without an argument, from a sum or a mean", examples=1)
def begins_with_one(door, draw):
    x = numbers(draw, (2, 3))
    for line in ("z = x.sum()", "z = x.mean()", "z = (x * x).sum()", "z = x.sum(axis=0).mean()"):
        check_beginning(door, line, x=x)


# ------------------------------------------------------------------------------- suspects

CUBE = np.random.default_rng(3).uniform(0.5, 2, (3, 3, 3))


def found_for(door, line, x=CUBE, **more):
    """Return the gradient of x for a random cotangent, and that; None for what fails."""
    run = door.start(x=x, **more)(line)
    z = run.value("z")
    g = np.random.default_rng(4).uniform(0.5, 2, z.shape)
    return run.backward("z", g).gradient("x"), g


def explained_by(line, formula, cause, word, x=CUBE, **more):
    """Make a suspect of a fault in a method: a line, and what is found for it by mistake."""

    def explains(door, fault):
        if f".{word}(" not in str(fault.data.get("line", fault.data.get("lines", ""))) and (
            word != "[" or "[" not in str(fault.data.get("line", ""))
        ):
            return False
        found, g = found_for(door, line, x, **more)
        said = formula(g)
        return found is not None and found.shape == said.shape and np.allclose(found, said)

    return Suspect(cause, explains)


FIRST = np.array([0, 1, 0])
AXIS_LOST = (
    "the axis that was summed away is not put back, so the gradient spreads along another one: "
    "np.expand_dims(g, axis) first"
)
SHAPE = (3, 3, 3)

stage.suspects += [
    *BEGINNING,
    explained_by("z = x.sum(axis=2)", lambda g: np.broadcast_to(g, SHAPE), AXIS_LOST, "sum"),
    explained_by("z = x.mean(axis=2)", lambda g: np.broadcast_to(g, SHAPE) / 3, AXIS_LOST, "mean"),
    explained_by(
        "z = x.mean()",
        lambda g: np.full(SHAPE, g),
        "mean divides by the number of elements: so does its gradient, 1 / n is missing",
        "mean",
    ),
    explained_by(
        "z = x.mean(axis=0)",
        lambda g: np.broadcast_to(g, SHAPE) / 27,
        "mean divides by the number of elements that were averaged, along the axis only; not by "
        "that of all",
        "mean",
    ),
    explained_by(
        "z = x.transpose(1, 2, 0)",
        lambda g: g.transpose(1, 2, 0),
        "the gradient is transposed by the same permutation: it needs the inverse one, "
        "np.argsort(axes)",
        "transpose",
    ),
    explained_by(
        "z = x.transpose(1, 2, 0)",
        lambda g: g.reshape(SHAPE),
        "the gradient is reshaped, which keeps the order of elements: it has to be transposed back",
        "transpose",
    ),
    explained_by(
        "z = x.transpose(1, 2, 0)",
        lambda g: g.transpose(),
        "the gradient's axes are reversed: they have to be put back by the inverse permutation, "
        "np.argsort(axes)",
        "transpose",
    ),
    explained_by(
        "z = x.reshape(9, 3)",
        lambda g: g.transpose().reshape(SHAPE),
        "the gradient is transposed: reshape keeps the order of elements, so reshape it back",
        "reshape",
    ),
]


@stage.suspect(
    "an element that was taken twice got one gradient only: `grad[i] += g` counts it once, "
    "np.add.at(grad, i, g) adds all"
)
def counted_once(door, fault):
    if "[" not in str(fault.data.get("line", "")):
        return False
    found, g = found_for(door, "z = x[i]", np.ones(3), i=Plain(FIRST))
    return found is not None and np.allclose(found, [g[2], g[1], 0])


@stage.suspect(
    "the gradient of x[index] has the shape of what was taken: put it into zeros of x's shape"
)
def not_put_back(door, fault):
    if "[" not in str(fault.data.get("line", "")):
        return False
    found, g = found_for(door, "z = x[0]", np.ones((2, 3)))
    return found is not None and (found.shape == (3,) or np.allclose(found, [g, g]))


@stage.suspect(
    "what was not taken has gradient 0, and not what was in memory by chance: begin with "
    "np.zeros, as np.empty fills in nothing"
)
def not_zeros(door, fault):
    if "[" not in str(fault.data.get("line", "")):
        return False
    x = np.ones((3, 3))
    run = door.start(x=x)("z = x[0]")
    leave_in_memory({"x": x})
    found = run.backward("z", np.array([1.0, 2.0, 3.0])).gradient("x")
    rows = [tuple(row) for row in found]
    return found.shape == (3, 3) and bool(found[1:].any()) and rows[0] != rows[1]


@stage.suspect("keepdims is not passed on: NumPy's sum takes it, too")
def keepdims_lost(door, fault):
    line = str(fault.data.get("line", ""))
    if "keepdims" not in line or "gradient" in fault.data:
        return False
    return door.start(x=CUBE)("z = x.sum(axis=0, keepdims=True)").value("z").shape == (3, 3)


@stage.suspect(
    "with keepdims=True the axis is still there: put it back only where it was summed away"
)
def keepdims_expanded(door, fault):
    line = str(fault.data.get("line", fault.data.get("lines", "")))
    if "keepdims" not in line:
        return False
    run = door.start(x=np.ones((2, 3)))("z = x.sum(axis=0, keepdims=True)")
    if run.value("z").shape != (1, 3):
        return False
    try:
        found = run.backward("z", np.ones((1, 3))).gradient("x")
    except Exception:
        return True
    return found is None or found.shape != (2, 3)


@stage.suspect(
    "an axis may be a tuple, or negative: np.expand_dims(g, axis) takes all that sum takes"
)
def kinds_of_axes(door, fault):
    def works(axis):
        try:
            found, g = found_for(door, f"z = x.sum(axis={axis})")
        except (Exception, Fault):
            return False
        expected = np.broadcast_to(np.expand_dims(g, axis), SHAPE)
        return found is not None and found.shape == SHAPE and np.allclose(found, expected)

    return works(0) and works(1) and not (works(-1) and works((0, 2)))
