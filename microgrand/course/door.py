"""The only place that knows what a student's tensors and layers look like.

There are three styles: tensors, single numbers as in micrograd, and layers that hold a cache and
have ``forward`` and ``backward``. All checks go through a `Door`, with the names of the contract.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from .case import Case, Plain
from .stage import Fault

Array = NDArray[Any]

as_node: Any = reference.node

LAYERS = ("Linear", "ReLU", "Sequential", "Dropout")


def is_plain(given: Any) -> bool:
    """Tell arrays and numbers from tensors. Beware: an array has an attribute ``data``, too."""
    return isinstance(given, (np.ndarray, np.generic, int, float, complex, list, tuple))


def kind_of(given: Any) -> str:
    """Say in a few words what was found in place of a tensor."""
    if given is None:
        return "None"
    name = type(given).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


class Run:
    """The lines of a case that have been run, and the names that they made.

    More lines may follow: ``run("z = x * y")``. Each query becomes a line of the case, so that the
    case, written out as a program, does what the check did.
    """

    def __init__(self, door: Door, inputs: dict[str, Any]) -> None:
        self.door = door
        bridged = (door.bridged, door.layer_style)
        self.case = Case(door.stem, dict(inputs), bridged, (door.substituted, door.number))
        door.case = self.case
        self.names: dict[str, Any] = {**door.names, "np": np}
        if "node" in self.names:
            self.names["node"] = door.node
        for name, given in inputs.items():
            if isinstance(given, Plain):
                self.names[name] = copy.copy(given.array)
            else:
                array = isinstance(given, np.ndarray)
                self.names[name] = door.tensor(given.copy()) if array else given

    def __call__(self, *lines: str) -> Run:
        """Run more lines."""
        for line in lines:
            self.case.lines.append(line)
            exec(compiled(line), self.names)
        return self

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def value(self, name: str) -> Array:
        """Return the values of a tensor."""
        self.case.shown.append(f"{name}.data")
        return self.door.value(self.names[name], name)

    def gradient(self, name: str) -> Array | None:
        """Return the gradient of a leaf, or None."""
        self.case.shown.append(f"{name}.grad")
        return self.door.gradient(self.names[name])

    def backward(self, name: str, g: Array) -> Run:
        """Run backward from a tensor, with the cotangent `g`."""
        count = sum(name.startswith("g") for name in self.case.inputs)
        key = f"g{count + 1}" if count else "g"
        self.case.inputs[key] = Plain(g)
        self.case.lines.append(f"{name}.backward({key})")
        self.door.value(self.names[name], name)  # is it a tensor?
        self.door.backward(self.names[name], g.copy())
        return self


COMPILED: dict[str, types.CodeType] = {}


def compiled(line: str) -> types.CodeType:
    """Compile a line of a case, once."""
    if line not in COMPILED:
        COMPILED[line] = compile(line, "<case>", "exec")
    return COMPILED[line]


class Door:
    """A student's module, in the names of the contract.

    Parameters
    ----------
    module
        The student's module, or any object with the names of the contract.
    own
        A module with ``tensor``, ``value``, ``gradient`` and ``backward``, if there is one.
    substituted
        The numbers of the stages that the course supplies.
    layers
        Whether layers are looked at, which may have ``forward`` and ``backward``.
    number
        The stage for which the course supplies other stages.
    """

    def __init__(
        self,
        module: Any,
        own: Any = None,
        substituted: Sequence[int] = (),
        layers: bool = False,
        number: int = 1,
    ) -> None:
        self.module, self.own = module, own
        self.substituted, self.number = tuple(substituted), number
        self.stem = str(getattr(module, "__name__", "mygrad"))
        #: The current case.
        self.case = Case(self.stem, {})
        #: What the report adds that is not a fault.
        self.notes: dict[str, None] = {}
        #: The names that are bridges to the student's: layers that hold a cache.
        self.bridged = tuple(n for n in LAYERS if layers and has_cache(module, n))
        #: Whether no layer maps Tensors: then Tensors are the course's.
        self.layer_style = bool(self.bridged) and not any(
            is_callable(getattr(module, name, None)) for name in set(LAYERS) - set(self.bridged)
        )
        self.names: dict[str, Any] = {
            name: value for name, value in vars(module).items() if not name.startswith("__")
        }
        if self.own is not None:
            self.names["Tensor"] = lambda data: own.tensor(np.asarray(data, dtype=float))
        elif self.tensor_class is not None:
            self.names["Tensor"] = self.tensor_class
        if self.layer_style:
            self.names["Tensor"], self.names["node"] = reference.Tensor, reference.node
        for name in self.bridged:
            node = as_node if self.layer_style else self.node
            self.names[name] = bridge_to(getattr(module, name), node)

    @cached_property
    def tensor_class(self) -> Any:
        """The class of tensors; micrograd calls it Value, and DeZero Variable."""
        if self.layer_style:
            return reference.Tensor
        if self.own is not None:
            return type(self.own.tensor(np.array([1.0, 2.0])))
        names = ("Tensor", "Value", "Variable")
        return next((getattr(self.module, n) for n in names if hasattr(self.module, n)), None)

    def has(self, name: str) -> bool:
        """Tell whether a name of the contract is there, such as ``"Tensor.sum"``."""
        owner, _, attribute = name.partition(".")
        found = self.tensor_class if owner == "Tensor" else getattr(self.module, owner, None)
        if found is None:
            return False
        if self.own is not None and attribute == "backward":
            return True
        if attribute.startswith("__"):  # not what every object has
            return inspect.isclass(found) and any(
                attribute in vars(base) for base in inspect.getmro(found)[:-1]
            )
        return not attribute or hasattr(found, attribute)

    @cached_property
    def scalar(self) -> bool:
        """Whether a tensor is a single number: its backward takes no cotangent."""
        if self.own is not None or self.tensor_class is None:
            return False
        if not self.has("Tensor.backward"):
            with contextlib.suppress(Exception):
                return bool(np.shape(self.tensor_class(np.ones(2)).data) != (2,))
            with contextlib.suppress(Exception):
                return self.tensor_class(1.0) is not None
            return False
        with contextlib.suppress(TypeError, ValueError):
            return len(inspect.signature(self.tensor_class.backward).parameters) == 1
        return False

    # --------------------------------------------------------------------------- tensors

    def is_tensor(self, given: Any) -> bool:
        """Tell whether something is one of the student's tensors."""
        if self.own is not None:
            return isinstance(given, self.tensor_class)
        if self.tensor_class is not None and isinstance(given, self.tensor_class):
            return hasattr(given, "data")  # it may derive from NumPy's array
        return not is_plain(given) and hasattr(given, "data")

    def tensor(self, array: Array) -> Any:
        """Make a tensor."""
        if self.own is not None:
            return self.own.tensor(array)
        return self.tensor_class(float(array) if self.scalar else array)

    def value(self, given: Any, name: str = "the result") -> Array:
        """Return the values of a tensor as an array."""
        if isinstance(given, Held):
            return np.asarray(given.layer.params[given.key])
        if not self.is_tensor(given):
            if type(given) is self.tensor_class:
                raise Fault(f"{name} has no .data", "its numbers in .data", "Tensor.__init__")
            raise Fault(f"{name} is {kind_of(given)}", "a Tensor")
        if self.own is not None:
            found = self.own.value(given)
        else:
            found = given.data
            for _ in range(3):  # in some engines data is a tensor without a history
                if is_plain(found) or not hasattr(found, "data"):
                    break
                found = found.data
        array = self.as_array(found)
        if array is None:
            raise Fault(f"{name}.data is {kind_of(found)}", "an array of numbers")
        return array

    def as_array(self, found: Any) -> Array | None:
        """Return numbers as an array, and None for anything else."""
        with contextlib.suppress(Exception):
            array = np.asarray(found)
            if array.dtype.kind in "biufc":
                return array
        return None

    def gradient(self, given: Any) -> Array | None:
        """Return the gradient of a leaf as an array, or None where there is none."""
        if isinstance(given, Held):
            return self.as_array(given.layer.grads.get(given.key))
        found = self.own.gradient(given) if self.own is not None else getattr(given, "grad", None)
        if found is None:
            return None
        if not is_plain(found):
            return self.value(found, "the gradient")
        array = self.as_array(found)
        if array is None:
            raise Fault(f"the gradient is {kind_of(found)}", "an array, a Tensor or None")
        if array.ndim == 0 and array == 0:  # what some begin with
            return np.zeros(self.value(given).shape)
        return array

    def backward(self, output: Any, g: Array) -> None:
        """Run backward from an output, with the cotangent `g`."""
        if self.own is not None:
            self.own.backward(output, g)
        elif self.scalar:
            (output * float(g)).backward()
        else:
            output.backward(self.tensor_class(g) if self.wants_tensors else g)

    @cached_property
    def wants_tensors(self) -> bool:
        """Whether backward takes its cotangent as a tensor only: tried on a few operations."""

        def works(make: Callable[[Array], Any], operation: Callable[[Any], Any]) -> bool:
            with contextlib.suppress(Exception):
                operation(self.tensor(np.array([2.0, 3.0]))).backward(make(np.array([1.0, 2.0])))
                return True
            return False

        tried = (lambda x: x * x, lambda x: x + x, lambda x: -x)
        if any(works(lambda g: g, operation) for operation in tried):
            return False
        return any(works(self.tensor_class, operation) for operation in tried)

    def node(self, value: Array, parents: Sequence[Any], vjp: Callable[[Array], Any]) -> Any:
        """Make a tensor through the student's ``node``; gradients may be tensors there."""

        def converted(g: Any) -> Any:
            if is_plain(g):
                return vjp(np.asarray(g))
            return tuple(self.tensor_class(part) for part in vjp(self.value(g)))

        return self.names["node"](value, tuple(parents), converted)

    def assign(self, given: Any, array: Array) -> None:
        """Give a parameter other values."""
        if isinstance(given, Held):
            given.layer.params[given.key][...] = array
            return
        old = self.value(given)
        if old.flags.writeable and old.shape == array.shape and np.ndim(given.data):
            old[...] = array  # also where data is a property
        if not np.array_equal(self.value(given), array):
            given.data = np.array(array)

    # ---------------------------------------------------------------------------- layers

    def parameters(self, layer: Any) -> list[Any]:
        """Return a layer's parameters, in either style."""
        if isinstance(layer, Bridge):
            return list(layer.held())
        return list(layer.parameters())

    # ----------------------------------------------------------------------------- cases

    def start(self, **inputs: Any) -> Run:
        """Begin a case: arrays become tensors, unless they are `Plain`."""
        if self.own is None and not self.scalar and self.has("Tensor.backward"):
            _ = self.wants_tensors  # before the case: an engine may have one tape
        return Run(self, inputs)

    def place(self, where: str) -> types.CodeType | None:
        """Return the code of a name of the contract, such as ``"Tensor.__mul__"``."""
        owner, *attributes = where.split(".")
        found = self.tensor_class if owner == "Tensor" else getattr(self.module, owner, None)
        for attribute in attributes:
            found = getattr(found, attribute, None)
        if inspect.isclass(found):
            found = vars(found).get("__call__") or getattr(found, "__init__", None)
        found = inspect.unwrap(found) if callable(found) else found
        return getattr(found, "__code__", None)

    def note(self, sentence: str) -> None:
        """Tell the student something that is not a fault."""
        self.notes[sentence] = None


# ------------------------------------------------------------------ layers with forward, backward


def is_callable(found: Any) -> bool:
    """Tell whether the objects of a class can be called."""
    return inspect.isclass(found) and any("__call__" in vars(c) for c in inspect.getmro(found))


def has_cache(module: Any, name: str) -> bool:
    """Tell whether a class is of layers on arrays, which have forward and backward.

    A layer that maps Tensors when called does not count, whatever else it has.
    """
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and hasattr(found, "forward") and hasattr(found, "backward")):
        return False
    return not is_callable(found) or maps_arrays(module, found)


def maps_arrays(module: Any, layer_class: Any) -> bool:
    """Tell whether calling such layers with an array gives an array."""
    with contextlib.suppress(Exception):
        given: Sequence[Any] = ()
        if layer_class is getattr(module, "Linear", None):
            given = (2, 2)
        elif layer_class is getattr(module, "Sequential", None):
            given = [module.ReLU()] if hasattr(module, "ReLU") else ()
        layer, array = layer_class(*given), np.ones((1, 2))
        found = layer(array)
        return isinstance(found, np.ndarray) and found is not array
    return False


class Held:
    """A parameter in the dict of a layer that has a cache."""

    def __init__(self, layer: Any, key: str) -> None:
        self.layer, self.key = layer, key


class Bridge:
    """A layer with ``forward`` and ``backward`` as a function of tensors, made with `node`."""

    def __init__(self, layer: Any, node: Callable[..., Any] = as_node) -> None:
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "node", node)

    def __call__(self, x: Any) -> Any:
        """Run forward; the way back is the layer's backward."""
        layer = self.layer
        value = layer.forward(np.asarray(x if is_plain(x) else x.data))

        def vjp(g: Array) -> tuple[Any]:
            found = layer.backward(g)
            if not isinstance(found, np.ndarray):
                raise Fault(f"backward returns {kind_of(found)}", "an array, the input's gradient")
            return (found,)

        return self.node(value, (x,), vjp)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "layer"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.layer, name, value)

    def held(self) -> Iterator[Held]:
        """Yield the parameters of the layer and of the layers in it."""
        seen: list[Any] = []

        def walk(layer: Any) -> Iterator[Held]:
            if isinstance(layer, Bridge):
                layer = layer.layer
            if isinstance(layer, (list, tuple)):
                for one in layer:
                    yield from walk(one)
            elif isinstance(layer, dict):
                yield from walk(list(layer.values()))
            elif hasattr(layer, "forward") and not any(layer is one for one in seen):
                seen.append(layer)
                below = [value for key, value in vars(layer).items() if key not in OWN]
                found = list(walk(below))
                if found:
                    yield from found
                else:
                    yield from (Held(layer, key) for key in getattr(layer, "params", {}))

        yield from walk(self.layer)


OWN = ("params", "grads", "cache")


def bridge_to(layer_class: Any, node: Callable[..., Any] = as_node) -> Callable[..., Bridge]:
    """Return a function that makes layers of a class, with bridges to them."""

    def make(*args: Any, **options: Any) -> Bridge:
        layers = [arg.layer if isinstance(arg, Bridge) else arg for arg in args]
        return Bridge(layer_class(*layers, **options), node)

    make.__name__ = layer_class.__name__
    return make
