"""Small graphs that tell an engine's faults apart: sums and products that use a value twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .adapters import Adapter
from .point import Point

Array = NDArray[Any]

A, B, U = np.array([1.25, -0.75]), np.array([0.5, 1.75]), np.array([1.5, -0.625])


def fault_of_the_engine(adapter: Adapter, dtype: np.dtype[Any]) -> str | None:
    """Say what is wrong with the way that backward walks the graph, or nothing."""

    def found(fn: Callable[[Any, Any], Any]) -> list[Array]:
        point = Point(fn, [A.astype(dtype), B.astype(dtype)], adapter, ["a", "b"], "output")
        return point.pull_back(U)

    def right(fn: Callable[[Any, Any], Any], a: Array, b: Array) -> bool:
        return all(np.allclose(f, U * e, rtol=1e-2) for f, e in zip(found(fn), (a, b), strict=True))

    one, zero = np.ones(2), np.zeros(2)
    # With each value used once there is nothing that the engine could confuse.
    if not (right(lambda a, b: a * b, B, A) and right(lambda a, b: a + b, one, one)):
        return None
    if not (right(lambda a, b: a + a, 2 * one, zero) and right(lambda a, b: a * a, 2 * A, zero)):
        return (
            "the gradient is overwritten instead of added: of several uses of the input only one "
            "counts, as in t + t"
        )
    if not right(lambda a, b: (a + b) + a, 2 * one, one):
        a, b = found(lambda a, b: (a + b) + a)
        if np.allclose(a, 2 * U) and np.allclose(b, 2 * U):
            return (
                "two gradients share one array: what is added to the one in place appears in the "
                "other, as in (s + t) + s; copy a gradient before anything is added to it"
            )
    graphs: list[tuple[Callable[[Any, Any], Any], Array, Array]] = [
        (lambda a, b: a * b + a, B + 1, A),
        (lambda a, b: a + a * b, B + 1, A),
        (lambda a, b: twice(a * b), 2 * B, 2 * A),
        (lambda a, b: at_two_depths(a * b, b), B + B**2, A + 2 * A * B),
        (lambda a, b: at_two_depths_reversed(a * b, b), B + B**2, A + 2 * A * B),
    ]
    if not all(right(*graph) for graph in graphs):
        return (
            "the order of the graph: a value is visited before all of its uses have sent their "
            "share, as in s * t + s; visit values in reverse topological order"
        )
    return None


def twice(c: Any) -> Any:
    """Use a computed value twice at the same depth."""
    return c + c


def at_two_depths(c: Any, b: Any) -> Any:
    """Use a computed value directly and in a product."""
    return c * b + c


def at_two_depths_reversed(c: Any, b: Any) -> Any:
    """Do the same the other way round."""
    return c + c * b
