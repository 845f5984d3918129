"""What a gradient check needs to know of a framework, for microgrand and for others."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import add, mul, sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dispatch import unwrap
from ..engine import backpropagate
from ..tensor import Tensor

Array = NDArray[Any]


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

        Where all that there is are ``backward`` and ``grad``, clear ``grad``, and then run
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

        Tried are: the array or a list as the first argument, with ``requires_grad=True`` or
        without; values in ``data``, ``value``, ``array`` or ``numpy``, attribute or method; a
        ``backward`` that takes a cotangent as a tensor or an array, or starts from a sum; a
        ``grad`` that is an array or a tensor. It is set to what it was before each run.

        Raises
        ------
        TypeError
            If no way is found: write an `Adapter` of your own.

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
    def layer(cls, *parameters: str, backward: Callable[..., Any] | None = None) -> Adapter:
        """Check a layer that has ``forward``, ``backward`` and a cache, and computes with arrays.

        `gradcheck` is given the layer instead of a function. Or, with `backward`, the function
        ``forward(*inputs)``, which returns a result and a cache; ``backward(g, cache)`` returns a
        gradient for each input. Of several results, ``backward`` gets the cotangents one by one.

        Parameters
        ----------
        *parameters
            Names of parameters that are to be checked, too: further inputs, after those of
            ``forward``. They are ``layer.W`` or ``layer.params["W"]``; their gradients are
            ``layer.dW``, ``layer.grad_W``, ``layer.W_grad`` or ``layer.grads["W"]``.
        backward
            The function that belongs to ``forward``.

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
        """
        return of_layers(parameters, backward)

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
    array=lambda value: np.asarray(unwrap(value)),
    gradients=gradients,
)


# -------------------------------------------------------------------- tensors of any framework

#: Where a tensor may have its values, and its gradient.
VALUES = ("data", "value", "array", "numpy", "val", "_data")
GRADIENTS = ("grad", "gradient", "_grad")
EXAMPLE, OTHER, WEIGHT = np.array([1.25, -0.75]), np.array([0.5, 1.75]), np.array([1.5, -0.625])


def first_that_works(
    ways: Iterable[Callable[..., Any]], works: Callable[[Callable[..., Any]], bool], what: str
) -> Callable[..., Any]:
    """Return the first of several functions that does what it should; raise if none does."""
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

    make = first_that_works(
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
            f"Adapter.guess looks for a method `backward`, which {tensor_class.__name__} has not; "
            "write an Adapter yourself"
        )
    options = inspect.signature(tensor_class.backward).parameters

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

    def is_right(backward: Callable[..., Any]) -> bool:
        # The framework may be wrong, but hardly in all of these.
        for op, right in ((mul, WEIGHT * OTHER), (add, WEIGHT), (sub, WEIGHT)):
            leaf, other = make(EXAMPLE), make(OTHER)
            with contextlib.suppress(Exception):
                (g,) = run(backward, op(leaf, other), make(WEIGHT), [leaf], False)
                if np.shape(g) == right.shape and np.allclose(g, right, rtol=1e-2):
                    return True
        return False

    backward = first_that_works(
        [
            lambda output, g, options: output.backward(g, **options),
            lambda output, g, options: output.backward(read(g), **options),
            lambda output, g, options: (output * g).sum().backward(**options),
            lambda output, g, options: (output * g).backward(**options),
        ],
        is_right,
        f"run backward from a {name} so that the gradients of a * b, a + b or a - b are right",
    )

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        parts = [
            (output, g)
            for output, g in zip(outputs, cotangents, strict=True)
            if isinstance(output, tensor_class) and getattr(output, "requires_grad", True)
        ]
        if not parts:
            return [None] * len(leaves)
        if len(parts) > 1:
            # One run from a sum, as several may overwrite each other's gradients.
            total = functools.reduce(add, [(output * g).sum() for output, g in parts])
            parts = [(total, make(np.ones_like(read(total))))]
        return run(backward, *parts[0], leaves, create_graph and "create_graph" in options)

    return Adapter(make, read, gradients)


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


def of_layers(names: Sequence[str], backward: Callable[..., Any] | None) -> Adapter:
    """Do what `Adapter.layer` does."""
    cache: Any = None

    def function(layer: Any) -> Callable[..., Any]:
        def forward(*inputs: Array) -> Any:
            nonlocal cache
            if backward is not None:
                output, cache = layer(*inputs)
                return output
            cache = layer
            arguments = inputs[: len(inputs) - len(names)]
            for name, array in zip(names, inputs[len(arguments) :], strict=True):
                if name in getattr(layer, "params", {}):
                    layer.params[name] = array
                else:
                    setattr(layer, name, array)
            return layer.forward(*arguments)

        return forward

    def gradients(outputs: Any, cotangents: Any, leaves: Any, create_graph: bool) -> Any:
        if create_graph:
            raise TypeError(
                "order=2 needs a framework that records its backward pass, and a layer's gradients "
                "are arrays"
            )
        if backward is None:
            forget_gradients(cache, names)
            found = cache.backward(*cotangents)
        else:
            found = backward(*cotangents, cache)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        return found + [gradient_of_parameter(cache, name) for name in names]

    return Adapter(lambda array: array, np.asarray, gradients, function)


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
    import torch  # type: ignore[import-not-found, unused-ignore]

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
