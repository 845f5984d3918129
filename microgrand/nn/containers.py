"""Containers: modules one after the other, in a list, by name, and around a shortcut.

Lists and dicts of parameters are built as those of modules.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import module_checks as checks
from .module import Module, Parameter


class Numbered(Module):
    """What is accessed by numbers; the base of `Sequential`, `ModuleList` and `ParameterList`."""

    layers: list[Any]

    def checked(self, items: Iterable[Any]) -> list[Any]:
        """Return what is to be added as a list, if it is of the right kind."""
        who = type(self).__name__
        checks.check_module_list(who, items, Module)
        items = list(items)
        checks.check_modules(who, items, Module)
        return items

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List the layers by number: the parameter names are ``0.weight``, ``0.bias``, ..."""
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))
        yield from ((name, value) for name, value in vars(self).items() if name != "layers")

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __setitem__(self, index: int, item: Any) -> None:
        (self.layers[index],) = self.checked([item])

    def __delitem__(self, index: int | slice) -> None:
        del self.layers[index]

    def append(self, item: Any) -> Any:
        """Add one at the end; return this list."""
        return self.extend([item])

    def extend(self, items: Iterable[Any]) -> Any:
        """Add several at the end; return this list."""
        self.layers += self.checked(items)
        return self

    def insert(self, index: int, item: Any) -> Any:
        """Insert one before the given position; return this list."""
        self.layers[index:index] = self.checked([item])
        return self

    def pop(self, index: int = -1) -> Any:
        """Remove the last one, or that at the given position, and return it."""
        item = self.layers[index]
        del self[index]
        return item


class Sequential(Numbered):
    """Modules applied one after the other.

    It is changed as a list is: ``append``, ``extend``, ``insert``, ``pop``, ``del net[0]``.

    Parameters
    ----------
    *layers
        Modules; each is given the output of the one before. Or one dict of them: then their names
        are its keys, and not numbers, and each is an attribute of its name.

    Raises
    ------
    TypeError
        If a layer is not a module.
    ValueError
        If a name cannot be part of a dotted name, or is that of another attribute.

    Examples
    --------
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    >>> len(net), net[2], net[1:3]
    (4, Dropout(p=0.5), Sequential(
      (0): ReLU()
      (1): Dropout(p=0.5)
    ))
    >>> net = nn.Sequential({"hidden": nn.Linear(2, 8), "f": nn.ReLU(), "output": nn.Linear(8, 1)})
    >>> net.hidden is net[0], list(net.state_dict())
    (True, ['hidden.weight', 'hidden.bias', 'output.weight', 'output.bias'])
    """

    #: The names of the layers, if they are not their numbers.
    names: list[str] | None = None

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            checks.check_names_of_layers(self, layers[0], Module)
            self.names, layers = list(layers[0]), tuple(layers[0].values())
        checks.check_modules("Sequential", layers, Module)
        self.layers = list(layers)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):  # it is applied, as any layer is
            self.put_module(name, value)
        else:
            super().__setattr__(name, value)

    def put_module(self, name: str, module: Module | None) -> None:
        """Add a layer of this name at the end, or replace the one that has it."""
        names = [str(i) for i in range(len(self))] if self.names is None else self.names
        if name in names:
            self[names.index(name)] = module
        else:
            checks.check_names_of_layers(self, {name: module}, Module)
            self.names = [*names, name]
            self.layers.append(module)

    def __delitem__(self, index: int | slice) -> None:
        if self.names is not None:
            del self.names[index]
        super().__delitem__(index)

    def extend(self, items: Iterable[Module]) -> Sequential:
        """Add several at the end; where others have names, theirs are their numbers."""
        if self.names is None:
            super().extend(items)
        else:
            for item in self.checked(items):
                free = (str(i) for i in itertools.count(len(self)))  # layers may have been deleted
                self.put_module(next(name for name in free if name not in self.names), item)
        return self

    def insert(self, index: int, item: Module) -> Sequential:
        """Insert one before the given position; return this Sequential."""
        checks.check_has_no_names(self.names)
        super().insert(index, item)
        return self

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List the layers by their names, if they have some."""
        if self.names is None:
            return super().attributes()
        others = [(name, value) for name, value in vars(self).items() if name != "layers"]
        return [*zip(self.names, self.layers, strict=True), *others]

    def __getattr__(self, name: str) -> Any:
        names = vars(self).get("names") or ()
        checks.check_has_layer(name, names)
        return self.layers[names.index(name)]

    def forward(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return self.layers[index]
        if self.names is None:
            return Sequential(*self.layers[index])
        return Sequential(dict(zip(self.names[index], self.layers[index], strict=True)))


class ModuleList(Numbered):
    """A list of modules, to be called by the module that has it.

    A plain list in an attribute works as well; this one has PyTorch's names and methods, and
    immediately refuses what is not a module.

    Parameters
    ----------
    modules
        An iterable of modules.

    Raises
    ------
    TypeError
        If one is not a module, here or in a later change.

    Examples
    --------
    >>> from microgrand import nn
    >>> class Deep(nn.Module):
    ...     def __init__(self, depth):
    ...         self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))
    ...     def forward(self, x):
    ...         for layer in self.layers:
    ...             x = layer(x).relu()
    ...         return x
    >>> [name for name, _ in Deep(2).named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.layers = self.checked(modules)

    def put_module(self, name: str, module: Module | None) -> None:
        """Refuse it: it would have a name but no number."""
        checks.refuse_name(self, name, "append(module)")

    def __getitem__(self, index: int | slice) -> Any:
        return ModuleList(self.layers[index]) if isinstance(index, slice) else self.layers[index]


class ParameterList(Numbered):
    """A list of parameters, to be used by the module that has it.

    A plain list in an attribute works as well; this one has PyTorch's names and methods.

    Parameters
    ----------
    values
        An iterable of parameters; arrays and tensors become parameters.

    Raises
    ------
    TypeError
        If one cannot be a parameter, here or in a later change.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> class Shifts(nn.Module):
    ...     def __init__(self, depth):
    ...         self.shifts = nn.ParameterList(np.zeros(3) for _ in range(depth))
    ...     def forward(self, x):
    ...         for shift in self.shifts:
    ...             x = (x + shift).relu()
    ...         return x
    >>> [name for name, _ in Shifts(2).named_parameters()]
    ['shifts.0', 'shifts.1']
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.layers = self.checked(values)

    def checked(self, items: Iterable[Any]) -> list[Any]:
        """Return parameters, making them from arrays where necessary."""
        checks.check_parameter_list(type(self).__name__, items)
        return [as_parameter(item) for item in items]

    def put_module(self, name: str, module: Module | None) -> None:
        """Refuse it: it is not a parameter."""
        checks.refuse_name(self, name, "append(parameter)")

    def __getitem__(self, index: int | slice) -> Any:
        return ParameterList(self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def extra_repr(self) -> str:
        """Return the shapes."""
        return ", ".join(str(parameter.shape) for parameter in self)


def as_parameter(value: Any) -> Parameter:
    """Return a parameter itself; make one of anything else."""
    return value if isinstance(value, Parameter) else Parameter(value)


class Named(Module):
    """What is accessed by names; the base of `ModuleDict` and `ParameterDict`."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self.by_name: dict[str, Any] = {}
        self.update(items or {})

    def checked(self, items: Any) -> Mapping[str, Any]:
        """Return what is to be added, if it is of the right kind."""
        checks.check_named_modules(type(self).__name__, items, Module)
        given: Mapping[str, Any] = items
        return given

    def put_module(self, name: str, module: Module | None) -> None:
        """Add a module."""
        self[name] = module

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List what there is by name."""
        yield from self.by_name.items()
        yield from ((name, value) for name, value in vars(self).items() if name != "by_name")

    def update(self, items: Mapping[str, Any]) -> None:
        """Add several by name; one whose name exists replaces the old one."""
        self.by_name.update(self.checked(items))

    def pop(self, name: str) -> Any:
        """Remove the one of this name, and return it."""
        return self.by_name.pop(name)

    def clear(self) -> None:
        """Remove all."""
        self.by_name.clear()

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self.by_name.keys()

    def values(self) -> Iterable[Any]:
        """Return what they name."""
        return self.by_name.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return pairs of both."""
        return self.by_name.items()

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def __setitem__(self, name: str, item: Any) -> None:
        self.update({name: item})

    def __delitem__(self, name: str) -> None:
        del self.by_name[name]

    def __getattr__(self, name: str) -> Any:
        by_name = vars(self).get("by_name", {})  # a copy that is being made has none yet
        checks.check_has_name(self, name, by_name)
        return by_name[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("by_name", {}):
            self[name] = value
        else:
            super().__setattr__(name, value)


class ModuleDict(Named):
    """Modules by name, to be called by the module that has them.

    A name that is not one of the dict's own methods is an attribute, too.

    Parameters
    ----------
    modules
        A mapping from names to modules.

    Raises
    ------
    TypeError, ValueError
        If one is not a module, or a name cannot be part of a dotted name, here or in a later
        change.

    Examples
    --------
    >>> from microgrand import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(4, 10), "colour": nn.Linear(4, 3)})
    >>> [name for name, _ in heads.named_parameters()]
    ['digit.weight', 'digit.bias', 'colour.weight', 'colour.bias']
    >>> heads["colour"]
    Linear(in_features=4, out_features=3, bias=True)
    >>> heads.colour is heads["colour"]
    True
    """


class ParameterDict(Named):
    """Parameters by name, to be used by the module that has them.

    A name that is not one of the dict's own methods is an attribute, too.

    Parameters
    ----------
    parameters
        A mapping from names to parameters; arrays and tensors become parameters.

    Raises
    ------
    TypeError, ValueError
        If one cannot be a parameter, or a name cannot be part of a dotted name, here or in a later
        change.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> scales = nn.ParameterDict({"left": np.ones(2), "right": np.zeros(3)})
    >>> {name: value.shape for name, value in scales.named_parameters()}
    {'left': (2,), 'right': (3,)}
    >>> scales.left is scales["left"]
    True
    """

    def checked(self, items: Any) -> Mapping[str, Any]:
        """Return parameters, making them from arrays where necessary."""
        checks.check_names(type(self).__name__, "parameters", items)
        return {name: as_parameter(item) for name, item in items.items()}

    def put_module(self, name: str, module: Module | None) -> None:
        """Refuse it: it is not a parameter."""
        checks.refuse_name(self, name, "parameters[name] = array")

    def extra_repr(self) -> str:
        """Return the names and shapes."""
        return ", ".join(f"{name}: {parameter.shape}" for name, parameter in self.items())


class Identity(Module):
    """A module that returns its input, in place of one that is left out.

    Parameters
    ----------
    *args, **kwargs
        Whatever the module that it replaces was made with; not used.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Identity()(1.5)
    1.5
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        """Return the input itself."""
        return x


class Residual(Module):
    """A block that computes what is to be added to its input.

        y = shortcut(x) + body(x)

    The gradient reaches ``x`` by the shortcut whatever the body does, so that deep nets can be
    trained (He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", eq. 1, 2).

    Parameters
    ----------
    body
        Module that returns what is to be added.
    shortcut
        Module that gives the input the shape of the body's result, if they differ; by default the
        input itself.

    Raises
    ------
    TypeError
        If one of them is not a module.
    ValueError
        In a call, if the two shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> block = nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.1)))
    >>> block(np.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        shortcut = Identity() if shortcut is None else shortcut
        checks.check_modules("Residual", (body, shortcut), Module)
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        """Add the body's result to the shortcut's."""
        kept, change = self.shortcut(x), self.body(x)
        checks.check_residual(kept, change)
        return kept + change
