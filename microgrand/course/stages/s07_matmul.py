"""Stage 7, the matrix product: shapes leave one choice."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ...testing import strategies
from ..case import Plain
from ..compare import RIGHT, check_gradients, mind_own_calls, numbers
from ..stage import Stage, Suspect

stage = Stage(
    number=7,
    name="matrix product",
    contract=("Tensor.__matmul__",),
    lines=("Tensor.__matmul__", "Tensor.__rmatmul__"),
    needs=(1, 2),
    hints=(
        "Which product of g, a and b has a's shape?",
        "Entry by entry: the derivative of z[i, j] by a[i, k] is b[k, j]. In a batch, every matrix "
        "is a product of its own.",
        "`g @ swap(b)` and `swap(a) @ g`, where swap exchanges the last two axes; then undo "
        "broadcasting. Vectors: give them an axis first, and take it away at the end.",
    ),
    skeleton="""\
# Stage 7. One more operator of Tensor, with arrays on both sides:
#
#     def __matmul__(self, other): ...
#     def __rmatmul__(self, other): ...
""",
)

LINE, WHERE = "z = x @ y", "Tensor.__matmul__"


def product(door, draw, x, y):
    check_gradients(door, LINE, where=WHERE, x=numbers(draw, x), y=numbers(draw, y))


@stage.property("the product of two matrices", examples=4)
def matrices(door, draw):
    n, k, m = (draw(st.integers(1, 4)) for _ in range(3))
    product(door, draw, (n, k), (k, m))


@stage.property("of square ones, where shapes do not help", examples=3)
def square(door, draw):
    n = draw(st.integers(2, 3))
    product(door, draw, (n, n), (n, n))


@stage.property("a matrix or vector and a vector", examples=3)
def vectors(door, draw):
    n, k = (draw(st.integers(2, 4)) for _ in range(2))
    for shapes in (((k,), (k,)), ((n, k), (k,)), ((k,), (k, n))):
        product(door, draw, *shapes)


@stage.property("batches of matrices", examples=4)
def batches(door, draw):
    b, n, k, m = (draw(st.integers(1, 3)) for _ in range(4))
    product(door, draw, (b, n, k), (b, k, m))


@stage.property("a vector and a batch of matrices", examples=2)
def vector_and_batch(door, draw):
    for x, y in (((3,), (2, 3, 4)), ((2, 4, 3), (3,)), ((3,), (2, 1, 3, 2)), ((2, 1, 2, 3), (3,))):
        product(door, draw, x, y)


#: One operand, or a part of it, meets several of the other's.
SHARED = (
    ((2, 2, 3), (3, 4)),
    ((4, 3), (2, 3, 2)),
    ((1, 2, 3), (3, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
)


@stage.property("batches that broadcast: one matrix for all, and shapes of any kind", examples=6)
def broadcast_batches(door, draw):
    for x, y in SHARED:
        product(door, draw, x, y)
    product(door, draw, *draw(strategies.matmul_shapes(min_side=1)))


mind_own_calls(stage, [("{0} @ {1}", "{0} @ {1}", WHERE)], needs=(1, 2, 3))


@stage.property("an array may stand on either side", examples=2)
def beside_arrays(door, draw):
    x, a = numbers(draw, (3, 3)), Plain(numbers(draw, (3, 3)))
    for line, where in (("z = x @ a", WHERE), ("z = a @ x", "Tensor.__rmatmul__")):
        check_gradients(door, line, where=where, x=x, a=a)


@stage.property("products of products in one graph", examples=2)
def together(door, draw):
    lines = ("w = x @ y", "v = w @ x", "z = v @ w + y")
    inputs = {name: numbers(draw, (2, 2)) for name in "xy"}
    check_gradients(door, *lines, where=WHERE, **inputs)


# ------------------------------------------------------------------------------- suspects


@stage.suspect(
    "Python finds no `__rmatmul__` in Tensor: it is asked for when the left side of `@` is an "
    "array",
    where=WHERE,
)
def lacks_reflected(door, fault):
    asked = "z = a @ x" in door.case.lines and "error" in fault.data
    return asked and not door.has("Tensor.__rmatmul__")


X, Y, G = (np.random.default_rng(s).uniform(0.5, 2, (3, 3)) for s in (1, 2, 3))
BX, BY, BG = (np.random.default_rng(s).uniform(0.5, 2, (2, 3, 3)) for s in (1, 2, 3))


def gradients(door, x, y, g):
    run = door.start(x=x, y=y)(LINE).backward("z", g)
    return run.gradient("x"), run.gradient("y")


def same(found, expected):
    return found is not None and found.shape == expected.shape and np.allclose(found, expected)


def by_formula(leaf, formula, cause):
    def explains(door, fault):
        return same(gradients(door, X, Y, G)["xy".index(leaf)], formula)

    return Suspect(cause, explains)


NO_TRANSPOSE = (
    "the other factor is not transposed: the gradients are g @ y.T and x.T @ g, entry by entry"
)
ORDER = "the factors are in the wrong order: the gradient of x is g @ y.T, that of y x.T @ g"
RESULT = "the result is transposed: the gradient of x is g @ y.T, that of y x.T @ g"

stage.suspects += [
    by_formula("x", G @ Y, NO_TRANSPOSE),
    by_formula("y", X @ G, NO_TRANSPOSE),
    by_formula("x", Y.T @ G, ORDER),
    by_formula("y", G @ X.T, ORDER),
    by_formula("x", (G @ Y.T).T, RESULT),
    by_formula("y", (X.T @ G).T, RESULT),
    by_formula("x", G * Y, "the gradient is an elementwise product: use @, as forward does"),
    by_formula("y", G * X, "the gradient is an elementwise product: use @, as forward does"),
    by_formula("x", X @ Y, "g is not in the product: the gradient of x is g @ y.T"),
    by_formula("x", np.ones((3, 3)) @ Y.T, "g is not in the product: the gradient of x is g @ y.T"),
    by_formula("y", X.T @ np.ones((3, 3)), "g is not in the product: the gradient of y is x.T @ g"),
]


def tried(door, *shapes):
    """Tell whether the gradients are right for two shapes."""
    x, y = (np.random.default_rng(5 + i).uniform(0.5, 2, s) for i, s in enumerate(shapes))
    g = np.random.default_rng(7).uniform(0.5, 2, np.matmul(x, y).shape)
    right = RIGHT.start(x=x, y=y)(LINE).backward("z", g)
    try:
        found = gradients(door, x, y, g)
    except Exception:
        return False
    return all(same(f, right.gradient(n)) for f, n in zip(found, "xy", strict=True))


MATRICES = ((2, 3), (3, 4))


def axes_of(door):
    """Return how many axes the case's operands have."""
    return [given.ndim for given in door.case.inputs.values() if isinstance(given, np.ndarray)]


VECTORS = (((3,), (3, 4)), ((4, 3), (3,)))


def in_batches(door):
    return any(n > 2 for n in axes_of(door)) and all(n > 1 for n in axes_of(door))


@stage.suspect(
    "`.T` of a batch reverses all axes: exchange the last two only, as np.swapaxes(y, -1, -2)"
)
def transposed_batches(door, fault):
    shapes = ((2, 3, 4), (2, 4, 5))
    return in_batches(door) and tried(door, *MATRICES) and not tried(door, *shapes)


@stage.suspect(
    "one matrix for a whole batch gets the sum over the batch: undo broadcasting of the axes in "
    "front"
)
def batch_not_summed(door, fault):
    return (
        in_batches(door)
        and tried(door, (2, 3, 4), (2, 4, 5))
        and not (tried(door, (2, 3, 4), (4, 5)) and tried(door, (3, 4), (2, 4, 5)))
    )


@stage.suspect(
    "a vector has no second axis to exchange: give it one for the gradient, and take it away at "
    "the end"
)
def vectors_fail(door, fault):
    return (
        any(n == 1 for n in axes_of(door))
        and tried(door, *MATRICES)
        and not all(tried(door, *shapes) for shapes in VECTORS)
    )


@stage.suspect(
    "a vector beside a batch takes part in every product of it, so its gradient is the sum over "
    "the batch, of the vector's shape"
)
def vector_for_a_batch(door, fault):
    axes = axes_of(door)
    return (
        any(n == 1 for n in axes)
        and any(n > 2 for n in axes)
        and all(tried(door, *shapes) for shapes in (MATRICES, *VECTORS))
    )
