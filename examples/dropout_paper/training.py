"""Data, nets and training loops that the experiments share: what decides the outcome of a run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shared

import microgrand
from microgrand import nn
from microgrand.data import batches
from microgrand.nn.functional import cross_entropy, softmax
from microgrand.optim import Adam, Optimizer

BATCH_SIZE = 50

# ---------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Data:
    """Examples to train on and `test_size` examples to test on, a row each.

    If the data come with a test set, it is the last `test_size` rows and stays as it is;
    otherwise each seed draws its own.
    """

    name: str
    inputs: Any
    labels: Any
    test_size: int
    has_test_set: bool
    train_size: int  # by default

    @property
    def most(self) -> int:
        """How many examples there are to train on."""
        return len(self.labels) - self.test_size

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1

    @property
    def digest(self) -> str:
        """A short text that tells these data from all others."""
        arrays = (np.ascontiguousarray(array) for array in (self.inputs, self.labels))
        together = b"".join(array.tobytes() for array in arrays)
        return hashlib.sha256(together + f"{self.test_size}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        drawn = "the data's own test set" if self.has_test_set else "split afresh for each seed"
        sizes = f"{self.most} examples to train on, {self.test_size} to test on"
        return f"{self.name}: {sizes}, {drawn}"

    def split(self, train_size: int, rng: np.random.Generator) -> tuple[Any, Any]:
        """Draw a training set and a test set.

        With one seed, a smaller training set is part of a larger one, and has the same test set.
        """
        order = rng.permutation(self.most if self.has_test_set else len(self.labels))
        if self.has_test_set:
            train, test = order[:train_size], np.arange(self.most, len(self.labels))
        else:
            test, train = order[: self.test_size], order[self.test_size :][:train_size]
        return (self.inputs[train], self.labels[train]), (self.inputs[test], self.labels[test])


def image_shape(pixels: int) -> tuple[int, int]:
    """Return the height and width of an example: one row if it is not a square."""
    side = math.isqrt(pixels)
    return (side, side) if side * side == pixels else (1, pixels)


def load(source: str) -> Data:
    """Load the data that ``--data`` names."""
    name, (inputs, labels), test_set = shared.load(source)
    if test_set is None:
        test_size = 797 if source == "digits" else len(labels) // 5
    else:
        test_size = len(test_set[1])
        inputs = np.concatenate([inputs, test_set[0]])
        labels = np.concatenate([labels, test_set[1]])
    train_size = {"digits": 300, "mnist1d": 4000}.get(source, 3000)
    train_size = min(train_size, len(labels) - test_size)
    return Data(name, inputs, labels, test_size, test_set is not None, train_size)


# ---------------------------------------------------------------------------------------- nets


@dataclass(frozen=True)
class Generators:
    """A generator for each purpose, so drawing more for one changes nothing for the others.

    Nets of one seed therefore begin with the same weights, if they have the same shape, and see
    the same examples in the same order: they can be compared in pairs.
    """

    split: np.random.Generator
    weights: np.random.Generator
    order: np.random.Generator
    masks: np.random.Generator

    @classmethod
    def of(cls, seed: int) -> Generators:
        """Make the generators of a seed."""
        return cls(*np.random.default_rng(seed).spawn(4))


def dropout(kind: type[nn.Module], p: float, rngs: Generators) -> nn.Module:
    """Make dropout of a kind; with a rate of 0 nothing, which draws no masks."""
    return kind(p, rng=rngs.masks) if p else nn.Identity()


def mlp(
    data: Data, widths: list[int], rates: list[float], rngs: Generators, dtype: Any = np.float32
) -> nn.Sequential:
    """Make a net of ReLU layers, each followed by dropout with its own rate, and a linear layer.

    `rates` has one for each width. With a rate of 0, dropout keeps every unit.
    """
    layers: list[nn.Module] = []
    inputs = data.inputs.shape[1]
    for width, p in zip(widths, rates, strict=True):
        layers.append(nn.Linear(inputs, width, rng=rngs.weights, dtype=dtype))
        layers += [nn.ReLU(), nn.Dropout(p, rng=rngs.masks)]
        inputs = width
    layers.append(nn.Linear(inputs, data.classes, rng=rngs.weights, dtype=dtype))
    return nn.Sequential(*layers)


def parameters(net: nn.Module, kind: type[nn.Module]) -> int:
    """Count the parameters in the layers of a kind."""
    layers = (layer for layer in net.modules() if isinstance(layer, kind))
    return sum(parameter.size for layer in layers for parameter in layer.parameters())


def train(
    net: nn.Module,
    inputs: Any,
    targets: Any,
    steps: int,
    rngs: Generators,
    *,
    optimizer: Optimizer | None = None,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train the net for a number of steps, one mini-batch each, and leave it in evaluation mode."""
    optimizer = optimizer or Adam(net.parameters(), lr=0.001)

    @microgrand.compile
    def train_on(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()

    net.train()
    step = 0
    while step < steps:
        for x, y in batches(inputs, targets, batch_size=BATCH_SIZE, rng=rngs.order):
            train_on(x, y)
            after_step(step)
            step += 1
            if step == steps:
                break
    net.eval()


def probabilities(net: nn.Module, inputs: Any) -> Any:
    """Return the net's probabilities in its current mode, as an array (examples, classes)."""
    with microgrand.no_grad():
        return softmax(net(inputs)).numpy()


def error(predicted: Any, labels: Any) -> float:
    """Return the percentage of examples whose most probable class is not their label."""
    return float(100 * np.mean(predicted.argmax(axis=-1) != labels))
