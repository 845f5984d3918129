"""What happens in a forward and a backward pass, step by step.

The engine tells an observer of each cotangent that is complete, in its own order; that order and
these cotangents are what is shown. What a rule contributes is asked of the table again, for each
argument by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import engine
from ..anomaly import contribution_of
from ..engine import Node
from ..kinds import Array, Mask
from ..tensor import Tensor
from .boxes import Box
from .rules import rule_text


@dataclass
class Gift:
    """What one rule adds to the cotangent of one argument."""

    to: Box
    rule: str
    contribution: Array
    total: Array  # the cotangent so far
    waits: int  # for how many further uses


@dataclass
class Step:
    """One step: a value is computed, or a complete cotangent is passed on."""

    box: Box
    cotangent: Array | None = None  # None in the forward pass
    uses: int = 0  # how many have added up to the cotangent
    gifts: list[Gift] = field(default_factory=list)
    mask: Mask | None = None  # which units of the result are kept, if some are dropped


def steps_of(loss: Tensor, boxes: list[Box]) -> list[Step]:
    """Return the steps of both passes. The graph and all gradients stay as they are."""
    forward = [Step(box, mask=mask_of(box)) for box in boxes if box.kind == "value"]
    seen: list[tuple[Node, Array]] = []
    token = engine.observer.set(lambda node, g: seen.append((node, np.array(g))))
    try:
        engine.backpropagate(loss, np.array(1, loss.dtype, ndmin=loss.ndim))
    finally:
        engine.observer.reset(token)
    by_node = {box.node: box for box in boxes if box.node is not None}
    uses = engine.count_uses(loss)
    waits = dict(uses)
    totals: dict[Node, Array] = {}
    backward = []
    for node, g in seen:
        step = Step(by_node[node], g, uses[node], mask=mask_of(by_node[node]))
        for i, arg in enumerate(node.args or ()):
            if isinstance(arg, Node) and arg in uses:
                contribution = engine.unbroadcast(contribution_of(node, g, i), arg._array, node, i)
                waits[arg] -= 1
                total = totals[arg] + contribution if arg in totals else contribution
                totals[arg] = total
                rule = rule_text(node, i)
                step.gifts.append(Gift(by_node[arg], rule, contribution, total, waits[arg]))
        backward.append(step)
    return forward + backward


def mask_of(box: Box) -> Mask | None:
    """Return the mask of a call that zeroes units: a boolean argument like its result.

    Where it is False, the result is 0: `np.where` may have chosen another value.
    """
    for arg in getattr(box.node, "args", None) or ():
        if isinstance(arg, np.ndarray) and arg.dtype == bool and arg.ndim == len(box.shape):
            try:
                mask = np.broadcast_to(arg, box.shape)
            except ValueError:
                continue
            if not np.any(box.array[~mask]):
                return mask
    return None
