"""Transforms: from a function of arrays to the function that computes its derivatives.

All of them rest on `vjp`: call ``f`` on fresh variables, so that its graph begins there, and
carry a cotangent back through the graph, ``v -> v J``. Everything else follows:

    gradient             of a scalar:  v = 1
    Jacobian             row by row:   v = e_1, e_2, ...
    J t, a jvp           v -> v J is linear in v, and the vjp of that map is t -> J t
    Hessian              the Jacobian of the gradient
    H t, an hvp          the vjp of the gradient, as H is symmetric

Transforms nest. While an outer one is differentiating, an inner one runs its VJPs on tensors, so
that its result is part of the outer graph.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import checks
from .dispatch import data_of, library_of
from .engine import Node, apply, backpropagate, count_uses
from .grad_mode import enable_grad, is_grad_enabled
from .kinds import ArrayLike, Function, Tree, Value
from .tensor import Tensor
from .traced import to_array


class Variable(Tensor):
    """The leaf that a transform puts in the place of an array while it calls a function."""

    __slots__ = ("active",)  # is the function still being called, or its derivative computed?

    active: bool


# ------------------------------------------------- nested containers of arrays as one argument


def map_tree(function: Function, tree: Tree, *others: Tree) -> Tree:
    """Apply `function` to each array in nested dicts, lists and tuples; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        for other in others:
            if not isinstance(other, dict) or other.keys() != tree.keys():
                got = [*other] if isinstance(other, dict) else f"a {type(other).__name__}"
                raise ValueError(f"expected arrays named {[*tree]} in this place, got {got}")
        return {key: map_tree(function, tree[key], *(o[key] for o in others)) for key in tree}
    if isinstance(tree, (list, tuple)):
        for other in others:
            if len(other) != len(tree):
                raise ValueError(f"expected {len(tree)} arrays in this place, got {len(other)}")
        items = [map_tree(function, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(tree, *others)


def leaves_of(tree: Tree) -> list[Value]:
    """List the arrays in nested dicts, lists and tuples."""
    leaves: list[Value] = []
    map_tree(leaves.append, tree)
    return leaves


def copy_of_nest(tree: Tree) -> Tree:
    """Return new dicts, lists and tuples with the same arrays: a function may change its own."""
    return map_tree(lambda leaf: leaf, tree)


# --------------------------------------------------------------------------- vector-Jacobian


def make_variable(x: ArrayLike) -> Any:
    """Make the tensor whose cotangent is wanted; it stays connected if `x` has a graph."""
    if isinstance(x, Tensor):
        if x.requires_grad:
            return apply(np.positive, (x,))
        x = x.data
    # A copy: `pullback` may be called after the caller has changed the array.
    variable = Variable(x.copy() if hasattr(x, "copy") else x)
    if variable.dtype.kind != "f":
        raise TypeError(
            f"cannot differentiate in an argument of dtype {variable.dtype}; give floats, "
            "1.0 instead of 1, or array.astype(float)"
        )
    variable._requires_grad = variable.active = True
    return variable


#: Is a function computed again in a backward pass, by `remat`, to have its graph once more?
computing_again: ContextVar[bool] = ContextVar("computing_again", default=False)


def is_left_over(node: Node) -> bool:
    """Tell whether a node is the variable of a transform that is done with it."""
    return isinstance(node, Variable) and not node.active


def depends_on_others(output: Tensor, variables: Sequence[Tensor]) -> bool:
    """Tell whether a derivative of `output` is itself to be differentiated by someone else.

    This is the case if the graph has leaves besides our `variables`: a parameter that the function
    closes over, or the variable of a transform around us that is still at work; or has come back to
    it, if this is computed again.
    """
    own = set(variables)
    again = computing_again.get()
    return any(
        node.primitive is None and node not in own and (again or not is_left_over(node))
        for node in count_uses(output)
    )


def as_result(value: Value, in_graph: bool) -> Value:
    """Give a result as a tensor of the surrounding graph, or as an array of its own."""
    if in_graph:
        return value if isinstance(value, Tensor) else Tensor(value)
    value = np.copy(data_of(value))
    return value if value.ndim else value[()]


def vjp(f: Function, *primals: Tree) -> tuple[Tree, Function]:
    """Call `f`, and return its value with the function that maps cotangents back.

    Parameters
    ----------
    f
        Function of arrays, written with NumPy, that returns an array or a nest of them.
    *primals
        Its arguments: float arrays or numbers, or dicts, lists and tuples of them.

    Returns
    -------
    value
        ``f(*primals)``.
    pullback
        ``pullback(cotangent)``, for a cotangent like the value, returns a tuple with the
        cotangent ``v J`` for each primal. It may be called repeatedly.

    Raises
    ------
    TypeError
        If a primal is not of float dtype, or `f` returns something that has lost the graph.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import vjp
    >>> value, pullback = vjp(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0)
    >>> value
    array([3., 6.])
    >>> pullback(np.array([1.0, 1.0]))
    (array([3., 3.]), np.float64(3.0))
    """
    in_outer_graph = is_grad_enabled()
    with enable_grad():
        trees = tuple(map_tree(make_variable, primal) for primal in primals)
        output = copy_of_nest(f(*copy_of_nest(trees)))
    variables = leaves_of(trees)
    outputs = leaves_of(output)
    for value in outputs:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"cannot differentiate: the function returned {value!r}, which is not a Tensor; "
                "its graph was lost by float(), .item() or .numpy(), or it does not depend on the "
                "arguments in a differentiable way"
            )
    in_graph = in_outer_graph and any(
        value.requires_grad and depends_on_others(value, variables) for value in outputs
    )
    for variable in variables:
        if isinstance(variable, Variable):
            variable.active = False

    def pullback(cotangent: Tree) -> tuple[Tree, ...]:
        cotangents = leaves_of(map_tree(check_cotangent, output, cotangent))
        create_graph = in_graph or (
            is_grad_enabled() and any(isinstance(g, Tensor) and g.requires_grad for g in cotangents)
        )
        if not create_graph:
            cotangents = data_of(cotangents)
        found: dict[Node, Value] = {}
        with enable_grad():
            for value, g in zip(outputs, cotangents, strict=True):
                if value.requires_grad:
                    of_this_output = backpropagate(value, g, set(variables), create_graph)
                    for variable, g_x in of_this_output.items():
                        found[variable] = found[variable] + g_x if variable in found else g_x
        return tuple(
            map_tree(
                lambda variable: as_result(
                    found[variable] if variable in found else np.zeros_like(variable.data),
                    create_graph,
                ),
                tree,
            )
            for tree in trees
        )

    return map_tree(lambda value: as_result(value, in_graph), output), pullback


def check_cotangent(value: Tensor, cotangent: ArrayLike) -> Value:
    """Return the cotangent of an output as an array or tensor, of the output's shape."""
    if cotangent is None:
        raise TypeError("the cotangent is None, expected an array; give zeros for no gradient")
    if not isinstance(cotangent, Tensor):
        library = library_of(value)
        if library is None:
            cotangent = to_array(cotangent, value.dtype)
        else:
            cotangent = np.asarray(cotangent, value.dtype, like=library)
    if cotangent.shape != value.shape:
        raise ValueError(
            f"the cotangent has shape {cotangent.shape}, expected {value.shape}, the shape of "
            "the function's value"
        )
    return cotangent


# -------------------------------------------------------------------------------- gradients

ArgNums = int | tuple[int, ...]


def check_transformed(who: str, f: Function, argnums: ArgNums) -> None:
    """Raise if a transform was not given a function, and numbers of its arguments."""
    checks.check_function(who, f)
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not all(isinstance(number, (int, np.integer)) for number in numbers):
        raise TypeError(
            f"argnums is the number of a positional argument or a tuple of such numbers, got "
            f"{argnums!r}; arguments are given to what {who} returns, {who}(f)(x), and for one "
            f"that is given by its name, differentiate a function of it: {who}(lambda x: f(name=x))"
        )


def check_sequences(who: str, primals: Sequence[Tree], tangents: Sequence[Tree]) -> None:
    """Raise if the arguments, or their directions, do not stand in a list, as a lone array."""
    for name, given in ("primals", primals), ("tangents", tangents):
        if not isinstance(given, (list, tuple)):
            raise TypeError(
                f"{who} takes {name} as a list or tuple, got {type(given).__name__}; write [x], "
                "also for a single argument"
            )


def at_positions(f: Function, argnums: ArgNums, args: Any, kwargs: Any) -> Any:
    """Make `f` a function of the arguments at `argnums` alone; also return those arguments."""
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ValueError(
                f"argnums={argnums} names argument {number}, but the function was called with "
                f"{len(args)} positional arguments"
            )

    if len({number % len(args) for number in numbers}) < len(numbers):
        raise ValueError(f"argnums={argnums} names an argument twice")

    def partial(*chosen: Any) -> Any:
        given = list(args)
        for number, value in zip(numbers, chosen, strict=True):
            given[number] = value
        return f(*given, **kwargs)

    return partial, [args[number] for number in numbers]


def check_real(value: Tree) -> None:
    """Raise if a function's value is complex, of which only parts have real derivatives."""
    for part in leaves_of(value):
        if part.dtype.kind == "c":
            raise TypeError(
                f"derivatives are of real numbers, and the function returned some of dtype "
                f"{part.dtype}; take np.real, np.imag or np.abs of them"
            )


def value_and_grad(f: Function, argnums: ArgNums = 0) -> Function:
    """Make the function that returns the value of a scalar function and its gradient.

    Parameters
    ----------
    f
        Function of arrays that returns a scalar.
    argnums
        Which positional argument to differentiate in, or a tuple of several. An argument may
        be a nest of dicts, lists and tuples of arrays.

    Returns
    -------
    Callable
        Takes the arguments of `f`; returns the value and the gradient, which is like the
        argument, or a tuple of them for a tuple of `argnums`.

    Raises
    ------
    TypeError
        If the argument is not of float dtype, or `f` returns something without a graph.
    ValueError
        If the value is not a scalar, or `argnums` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import value_and_grad
    >>> value_and_grad(lambda p: np.sum(p["x"] ** 2))({"x": np.array([1.0, 2.0])})
    (np.float64(5.0), {'x': array([2., 4.])})
    """
    check_transformed("value_and_grad", f, argnums)

    @functools.wraps(f)
    def value_and_gradient(*args: Tree, **kwargs: Any) -> tuple[Tree, Tree]:
        partial, chosen = at_positions(f, argnums, args, kwargs)
        value, pullback = vjp(partial, *chosen)
        if not hasattr(value, "size") or value.size != 1:
            raise ValueError(
                f"a gradient is of a scalar, and the function returned "
                f"{f'shape {value.shape}' if hasattr(value, 'shape') else type(value).__name__}; "
                "reduce it with np.sum, or use jacobian or vjp"
            )
        check_real(value)
        gradients = pullback(np.ones_like(value))
        return value, gradients[0] if isinstance(argnums, (int, np.integer)) else gradients

    return value_and_gradient


def grad(f: Function, argnums: ArgNums = 0) -> Function:
    """Make the function that computes the gradient of a scalar function.

    See `value_and_grad` for the parameters and errors.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import grad
    >>> grad(np.sin)(0.0)
    np.float64(1.0)
    >>> grad(grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    check_transformed("grad", f, argnums)
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Tree, **kwargs: Any) -> Tree:
        return both(*args, **kwargs)[1]

    return gradient


# --------------------------------------------------------------- everything else from the vjp


def jvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, Tree]:
    """Return the value of `f` and its derivative ``J t`` along `tangents`.

    Parameters
    ----------
    f
        Function of arrays.
    primals, tangents
        A sequence with the arguments, and one with a direction like each.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import jvp
    >>> jvp(np.square, [np.array([1.0, 2.0])], [np.array([1.0, 10.0])])
    (array([1., 4.]), array([ 2., 40.]))
    """
    check_sequences("jvp", primals, tangents)
    value, pullback = vjp(f, *primals)
    check_real(value)
    zeros = map_tree(lambda part: np.zeros(part.shape, part.dtype, like=library_of(part)), value)
    _, transposed = vjp(pullback, zeros)
    return value, transposed(tuple(tangents))[0]


def jacobian(f: Function, argnums: ArgNums = 0) -> Function:
    """Make the function that computes the Jacobian, of shape ``value.shape + argument.shape``.

    Where the function returns a nest of arrays, so does this, with a Jacobian in each one's place.
    See `value_and_grad` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import jacobian
    >>> jacobian(np.square)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_transformed("jacobian", f, argnums)

    @functools.wraps(f)
    def jacobian_of_f(*args: Tree, **kwargs: Any) -> Tree:
        partial, chosen = at_positions(f, argnums, args, kwargs)
        value, pullback = vjp(partial, *chosen)
        parts = leaves_of(value)
        check_real(value)

        def rows_of(part: Value) -> Tree:
            rows = []
            for i in range(max(part.size, 1)):  # an empty part, too, needs the shapes of a row
                cotangents = [np.zeros(other.shape, other.dtype) for other in parts]
                for other, cotangent in zip(parts, cotangents, strict=True):
                    if other is part and part.size:
                        cotangent.flat[i] = 1
                unflatten = iter(cotangents)
                rows.append(pullback(map_tree(lambda _, left=unflatten: next(left), value)))
            jacobians = map_tree(
                lambda *row: np.reshape(np.stack(row)[: part.size], part.shape + row[0].shape),
                *rows,
            )
            return jacobians[0] if isinstance(argnums, (int, np.integer)) else jacobians

        return map_tree(rows_of, value)

    return jacobian_of_f


def hessian(f: Function, argnums: ArgNums = 0) -> Function:
    """Make the function that computes the second derivatives of a scalar function.

    Its shape is ``argument.shape + argument.shape``; for several arguments it is a nest of such
    blocks. See `value_and_grad` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import hessian
    >>> hessian(lambda x: x[0] * x[1])(np.array([2.0, 3.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    check_transformed("hessian", f, argnums)
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> Tree:
    """Return the product ``H t`` of a scalar function's Hessian with `tangents`.

    At the cost of a few evaluations, without forming the Hessian.

    Parameters
    ----------
    f
        Function of arrays that returns a scalar.
    primals, tangents
        A sequence with the arguments, and one with a direction like each.

    Returns
    -------
    tuple
        A product like each primal.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import hvp
    >>> hvp(lambda x: np.sum(x**3), [np.array([1.0, 2.0])], [np.array([1.0, 1.0])])
    (array([ 6., 12.]),)
    """
    check_sequences("hvp", primals, tangents)
    gradient = grad(f, tuple(range(len(primals))))
    _, pullback = vjp(gradient, *primals)
    return pullback(tuple(tangents))
