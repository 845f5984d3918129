"""A page with the program of a compiled step beside the graph that it was traced from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from ..kinds import ArrayLike
from ..nn.module import Module
from ..program.compiled import Compiled
from ..tensor import Tensor
from . import checks, svg
from .boxes import Box, boxes_of
from .player import filled


def program(
    compiled: Compiled,
    loss: Tensor,
    path: str | PathLike[str],
    model: Module | None = None,
    *,
    names: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Write a page with a compiled step's program and its graph: choose a line, see its node.

    Parameters
    ----------
    compiled
        A compiled function that has been called until it was traced.
    loss
        The loss of the same step, computed eagerly: its graph is drawn.
    path
        Of the page, ``*.html``.
    model
        The module whose parameters and layers give names.
    names
        Further names: ``{"x": x}``, of tensors or arrays.

    Raises
    ------
    ImportError
        If igraph is not installed: the extra ``visual`` brings it.
    TypeError, ValueError, RuntimeError
        If `compiled` is not a compiled function or has not been traced, or `loss` has no graph.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor, compile, value_and_grad
    >>> from microgrand.visual import program
    >>> def loss(x):
    ...     return np.sum(np.tanh(x))
    >>> step = compile(value_and_grad(loss))
    >>> x = np.ones(3)
    >>> for _ in range(3):
    ...     _ = step(x)
    >>> eager = loss(Tensor(x, requires_grad=True))
    >>> program(step, eager, "program.html", names={"x": x})  # doctest: +SKIP
    """
    path = Path(path)
    checks.check_suffix(path, (".html",))
    checks.check_compiled(compiled)
    boxes = boxes_of(loss, model, names or {})
    lines = compiled.source.splitlines()
    places = boxes_of_lines(compiled.origins, boxes)
    data = {"lines": [[line, places.get(i, -1)] for i, line in enumerate(lines)]}
    page = filled("program.html", svg.draw(boxes, prefix="box"), data)
    path.write_text(page, encoding="utf-8")


def boxes_of_lines(origins: Mapping[int, tuple[str, str]], boxes: list[Box]) -> dict[int, int]:
    """Find the box that each line belongs to, by the name of its operation and layer.

    Of several such boxes it is the next one: forward in the order of the graph, backward in the
    reverse order. An update names its parameter.
    """
    values = [i for i, box in enumerate(boxes) if box.kind == "value"]
    forward, backward = list(values), values[::-1]
    parameters = {box.name.replace(".", "_"): i for i, box in enumerate(boxes)}
    known: dict[str, int | None] = {}
    found = {}
    for line, (section, origin) in origins.items():
        if origin not in known:
            if section == "update":
                known[origin] = parameters.get(origin)
            elif match := re.match(r"VJP of (\w+), from (\w+)_grad$", origin):
                known[origin] = taken(backward, boxes, *match.groups())
            else:
                scope, _, name = origin.rpartition(": ")
                known[origin] = taken(forward, boxes, name, scope)
        place = known[origin]
        if place is not None:
            found[line] = place
    return found


def taken(waiting: list[int], boxes: list[Box], name: str, scope: str) -> int | None:
    """Take the next box of an operation out of those that wait; one of the layer comes first."""
    alike = [i for i in waiting if name_of_operation(boxes[i]) == name]
    # The program's names are those of layers, or begin with them.
    own = [i for i in alike if boxes[i].layer and f"{scope}_".startswith(flat_name(boxes[i]) + "_")]
    free = [i for i in alike if not boxes[i].layer]
    place = next(iter(own or free or alike), None)
    if place is not None:
        waiting.remove(place)
    return place


def flat_name(box: Box) -> str:
    """Return a layer's name as a name of Python's."""
    return box.layer.replace(".", "_")


def name_of_operation(box: Box) -> str:
    """Return the name of a value's primitive."""
    return getattr(box.node.primitive, "__name__", "") if box.node is not None else ""
