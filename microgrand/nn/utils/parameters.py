"""Gradients that are clipped, parameters as a vector or as arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...tensor import Tensor
from ...traced import look
from ...vjps.rules import extreme
from .. import module_checks as checks
from ..checks import check_flag
from ..layer_checks import not_negative
from ..module import STATE, Module


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    """Scale all gradients down together if their norm, as that of one vector, is too large.

    The direction of the step stays as it is (Pascanu, Mikolov, Bengio 2013, "On the difficulty of
    training recurrent neural networks", algorithm 1). Call it between ``backward`` and ``step``.

    Parameters
    ----------
    parameters
        The tensors, such as ``model.parameters()``. Those without a gradient do not count.
    max_norm
        The largest norm, at least 0. Gradients are multiplied by ``max_norm / (norm + 1e-6)`` if
        that is less than 1, as in PyTorch.
    norm_type
        The norm's order, above 0; ``inf`` for the largest absolute value.
    error_if_nonfinite
        Raise if the norm is nan or infinite; by default, the gradients become nan or 0.

    Returns
    -------
    norm
        The norm before, in at least float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of its range.
    RuntimeError
        With `error_if_nonfinite`. Then no gradient has been changed.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> x = nn.Parameter(np.array([3.0, 4.0]))
    >>> (x * x).sum().backward()
    >>> nn.utils.clip_grad_norm_([x], max_norm=1.0)
    np.float64(10.0)
    >>> x.grad.round(4)
    array([0.6, 0.8])
    """
    tensors = checks.checked_tensors("clip_grad_norm_", parameters)
    max_norm = not_negative("clip_grad_norm_'s max_norm", max_norm)
    norm_type = checks.checked_order(norm_type)
    check_flag("clip_grad_norm_'s error_if_nonfinite", error_if_nonfinite)
    with_grad = [tensor for tensor in tensors if tensor._grad is not None]
    norm = norm_of([tensor._grad for tensor in with_grad], norm_type)
    if error_if_nonfinite:
        checks.check_finite_norm(look(np.isfinite(norm)))
    factor = np.minimum(max_norm / (norm + 1e-6), 1.0)
    for tensor in with_grad:
        grad: Any = tensor._grad
        wide = np.result_type(grad.dtype, np.float32)  # the factor may be too small for float16
        # A new array: a graph may have used the old one.
        tensor._grad = np.multiply(grad, factor.astype(wide)).astype(grad.dtype, copy=False)
    return norm


def norm_of(arrays: list[Any], order: float) -> Any:
    """Return the norm of all numbers in some arrays, computed in float64."""
    total: Any = np.float64(0)
    for array in arrays:
        size = np.abs(array, dtype=np.result_type(array.dtype, np.float64))
        if order == np.inf:
            total = np.maximum(total, extreme(np.max, size, None, 0, keepdims=False))
        else:
            total = total + np.sum(size * size if order == 2 else size**order)
    if order == np.inf:
        return total
    return np.sqrt(total) if order == 2 else total ** (1 / order)


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Limit each element of each gradient to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters
        The tensors, such as ``model.parameters()``. Those without a gradient stay as they are.
    clip_value
        The largest absolute value, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> x = nn.Parameter(np.array([3.0, 0.5]))
    >>> (x * x).sum().backward()
    >>> nn.utils.clip_grad_value_([x], 2.0)
    >>> x.grad
    array([2., 1.])
    """
    tensors = checks.checked_tensors("clip_grad_value_", parameters)
    limit = not_negative("clip_grad_value_'s clip_value", clip_value)
    for tensor in tensors:
        if tensor._grad is not None:
            tensor._grad = np.clip(tensor._grad, -limit, limit)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of all parameters in one vector, which is part of their graph.

    Parameters
    ----------
    parameters
        The tensors, such as ``model.parameters()``.

    Raises
    ------
    TypeError, ValueError
        If they are not tensors, or there are none.

    Examples
    --------
    >>> from microgrand import nn
    >>> net = nn.Linear(3, 2)
    >>> vector = nn.utils.parameters_to_vector(net.parameters())
    >>> vector.shape
    (8,)
    >>> penalty = (vector**2).sum()
    """
    tensors = checks.checked_tensors("parameters_to_vector", parameters, some=True)
    vector: Tensor = np.concatenate([np.ravel(tensor) for tensor in tensors])  # type: ignore[assignment]
    return vector


def vector_to_parameters(vector: Any, parameters: Iterable[Tensor]) -> None:
    """Write the elements of one vector into parameters, in place, one parameter after the other.

    Parameters
    ----------
    vector
        Array or tensor of shape ``(n,)``, where the parameters have ``n`` elements together. What
        it was computed from gets no gradient by the parameters: for that, `functional_call`.
    parameters
        The tensors, such as ``model.parameters()``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type, or the vector of another length. Then nothing was
        changed.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.Linear(2, 1)
    >>> nn.utils.vector_to_parameters(np.array([1.0, 2.0, 3.0]), net.parameters())
    >>> net.weight.data, net.bias.data
    (array([[1., 2.]], dtype=float32), array([3.], dtype=float32))
    """
    tensors = checks.checked_tensors("vector_to_parameters", parameters, some=True)
    values = checks.checked_vector(vector, sum(tensor.size for tensor in tensors))
    start = 0
    for tensor in tensors:
        part = values[start : start + tensor.size]
        tensor.data = np.reshape(part, tensor.shape).astype(tensor.dtype)
        start += tensor.size


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Any],
    args: Any,
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Call a module with other parameters and buffers than its own, as a function of them.

    Parameters
    ----------
    module
        The module. Its own parameters are there again when the call has ended, also by an error.
    parameter_and_buffer_dicts
        From names, as those of `named_parameters`, to arrays or tensors of the same shapes, which
        stand in their places; the others are the module's own. A parameter that is in several
        places may be given by any of its names, or by several, with the same values.
    args
        The module's arguments, a tuple; or one argument.
    kwargs
        Arguments by name.

    Returns
    -------
    output
        What the module returns. Gradients reach the tensors that were given.

    Raises
    ------
    TypeError, ValueError
        If the module has no such parameter, or one of another shape, or if one is given by two
        names and the gradient could reach only one of them.

    Notes
    -----
    For the time of the call, the attributes of the module are changed: do not call it in another
    thread meanwhile.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import grad, nn
    >>> net = nn.Linear(2, 1)
    >>> x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    >>> def loss(parameters):
    ...     return np.mean((nn.utils.functional_call(net, parameters, x) - y) ** 2)
    >>> {name: g.shape for name, g in grad(loss)(net.state_dict()).items()}
    {'weight': (1, 2), 'bias': (1,)}
    """
    checks.check_is_module("functional_call", module, Module)
    own = dict(module.named_tensors(STATE, every_name=True))
    table = checks.checked_replacements(module, own, parameter_and_buffer_dicts)
    arguments = args if isinstance(args, tuple) else (args,)
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for part in list(module.modules()):
            attributes = vars(part)
            for name, value in list(attributes.items()):
                new = with_replacements(value, table)
                if new is not value:
                    replaced.append((attributes, name, value))
                    attributes[name] = new
        return module(*arguments, **(kwargs or {}))
    finally:
        for attributes, name, value in replaced:
            attributes[name] = value


def with_replacements(value: Any, table: Mapping[int, Any]) -> Any:
    """Return an attribute's value with other tensors in it; the same one, if none is replaced."""
    if isinstance(value, Tensor):
        return table.get(id(value), value)
    if isinstance(value, dict):
        items: Any = {key: with_replacements(item, table) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in value) else value
    if isinstance(value, (list, tuple)):
        items = [with_replacements(item, table) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
