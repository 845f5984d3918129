"""What containers, registered buffers, hooks and nn.utils refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..checks import Missing
from ..kinds import Array
from ..tensor import Tensor
from ..traced import look
from ..vjps.rules import as_array
from .checks import check_flag
from .layer_checks import one_of, positive
from .padding_checks import number_in

# ------------------------------------------------------------------------------ containers


def check_modules(who: str, layers: Iterable[Any], module: type) -> None:
    """Raise if a container is given anything but modules."""
    for i, layer in enumerate(layers):
        if isinstance(layer, module):
            continue
        if isinstance(layer, type):
            mend = f"make one, {layer.__name__}()"
        elif callable(layer):
            mend = "call it in the forward() of a Module of your own"
        elif who == "Sequential":
            mend = "give them one by one, Sequential(a, b), or unpack a list, Sequential(*layers)"
        else:
            mend = f"give a list of them, {who}([a, b])"
        raise TypeError(f"{who} takes modules, got {layer!r:.60} at position {i}; {mend}")


def check_module_list(who: str, modules: Any, module: type) -> None:
    """Raise if a container is not given modules in a list or another iterable."""
    if isinstance(modules, module) or not isinstance(modules, Iterable):
        raise TypeError(
            f"{who} takes modules in a list, got {type(modules).__name__}; write {who}([a, b])"
        )


def check_parameter_list(who: str, values: Any) -> None:
    """Raise if a container is not given parameters in a list or another iterable."""
    if isinstance(values, Tensor) or not isinstance(values, Iterable):
        raise TypeError(
            f"{who} takes parameters in a list, got {type(values).__name__}; write {who}([a, b])"
        )


def check_names(who: str, what: str, items: Any) -> None:
    """Raise if a container is given anything but a dict with names."""
    if not isinstance(items, Mapping):
        raise TypeError(f"{who} takes a dict from names to {what}, got {type(items).__name__}")
    for name in items:
        if not isinstance(name, str):
            raise TypeError(f"{who}'s names are strings, got {name!r}")
        if not name or "." in name:
            raise ValueError(f"{who}'s names are parts of dotted names, got {name!r}")


def check_named_modules(who: str, modules: Any, module: type) -> None:
    """Raise if a container is given anything but modules by name."""
    check_names(who, "modules", modules)
    for name, layer in modules.items():
        if not isinstance(layer, module):
            raise TypeError(f"{who} takes modules, got {layer!r:.60} for {name!r}")


def check_names_of_layers(net: Any, layers: Mapping[Any, Any], module: type) -> None:
    """Raise if layers by name are not modules, or could not be attributes of these names."""
    check_named_modules("Sequential", layers, module)
    for name in layers:
        if hasattr(type(net), name) or name in ("layers", "names"):
            raise ValueError(
                f"Sequential has an attribute {name!r} of its own; choose another name for the "
                "layer"
            )


def check_has_layer(name: str, names: Iterable[str]) -> None:
    """Raise if a `Sequential` has no layer, nor anything else, of this name."""
    if name not in names:
        known = f"; its layers are {', '.join(names)}" if names else ""
        raise AttributeError(f"Sequential has no attribute {name!r}{known}")


def check_has_name(container: Any, name: str, by_name: Mapping[str, Any]) -> None:
    """Raise if a container has nothing of this name."""
    if name not in by_name:
        who = type(container).__name__
        raise AttributeError(f"{who} has nothing called {name!r}; it has {', '.join(by_name)}")


def check_has_no_names(names: Any) -> None:
    """Raise if a layer without a name is to be put among layers with names."""
    if names is not None:
        raise ValueError(
            "this Sequential's layers have names, and a layer that is inserted would have none; "
            "make a new one of a dict, Sequential({name: layer, ...})"
        )


def refuse_name(container: Any, name: str, instead: str) -> NoReturn:
    """Raise because a container has no place for a module of a name."""
    raise TypeError(
        f"{type(container).__name__} has no place for a module {name!r}; write {instead}"
    )


def check_residual(x: Any, change: Any) -> None:
    """Raise if what is to be added has another shape, which NumPy would stretch."""
    if np.shape(x) != np.shape(change):
        raise ValueError(
            f"Residual adds what its body returns, of shape {np.shape(change)}, to the shortcut, "
            f"of shape {np.shape(x)}; give it a shortcut that changes the shape, "
            "Residual(body, shortcut=nn.Linear(...))"
        )


# ------------------------------------------------------------------------------ shared tensors


def check_same(name: str, first: Any, value: Any) -> None:
    """Raise if a state has two values for one parameter, which modules share."""
    if not np.array_equal(first, value, equal_nan=True):
        raise ValueError(f"other values than {name}, and the module has one parameter for both")


# ------------------------------------------------------------------------------ parts by name


def check_name_of_part(kind: str, module: Any, name: Any) -> None:
    """Raise if an attribute cannot have this name, or one has it already."""
    if not isinstance(name, str):
        raise TypeError(f"a {kind}'s name is a string, got {name!r}")
    if not name or "." in name:
        raise ValueError(
            f"a {kind}'s name is that of an attribute, without a dot, got {name!r}; register it in "
            "the module that it belongs to"
        )
    if hasattr(module, name):
        mend = "" if kind == "module" else f", or change its values with .{name}.data = array"
        raise ValueError(
            f"{type(module).__name__} has an attribute {name!r}; choose another name{mend}"
        )


def check_kind_of_part(who: str, part: Any, kind: type) -> None:
    """Raise if something that is to be registered is of another kind."""
    if part is not None and not isinstance(part, kind):
        mend = "; wrap it, nn.Parameter(data)" if kind.__name__ == "Parameter" else ""
        raise TypeError(f"{who} takes a {kind.__name__} or None, got {type(part).__name__}{mend}")


def found_by_name(module: Any, kind: str, name: Any, parts: Iterable[tuple[str, Any]]) -> Any:
    """Return what has a dotted name, or raise."""
    by_name = dict(parts)
    if name not in by_name:
        known = ", ".join(repr(x) for x in by_name if x) or "none"
        raise AttributeError(f"{type(module).__name__} has no {kind} {name!r}; it has {known:.500}")
    return by_name[name]


#: What modules have no method for, and what to do instead.
WHERE = (
    "there are no devices: a module computes where its parameters' arrays are, and p.data = array "
    "puts one there"
)
NO_DEVICES = Missing(f"a module has no cuda() and cpu(); {WHERE}")


def checked_dtype_of_floats(module: Any, given: Any) -> np.dtype[Any]:
    """Return a dtype of floats, or raise: it may be PyTorch's device."""
    dtype: np.dtype[Any] | None = None
    if given is not None:  # which stands for float64
        with contextlib.suppress(TypeError):
            dtype = np.dtype(given)
    if dtype is None or dtype.kind != "f":
        raise TypeError(
            f"{type(module).__name__}.to takes a dtype of floats, such as np.float64, got "
            f"{given!r}; {WHERE}"
        )
    return dtype


# ------------------------------------------------------------------------------ hooks


def check_hook(module: Any, hook: Any) -> None:
    """Raise if a hook cannot be called, or has no place."""
    if not callable(hook):
        raise TypeError(f"a hook is a function, got {hook!r:.60}")
    if "forward" in vars(module) and "_hooks" not in vars(module):
        raise TypeError(
            f"this {type(module).__name__} has an attribute 'forward' of its own, around which "
            "hooks are not called; define forward in its class"
        )


def check_output_has_gates(module: Any, items: list[Any]) -> None:
    """Raise if tensors in a module's output would pass a backward hook unseen."""
    if any(isinstance(item, (dict, list, tuple)) for item in items):
        raise TypeError(
            f"{type(module).__name__} has a backward hook, and returns a nest; such a module "
            "returns a tensor, or tensors in one list or tuple"
        )


def checked_gradients(changed: Any, before: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a backward hook has replaced gradients with."""
    new = tuple(changed) if isinstance(changed, (list, tuple)) else (changed,)
    if len(new) != len(before):
        raise ValueError(
            f"a backward hook returned {len(new)} gradients, expected {len(before)}, one for each "
            "argument of the module"
        )
    for i, (one, other) in enumerate(zip(new, before, strict=True)):
        if other is not None and np.shape(one) != np.shape(other):
            raise ValueError(
                f"a backward hook returned a gradient of shape {np.shape(one)} for argument {i}, "
                f"expected {np.shape(other)}"
            )
    return new


# ------------------------------------------------------------------------------ nn.utils


def checked_tensors(who: str, tensors: Any, some: bool = False) -> list[Tensor]:
    """Return tensors as a list, of one if there is one."""
    if isinstance(tensors, Tensor):
        return [tensors]
    if callable(getattr(tensors, "parameters", None)):
        raise TypeError(
            f"{who} takes tensors, got a module of type {type(tensors).__name__}; pass "
            "module.parameters()"
        )
    if not isinstance(tensors, Iterable):
        raise TypeError(
            f"{who} takes an iterable of tensors, got {type(tensors).__name__}; pass "
            "model.parameters(), with its parentheses"
        )
    several = list(tensors)
    for i, tensor in enumerate(several):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{who} takes tensors, got {type(tensor).__name__} at position {i}")
    if some and not several:
        raise ValueError(f"{who} got no parameters (an iterator that has been used up is empty)")
    return several


def checked_order(order: Any) -> float:
    """Return the order of a norm, above 0."""
    if isinstance(order, str) and order == "inf":  # as in PyTorch
        return np.inf
    return positive("clip_grad_norm_'s norm_type", order)


def check_finite_norm(finite: Any) -> None:
    """Raise if the norm of all gradients is nan or infinite."""
    if not finite:
        raise RuntimeError(
            "the norm of the gradients is nan or infinite, so they cannot be clipped; "
            "microgrand.detect_anomaly() tells where the first nan arises"
        )


def checked_vector(vector: Any, size: int) -> Array:
    """Return the values of a vector of the right number of elements."""
    values = vector.data if isinstance(vector, Tensor) else np.asarray(vector)
    if values.shape != (size,):
        raise ValueError(
            f"vector_to_parameters got a vector of shape {values.shape}, expected {(size,)}, the "
            "number of elements of all parameters"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"vector_to_parameters got a vector of dtype {values.dtype}")
    return values


def checked_sequences(sequences: Any) -> list[Any]:
    """Return sequences as arrays or tensors, if they differ in their lengths only."""
    if isinstance(sequences, (Tensor, np.ndarray)) or not isinstance(sequences, Iterable):
        raise TypeError(
            f"pad_sequence takes a list of sequences, got one {type(sequences).__name__}; write "
            "pad_sequence([a, b])"
        )
    items = [as_array(sequence) for sequence in sequences]
    if not items:
        raise ValueError("pad_sequence got no sequences")
    for i, item in enumerate(items):
        if item.ndim == 0:
            raise ValueError(f"pad_sequence takes arrays of shape (length, ...), got {item!r:.60}")
        if (item.shape[1:], item.dtype) != (items[0].shape[1:], items[0].dtype):
            raise ValueError(
                f"pad_sequence got sequences of shapes {items[0].shape} and {item.shape} and of "
                f"dtypes {items[0].dtype} and {item.dtype}, at positions 0 and {i}; only the "
                "lengths, along the first axis, may differ"
            )
    return items


def checked_padding(dtype: np.dtype[Any], batch_first: Any, value: Any, side: Any) -> Any:
    """Return the padding as a number of the sequences' dtype."""
    check_flag("pad_sequence's batch_first", batch_first)
    one_of("pad_sequence's padding_side", side, ("right", "left"))
    if not isinstance(value, numbers.Number):
        raise TypeError(f"pad_sequence's padding_value is a number, got {value!r:.60}")
    return number_in(dtype, "pad_sequence's padding_value", value)


def check_is_module(who: str, module: Any, kind: type) -> None:
    """Raise if something is not a module."""
    if not isinstance(module, kind):
        raise TypeError(f"{who} takes a module, got {type(module).__name__}")


def checked_replacements(module: Any, own: Mapping[str, Tensor], given: Any) -> dict[int, Tensor]:
    """Return what stands for a module's own parameters in a call, by their ids."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"functional_call takes a mapping from names to arrays, got {type(given).__name__}"
        )
    table: dict[int, Tensor] = {}
    first: dict[int, str] = {}  # the name by which each was given
    for name, value in given.items():
        if name not in own:
            raise ValueError(
                f"functional_call: {type(module).__name__} has no parameter or buffer {name!r}; it "
                f"has {', '.join(own) or 'none'}"
            )
        tensor = value if isinstance(value, Tensor) else Tensor(value)
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"functional_call: {name!r} has shape {tensor.shape}, expected {own[name].shape}"
            )
        key = id(own[name])
        if key in table:
            check_is_the_same(first[key], table[key], name, tensor)
        else:
            table[key], first[key] = tensor, name
    return table


def check_is_the_same(first: str, tensor: Tensor, second: str, other: Tensor) -> None:
    """Raise if what is given by two names of one parameter is not the same."""
    if other is tensor:
        return
    what = f"functional_call: {first!r} and {second!r} are one parameter"
    if tensor.requires_grad or other.requires_grad:
        raise ValueError(
            f"{what}, and two tensors were given, of which one would get the gradient of both; "
            f"leave {second!r} out, as dict(module.named_parameters()) does"
        )
    a, b = tensor._array, other._array
    if not look(np.all((a == b) | ((a != a) & (b != b)))):
        raise ValueError(f"{what}, and two values were given; leave {second!r} out")
