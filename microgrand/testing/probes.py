"""Small graphs that tell an engine's faults apart: sums and products that use a value twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kinds import Array
from .adapters import Adapter
from .point import GradcheckError, Point

#: A function of two tensors, and the gradients that it has.
Graph = tuple[Callable[[Any, Any], Any], Array, Array]

A, B, U = np.array([1.25, -0.75]), np.array([0.5, 1.75]), np.array([1.5, -0.625])
ONE, ZERO = np.ones(2), np.zeros(2)

SUM: Graph = (lambda a, b: a + b, ONE, ONE)
PRODUCT: Graph = (lambda a, b: a * b, B, A)
TWICE_IN_A_SUM: Graph = (lambda a, b: a + a, 2 * ONE, ZERO)
TWICE_IN_A_PRODUCT: Graph = (lambda a, b: a * a, 2 * A, ZERO)
SHARED: Graph = (lambda a, b: (a + b) + a, 2 * ONE, ONE)
#: What is used twice here, at different depths or not, was computed or is an input.
OF_PRODUCTS: list[Graph] = [
    (lambda a, b: (a * b) * a, 2 * A * B, A**2),
    (lambda a, b: (lambda c: c * c)(a * b), 2 * A * B**2, 2 * A**2 * B),
    (lambda a, b: (lambda c: (c * b) * c)(a * b), 2 * A * B**3, 3 * A**2 * B**2),
]
OF_BOTH: list[Graph] = [
    (lambda a, b: a * b + a, B + 1, A),
    (lambda a, b: a + a * b, B + 1, A),
    (lambda a, b: (lambda c: c * b + c)(a * b), B + B**2, A + 2 * A * B),
    (lambda a, b: (lambda c: c + c * b)(a * b), B + B**2, A + 2 * A * B),
]


def fault_of_the_engine(adapter: Adapter, dtype: np.dtype[Any]) -> str | None:
    """Say what is wrong with the way that backward walks the graph, or nothing."""

    def found(graph: Graph) -> list[Array] | None:
        """Return the gradients of a graph, or None if the framework cannot do it."""
        try:
            point = Point(graph[0], [A.astype(dtype), B.astype(dtype)], adapter, "ab", "output")
            return point.pull_back(U)
        except GradcheckError:
            return None

    def are(gradients: list[Array] | None, a: Array, b: Array) -> bool:
        return gradients is not None and all(
            np.max(np.abs(f - U * e)) < 1e-2 for f, e in zip(gradients, (a, b), strict=True)
        )

    def is_wrong(graph: Graph) -> bool:
        gradients = found(graph)
        return gradients is not None and not are(gradients, *graph[1:])

    # With each value used once there is nothing that the engine could confuse.
    adds, multiplies = are(found(SUM), ONE, ONE), are(found(PRODUCT), B, A)
    for works, twice, name in ((adds, TWICE_IN_A_SUM, "+"), (multiplies, TWICE_IN_A_PRODUCT, "*")):
        if works and are(found(twice), twice[1] / 2, ZERO):
            return (
                "the gradient is overwritten instead of added: of several uses of the input only "
                f"one counts, as in t {name} t"
            )
    if adds and are(found(SHARED), 2 * ONE, 2 * ONE):
        return (
            "two gradients share one array: what is added to the one in place appears in the "
            "other, as in (s + t) + s; copy a gradient before anything is added to it"
        )
    graphs = (OF_PRODUCTS if multiplies else []) + (OF_BOTH if adds and multiplies else [])
    if any(map(is_wrong, graphs)):
        return (
            "the order of the graph: a value is visited before all of its uses have sent their "
            "share, as in s * t + s; visit values in reverse topological order"
        )
    return None
