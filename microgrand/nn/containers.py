"""Containers: `Sequential`, modules one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import checks
from .module import Module


class Sequential(Module):
    """Modules applied one after the other.

    Parameters
    ----------
    *layers
        Modules; each is given the output of the one before.

    Raises
    ------
    TypeError
        If a layer is not a module.

    Examples
    --------
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    >>> len(net), net[2], net[1:3]
    (4, Dropout(p=0.5), Sequential(
      (0): ReLU()
      (1): Dropout(p=0.5)
    ))
    """

    def __init__(self, *layers: Module) -> None:
        checks.check_modules(layers, Module)
        self.layers = layers

    def attributes(self) -> Iterable[tuple[str, Any]]:
        """List the layers by number: the parameter names are ``0.weight``, ``0.bias``, ..."""
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))
        yield from ((name, value) for name, value in vars(self).items() if name != "layers")

    def forward(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]
