"""What a gradient check needs to know of a framework, for microgrand and for others."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import add, mul, sub
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..dispatch import data_of
from ..engine import backpropagate
from ..kinds import Array
from ..tensor import Tensor


@dataclass(frozen=True)
class Adapter:
    """What `gradcheck` needs to know of a framework; by default it is microgrand.

    There are ready ones: `Adapter.guess` for frameworks with a class of tensors, `Adapter.scalar`
    for a class of numbers, `Adapter.layer` for layers that come with their own backward function,
    and `Adapter.pytorch`.

    Parameters
    ----------
    tensor
        Makes a tensor from an array, one whose gradient can be asked for.
    array
        Gives the values of a tensor as an array.
    gradients
        Called as ``gradients(outputs, cotangents, leaves, create_graph)``, all sequences of
        tensors: runs backward from the outputs, and returns for each leaf its gradient, or None
        where none arrives. With `create_graph` (for ``order=2`` only) the gradients are tensors
        that can be differentiated again; otherwise arrays, lists or numbers will do.

        If the framework has only ``backward`` and ``grad``, clear ``grad``, and then run
        backward once, from the sum of all ``output * cotangent``: several runs overwrite each
        other's gradients, or add what is left in the middle of the graph once more.
    function
        Makes a function of tensors from what is given to `gradcheck` as one; by default it is
        taken as it is.
    """

    tensor: Callable[[Array], Any]
    array: Callable[[Any], Any]
    gradients: Callable[[Sequence[Any], Sequence[Any], Sequence[Any], bool], Sequence[Any]]
    function: Callable[[Any], Callable[..., Any]] = lambda fn: fn

    @classmethod
    def guess(cls, tensor_class: Callable[..., Any]) -> Adapter:
        """Find out how the tensors of a framework work, by trying.

        It is given their class, or a function that makes a tensor from an array.

        It tries: the array or a list as the first argument, with ``requires_grad=True`` or
        without; values in ``data``, ``value``, ``array`` or ``numpy``, attribute or method; a
        ``backward`` that takes a cotangent as a tensor or an array, by position or by name, or,
        where by its signature it takes none, starts from a sum; a ``grad`` that is an array or a
        tensor. It is reset before each run. Several outputs are run one by one, and the
        function is called again for each. What the framework computes need not be right: a
        wrong gradient is for `gradcheck` to find.

        Raises
        ------
        TypeError
            If no way is found: write your own `Adapter`.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand.testing import Adapter, gradcheck
        >>> class Variable:
        ...     def __init__(self, value, parents=()):
        ...         self.value, self.parents, self.grad = np.asarray(value), parents, 0.0
        ...     def __mul__(self, other):
        ...         return Variable(self.value * other.value, [(self, other), (other, self)])
        ...     def backward(self, g):
        ...         self.grad = self.grad + g
        ...         for parent, other in self.parents:
        ...             parent.backward(g * other.value)
        >>> gradcheck(lambda x: x * x * x, np.array([1.0, 2.0]), adapter=Adapter.guess(Variable))
        True
        """
        return guessed(tensor_class)

    @classmethod
    def scalar(cls, value_class: type) -> Adapter:
        """Check a class of single numbers: `fn` gets NumPy arrays that hold them.

        NumPy's operators, ``np.sum`` and ``@`` work on such arrays, element by element. Methods
        are called on the elements: ``[x.relu() for x in xs]`` returns several outputs. For a 0-d
        input, `fn` gets the number itself.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand.testing import Adapter, gradcheck
        >>> class Value:
        ...     def __init__(self, data, parents=()):
        ...         self.data, self.parents, self.grad = data, parents, 0.0
        ...     def __add__(self, other):
        ...         return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])
        ...     def __mul__(self, other):
        ...         return Value(self.data * other.data, [(self, other.data), (other, self.data)])
        ...     def backward(self, g=1.0):
        ...         self.grad += g
        ...         for parent, slope in self.parents:
        ...             parent.backward(slope * g)
        >>> x, y = np.ones((2, 3)), np.arange(3.0)
        >>> gradcheck(lambda x, y: x @ y, x, y, adapter=Adapter.scalar(Value))
        True
        """
        return of_scalars(value_class)

    @classmethod
    def layer(
        cls,
        *parameters: str,
        backward: Callable[..., Any] | None = None,
        constants: Sequence[Any] = (),
    ) -> Adapter:
        """Check a layer that has ``forward``, ``backward`` and a cache, and computes with arrays.

        `gradcheck` is given the layer instead of a function. Or, with `backward`, the function
        ``forward(*inputs)``, which returns a result and a cache; ``backward(g, cache)`` returns a
        gradient for each input. Of several results, ``backward`` gets the cotangents one by one.

        A layer's ``backward`` that takes no argument, as a loss's may, begins at the cotangent 1
        of a single number.

        Parameters
        ----------
        *parameters
            Names of parameters that are to be checked, too: further inputs, after those of
            ``forward``. They are ``layer.W`` or ``layer.params["W"]``; their gradients are
            ``layer.dW``, ``layer.grad_W``, ``layer.W_grad`` or ``layer.grads["W"]``.
        backward
            The function that belongs to ``forward``.
        constants
            Further arguments of ``forward``, after the inputs, that have no gradient: labels, say.

        Examples
        --------
        >>> import numpy as np
        >>> from microgrand.testing import Adapter, gradcheck
        >>> class Linear:
        ...     def forward(self, x):
        ...         self.x = x
        ...         return x @ self.W
        ...     def backward(self, g):
        ...         self.dW = self.x.T @ g
        ...         return g @ self.W.T
        >>> x, W = np.ones((2, 3)), np.arange(12.0).reshape(3, 4)
        >>> gradcheck(Linear(), x, W, adapter=Adapter.layer("W"))
        True

        >>> def sine(x):
        ...     return np.sin(x), x
        >>> def sine_backward(g, x):
        ...     return g * np.cos(x)
        >>> gradcheck(sine, x, adapter=Adapter.layer(backward=sine_backward))
        True

        >>> class SquaredError:
        ...     def forward(self, prediction, target):
        ...         self.difference = prediction - target
        ...         return np.sum(self.difference**2)
        ...     def backward(self):
        ...         return 2 * self.difference
        >>> gradcheck(SquaredError(), x, adapter=Adapter.layer(constants=[np.ones((2, 3))]))
        True

        A function that returns a loss and its gradient has a cache, too:

        >>> def squared_error(prediction, target):
        ...     difference = prediction - target
        ...     return np.sum(difference**2), 2 * difference
        >>> adapter = Adapter.layer(backward=lambda g, gradient: g * gradient, constants=[0.5])
        >>> gradcheck(squared_error, x, adapter=adapter)
        True
        """
        return of_layers(parameters, backward, constants)

    @classmethod
    def pytorch(cls) -> Adapter:
        """Check functions and modules of PyTorch.

        Examples
        --------
        A module's parameters are inputs if ``torch.func.functional_call`` gets them::

            pytorch = Adapter.pytorch()
            gradcheck(torch.special.erf, x, adapter=pytorch, order=2)
            gradcheck(MyFunction.apply, x.astype(np.float32), adapter=pytorch)
            gradcheck(
                lambda x, weight: torch.func.functional_call(module, {"weight": weight}, (x,)),
                x, weight, adapter=pytorch,
            )
        """
        return of_pytorch()


def gradients(
    outputs: Sequence[Any], cotangents: Sequence[Any], leaves: Sequence[Any], create_graph: bool
) -> list[Any]:
    """Run microgrand's backward pass; other tensors that `fn` uses keep their ``grad``."""
    totals: dict[Any, Any] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if isinstance(output, Tensor) and output.requires_grad:
            start = cotangent if create_graph else cotangent.data
            found = backpropagate(output, start, set(leaves), create_graph)
            for leaf, g in found.items():
                totals[leaf] = totals[leaf] + g if leaf in totals else g
    return [totals.get(leaf) for leaf in leaves]


MICROGRAND = Adapter(
    tensor=lambda array: Tensor(array, requires_grad=True),
    array=lambda value: np.asarray(data_of(value)),
    gradients=gradients,
)


# -------------------------------------------------------------------- tensors of any framework

#: Where a tensor may have its values, and its gradient.
VALUES = ("data", "value", "array", "numpy", "val", "_data")
GRADIENTS = ("grad", "gradient", "_grad")
EXAMPLE, OTHER, WEIGHT = np.array([1.25, -0.75]), np.array([0.5, 1.75]), np.array([1.5, -0.625])
#: Operations, and the gradients of their first operand.
PROBES = [(mul, WEIGHT * OTHER), (add, WEIGHT), (sub, WEIGHT)]


class Way(NamedTuple):
    """How a backward pass is run: called with an output, its cotangent and keywords."""

    run: Callable[..., Any]
    #: The same from a leaf, without an operation that the framework may be wrong in.
    run_on_leaf: Callable[..., Any]


def from_cotangent(convert: Callable[[Any], Any], keyword: str | None) -> Way:
    """Give backward the cotangent."""

    def run(output: Any, g: Any, options: dict[str, Any]) -> None:
        if keyword is None:
            output.backward(convert(g), **options)
        else:
            output.backward(**{keyword: convert(g)}, **options)

    return Way(run, run)


def from_one(total: Callable[[Any], Any]) -> Way:
    """Run backward from the sum of output * cotangent."""
    return Way(
        lambda output, g, options: total(output * g).backward(**options),
        lambda leaf, g, options: total(leaf).backward(**options),
    )


#: What parameters of `backward` are called that are options, and no cotangent.
OPTIONS = re.compile("retain|create|graph|keep|free|zero|clear|reset|verbose|debug|visited|depth")


def takes_cotangent(parameter: inspect.Parameter) -> bool:
    """Tell whether a parameter of a method `backward` is a cotangent."""
    return (
        parameter.kind is not parameter.VAR_KEYWORD
        and not isinstance(parameter.default, bool)
        and not OPTIONS.search(parameter.name)
    )


def by_cotangent(parameters: Sequence[inspect.Parameter], read: Callable[[Any], Any]) -> list[Way]:
    """Return how `backward` is given a cotangent, or nothing if by its parameters it takes none."""
    of_keyword = [p for p in parameters[1:] if p.kind is p.KEYWORD_ONLY]
    for parameter in [*parameters[1:2], *of_keyword]:  # after self
        if takes_cotangent(parameter):
            keyword = parameter.name if parameter in of_keyword else None
            return [from_cotangent(convert, keyword) for convert in (lambda g: g, read)]
    return []


#: For frameworks whose `backward` begins at 1; not all have a sum.
FROM_ONE = [from_one(lambda output: output.sum()), from_one(lambda output: output)]

#: The score of a way that is right for two operations.
RIGHT = 20

T = TypeVar("T")


def first_that_works(ways: Iterable[T], works: Callable[[T], bool], what: str) -> T:
    """Return the first of several that does what it should; raise if none does."""
    for way in ways:
        try:
            if works(way):
                return way
        except Exception:
            continue
    raise TypeError(f"Adapter.guess found no way to {what}; write an Adapter yourself")


def reader_of(attribute: str) -> Callable[[Any], Array]:
    """Make a function that reads an attribute of a tensor, or calls the method of that name."""

    def read(tensor: Any) -> Array:
        found = getattr(tensor, attribute)
        array = np.asarray(found() if callable(found) else found)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{attribute} holds no numbers")
        return array

    return read


def guessed(given: Any) -> Adapter:
    """Do what `Adapter.guess` does."""
    name = getattr(given, "__name__", "tensor")
    reader = reader_of(VALUES[0])

    def read(tensor: Any) -> Array:
        return reader(tensor)

    def can_be_read(make: Callable[..., Any]) -> bool:
        nonlocal reader
        reader = first_that_works(
            map(reader_of, VALUES),
            lambda read: np.allclose(read(make(EXAMPLE)), EXAMPLE, rtol=1e-2),
            f"read the values of a {name}",
        )
        return True

    make: Callable[..., Any] = first_that_works(
        [
            lambda array: given(array, requires_grad=True),
            lambda array: given(array.tolist(), requires_grad=True),
            lambda array: given(array),
            lambda array: given(array.tolist()),
        ],
        can_be_read,
        f"make a {name} from an array and to read its values",
    )
    tensor_class: Any = type(make(EXAMPLE))
    attribute = next((a for a in GRADIENTS if hasattr(make(EXAMPLE), a)), "grad")
    if not hasattr(tensor_class, "backward"):
        raise TypeError(
            f"Adapter.guess looks for a method `backward`, which {tensor_class.__name__} lacks; "
            "write an Adapter yourself"
        )
    parameters = list(inspect.signature(tensor_class.backward).parameters.values())

    def run(
        backward: Callable[..., Any], output: Any, g: Any, leaves: Sequence[Any], create_graph: bool
    ) -> list[Any]:
        for leaf in leaves:  # to what a new tensor has there
            try:
                setattr(leaf, attribute, getattr(make(read(leaf)), attribute, None))
            except AttributeError:  # it cannot be set, and is None, as leaves are new
                continue
        backward(output, g, {"create_graph": True} if create_graph else {})
        found = [getattr(leaf, attribute) for leaf in leaves]
        if create_graph:
            return found
        arrays = [read(g) if isinstance(g, tensor_class) else g for g in found]
        # A number, mostly 0, is what some have until a gradient arrives.
        return [
            np.full(read(leaf).shape, g) if isinstance(g, (int, float)) else g
            for g, leaf in zip(arrays, leaves, strict=True)
        ]

    def found_by(backward: Callable[..., Any], op: Callable[..., Any]) -> Any:
        """Return the gradient of a small graph, or None where backward cannot be run like this."""
        leaf, other = make(EXAMPLE), make(OTHER)
        with contextlib.suppress(Exception):
            (g,) = run(backward, op(leaf, other), make(WEIGHT), [leaf], False)
            if np.shape(g) == EXAMPLE.shape and np.asarray(g).dtype.kind in "fiu":
                return g
        return None

    def score(way: Way) -> int:
        # What is not right is for the check to find, as long as the way is accepted.
        found = [(found_by(way.run, op), right) for op, right in PROBES]
        found += [(found_by(way.run_on_leaf, lambda leaf, other: leaf), np.nan)]
        return sum(1 + 9 * np.allclose(g, right, rtol=1e-2) for g, right in found if g is not None)

    def best(ways: Iterable[Way]) -> list[Way]:
        # What fails may leave a tape half filled that all tensors share. So first is what a leaf
        # can do, which records nothing; and what is right is the last that is tried.
        on_leaf = {way: found_by(way.run_on_leaf, lambda leaf, other: leaf) for way in ways}
        scores = {}
        for way in sorted(on_leaf, key=lambda way: on_leaf[way] is None):
            scores[way] = score(way)
            if scores[way] >= RIGHT:
                break
        return sorted(filter(scores.get, scores), key=scores.__getitem__, reverse=True)[:1]

    # That a cotangent is ignored would be hidden by a sum, which is for where none is accepted.
    run_backward = first_that_works(
        (way for ways in (by_cotangent(parameters, read), FROM_ONE) for way in best(ways)),
        lambda way: True,
        f"run backward from a {name} so that a gradient arrives at a leaf",
    ).run
    #: The latest calls of functions, and what they returned.
    calls: deque[tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = deque(maxlen=2)

    def function(fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*leaves: Any) -> Any:
            result = fn(*leaves)
            calls.append((fn, leaves, as_outputs(result)))
            return result

        return call

    def again(output: Any, leaves: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """Return the same output and leaves, of a graph of their own."""
        for fn, given, outputs in calls:
            if list(map(id, given)) == list(map(id, leaves)):
                for i, other in enumerate(outputs):
                    if other is output:
                        fresh = [make(read(leaf)) for leaf in leaves]
                        return as_outputs(fn(*fresh))[i], fresh
        return output, leaves

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        create_graph = create_graph and any(p.name == "create_graph" for p in parameters)
        parts = [
            (output, g)
            for output, g in zip(outputs, cotangents, strict=True)
            if isinstance(output, tensor_class) and getattr(output, "requires_grad", True)
        ]
        totals: list[Any] = [None] * len(leaves)
        # One run for each, of a graph of its own: one may add what is left inside of another's.
        for i, (output, g) in enumerate(parts):
            root, inputs = again(output, leaves) if i and not create_graph else (output, leaves)
            for k, share in enumerate(run(run_backward, root, g, inputs, create_graph)):
                if share is not None:
                    totals[k] = share if totals[k] is None else totals[k] + share
            if not create_graph:  # arrays may be used again
                totals = [None if g is None else np.array(g) for g in totals]
        return totals

    return Adapter(make, read, gradients, function)


# --------------------------------------------------------------------------- single numbers


def of_scalars(value_class: Any) -> Adapter:
    """Do what `Adapter.scalar` does."""
    attribute = next(a for a in VALUES if hasattr(value_class(1.0), a))
    make = np.vectorize(value_class, otypes=[object])
    get_data = np.vectorize(lambda value: getattr(value, attribute, value), otypes=[float])

    def tensor(array: Array) -> Any:
        return make(array) if array.ndim else value_class(float(array))

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        values = [value for leaf in leaves for value in np.ravel(leaf)]
        for value in values:
            value.grad = 0.0
        products = [
            value * g
            for output, cotangent in zip(outputs, cotangents, strict=True)
            for value, g in zip(np.ravel(output), np.ravel(cotangent), strict=True)
            if isinstance(value, value_class)
        ]
        if not products:
            return [None] * len(leaves)
        functools.reduce(add, products).backward()
        get_grad = np.vectorize(lambda value: float(value.grad), otypes=[float])
        return [get_grad(leaf) if np.ndim(leaf) else float(leaf.grad) for leaf in leaves]

    return Adapter(tensor, get_data, gradients)


# ----------------------------------------------------------------------------------- layers


def of_layers(
    names: Sequence[str], backward: Callable[..., Any] | None, constants: Sequence[Any]
) -> Adapter:
    """Do what `Adapter.layer` does."""
    cache: Any = None

    def function(layer: Any) -> Callable[..., Any]:
        def forward(*inputs: Array) -> Any:
            nonlocal cache
            if backward is not None:
                output, cache = layer(*inputs, *constants)
                return output
            cache = layer
            arguments = inputs[: len(inputs) - len(names)]
            for name, array in zip(names, inputs[len(arguments) :], strict=True):
                if name in getattr(layer, "params", {}):
                    layer.params[name] = array
                else:
                    setattr(layer, name, array)
            return layer.forward(*arguments, *constants)

        return forward

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        if create_graph:
            raise TypeError(
                "order=2 needs a framework that records its backward pass, and a layer's gradients "
                "are arrays"
            )
        if backward is not None:
            return as_list(backward(*cotangents, cache))
        forget_gradients(cache, names)
        begins_at_one = not inspect.signature(cache.backward).parameters
        if begins_at_one and [np.size(output) for output in outputs] != [1]:
            raise TypeError(
                f"the backward of {type(cache).__name__} takes no cotangent, so its forward is "
                f"expected to return one number, and gave shapes {[np.shape(o) for o in outputs]}"
            )
        found = as_list(cache.backward(*([] if begins_at_one else cotangents)))
        found += [gradient_of_parameter(cache, name) for name in names]
        return [np.ravel(*cotangents)[0] * g for g in found] if begins_at_one else found

    return Adapter(lambda array: array, np.asarray, gradients, function)


def as_outputs(result: Any) -> tuple[Any, ...]:
    """Make a tuple of what a function returned, one tensor or several."""
    return tuple(result) if isinstance(result, (list, tuple)) else (result,)


def as_list(found: Any) -> list[Any]:
    """Return a list of one gradient or several."""
    return list(found) if isinstance(found, (list, tuple)) else [found]


def attributes_for_gradient(name: str) -> tuple[str, ...]:
    """Return what layers may call the gradient of a parameter."""
    return f"d{name}", f"grad_{name}", f"{name}_grad", f"{name}_gradient"


def forget_gradients(layer: Any, names: Sequence[str]) -> None:
    """Set gradients of parameters that a layer has already to 0, as it may add to them."""
    for name in names:
        for attribute in attributes_for_gradient(name):
            if isinstance(getattr(layer, attribute, None), np.ndarray):
                with contextlib.suppress(AttributeError):  # of what cannot be set
                    setattr(layer, attribute, np.zeros_like(getattr(layer, attribute)))
        for attribute in ("grads", "gradients"):
            found = getattr(layer, attribute, {})
            for key in (name, f"d{name}"):
                if key in found and isinstance(found[key], np.ndarray):
                    found[key] = np.zeros_like(found[key])


def gradient_of_parameter(layer: Any, name: str) -> Any:
    """Return what a layer has computed as the gradient of a parameter."""
    for attribute in attributes_for_gradient(name):
        if hasattr(layer, attribute):
            return getattr(layer, attribute)
    for attribute in ("grads", "gradients"):
        found = getattr(layer, attribute, {})
        for key in (name, f"d{name}"):
            if key in found:
                return found[key]
    raise AttributeError(
        f"{type(layer).__name__} has no d{name}, grad_{name}, {name}_grad or grads[{name!r}] after "
        "backward"
    )


# ---------------------------------------------------------------------------------- PyTorch


def of_pytorch() -> Adapter:
    """Do what `Adapter.pytorch` does."""
    import torch

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        parts = [
            (output, g)
            for output, g in zip(outputs, cotangents, strict=True)
            if getattr(output, "requires_grad", False)
        ]
        if not parts:
            return [None] * len(leaves)
        tensors, gs = zip(*parts, strict=True)
        return torch.autograd.grad(
            tensors, leaves, gs, create_graph=create_graph, allow_unused=True
        )

    return Adapter(
        tensor=lambda array: torch.tensor(array, requires_grad=True),
        array=lambda tensor: tensor.detach().numpy(),
        gradients=gradients,
    )
