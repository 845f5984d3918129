"""Nests of arrays as one vector and back, for optimizers that know vectors only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .dispatch import data_of
from .transforms import leaves_of, map_tree


def ravel_pytree(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Put all arrays of a nest into one vector; return it with the inverse function.

    Parameters
    ----------
    tree
        Nested dicts, lists and tuples of arrays, numbers and tensors, such as a module's
        ``state_dict()``.

    Returns
    -------
    flat
        A vector with all elements, of NumPy's common dtype; a tensor if there are tensors.
    unravel
        ``unravel(vector)`` is a nest like `tree` with the elements of a vector of that length, each
        array of its shape and dtype. Gradients pass through it.

    Raises
    ------
    TypeError
        If something in the nest is not an array of numbers.
    ValueError
        In `unravel`, if the vector is of another length.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import ravel_pytree
    >>> flat, unravel = ravel_pytree({"w": np.eye(2), "b": [1.0]})
    >>> flat
    array([1., 0., 0., 1., 1.])
    >>> unravel(2 * flat)
    {'w': array([[2., 0.],
           [0., 2.]]), 'b': [array(2.)]}

    SciPy's optimizers take a net's parameters as a vector:

    >>> from microgrand import nn, value_and_grad
    >>> net = nn.Linear(2, 1, dtype=float)
    >>> x, y = np.eye(2), np.array([[1.0], [3.0]])
    >>> flat, unravel = ravel_pytree(net.state_dict())
    >>> def loss(flat):
    ...     return np.mean((nn.utils.functional_call(net, unravel(flat), x) - y) ** 2)
    >>> from scipy.optimize import minimize  # doctest: +SKIP
    >>> found = minimize(value_and_grad(loss), flat, jac=True, method="L-BFGS-B")  # doctest: +SKIP
    >>> _ = net.load_state_dict(unravel(found.x))  # doctest: +SKIP
    """
    leaves = leaves_of(tree)
    arrays = [data_of(leaf) if hasattr(leaf, "dtype") else np.asarray(leaf) for leaf in leaves]
    for leaf, array in zip(leaves, arrays, strict=True):
        if array.dtype.kind not in "biufc":
            raise TypeError(f"ravel_pytree takes arrays of numbers, got {leaf!r:.60}")
    shapes = [array.shape for array in arrays]
    dtypes = [array.dtype for array in arrays]
    ends = np.cumsum([0, *[array.size for array in arrays]]).tolist()
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0)

    skeleton = map_tree(lambda _: 0, tree)  # not the tree, whose graph would stay

    def unravel(vector: Any) -> Any:
        vector = vector if hasattr(vector, "dtype") else np.asarray(vector)
        if vector.shape != (ends[-1],):
            raise ValueError(
                f"unravel takes a vector of shape {(ends[-1],)}, as ravel_pytree made, got "
                f"{vector.shape}"
            )
        parts = iter(
            np.reshape(vector[start:end], shape).astype(dtype, copy=False)
            for start, end, shape, dtype in zip(ends, ends[1:], shapes, dtypes, strict=False)
        )
        return map_tree(lambda _: next(parts), skeleton)

    return flat, unravel


def as_one(tensors: list[Any]) -> tuple[Any, Callable[[Any], list[Any]]]:
    """Return tensors as one, and the function that undoes it; a single one stays as it is."""
    return (tensors[0], lambda one: [one]) if len(tensors) == 1 else ravel_pytree(tensors)
