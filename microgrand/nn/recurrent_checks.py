"""What recurrent nets and attention refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..kinds import Shape
from . import checks, layer_checks


def check_flags(who: str, **flags: Any) -> None:
    """Raise if an option is neither True nor False."""
    for name, flag in flags.items():
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"{who}'s {name} is True or False, got {flag!r}")


def projection(proj_size: Any, hidden_size: Any) -> int:
    """Return the length that an LSTM's h is projected to, 0 for no projection; or raise."""
    size = checks.integer("LSTM's proj_size", proj_size, 0)
    if size >= checks.integer("LSTM's hidden_size", hidden_size, 1):
        raise ValueError(
            f"LSTM's proj_size is less than its hidden_size, got {proj_size} and {hidden_size}"
        )
    return size


def check_nonlinearity(who: str, name: Any) -> None:
    """Raise if it is not one that a simple net can have."""
    layer_checks.one_of(f"{who}'s nonlinearity", name, ("tanh", "relu"))


def warn_of_no_dropout(who: str, p: float, layers: int) -> None:
    """Warn that dropout between layers needs two of them."""
    if p and layers == 1:
        warnings.warn(
            f"{who}'s dropout={p} is between layers, and there is one only; use nn.Dropout on the "
            "output",
            UserWarning,
            stacklevel=4,
        )


def check_sequence(net: Any, shape: Shape) -> None:
    """Raise if inputs are not a sequence for a net."""
    axes = "n, steps" if net.batch_first else "steps, n"
    if len(shape) not in (2, 3) or shape[-1] != net.input_size:
        raise ValueError(
            f"{type(net).__name__} takes inputs of shape ({axes}, {net.input_size}), or "
            f"(steps, {net.input_size}) for one sequence, got shape {shape}"
        )
    if shape[1 if net.batch_first and len(shape) == 3 else 0] == 0:
        raise ValueError(
            f"{type(net).__name__} needs at least one step, got inputs of shape {shape}"
        )


def check_is_state(net: Any, hx: Any) -> None:
    """Raise if a pair is given for a single state, or the other way round."""
    is_pair = isinstance(hx, (tuple, list)) and len(hx) == 2 if net.is_pair else True
    if not is_pair:
        raise TypeError(
            f"{type(net).__name__} takes its state as a pair, (h, c), got {type(hx).__name__}"
        )
    if not net.is_pair and isinstance(hx, tuple):
        raise TypeError(f"{type(net).__name__} takes one state, h, got a tuple")


def check_state(net: Any, given: Shape, shape: Shape, is_batch: bool) -> None:
    """Raise if an initial state has another shape."""
    expected = shape if is_batch else (shape[0], shape[2])
    if given != expected:
        raise ValueError(
            f"{type(net).__name__} takes a state of shape {expected}, (layers * directions, "
            f"{'n, ' if is_batch else ''}hidden_size), got shape {given}"
        )


def check_step(cell: Any, shape: Shape) -> None:
    """Raise if an input is not a step for a cell."""
    if len(shape) not in (1, 2) or shape[-1] != cell.input_size:
        raise ValueError(
            f"{type(cell).__name__} takes inputs of shape (n, {cell.input_size}) or "
            f"({cell.input_size},), got shape {shape}"
        )


def check_cell_state(cell: Any, given: Shape, expected: Shape) -> None:
    """Raise if a cell's state has another shape."""
    if given != expected:
        raise ValueError(
            f"{type(cell).__name__} takes a state of shape {expected} with such an input, got "
            f"shape {given}"
        )
