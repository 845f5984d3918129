"""A page that plays a backward pass: one file, without network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..kinds import Array, ArrayLike, Mask
from ..nn.module import Module
from ..tensor import Tensor
from . import checks, svg
from .boxes import Box, boxes_of, operation
from .steps import Gift, Step, steps_of

#: How many rows and columns of an array are shown.
ROWS, COLUMNS = 12, 16
#: More steps than these nobody follows.
MOST_VALUES = 200


def stepper(
    loss: Tensor,
    path: str | PathLike[str],
    model: Module | None = None,
    *,
    names: Mapping[str, ArrayLike] | None = None,
) -> None:
    """Write a page that plays the forward and the backward pass of a loss.

    Each step shows the operation at work, its derivative as it stands in the table, the numbers
    that go in and out, how contributions add up, and what still waits for which use. A mask is
    drawn over the units that it zeroes, forward and backward. The page works without network, by
    mouse or by keys alone: arrows, space to play, Home and End.

    Parameters
    ----------
    loss
        A scalar with a graph. Neither the graph nor any ``grad`` is changed.
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
    TypeError, ValueError
        If `loss` is not a scalar, has no graph, or more than 200 values, or `backward` freed it.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.visual import stepper
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> stepper((x * x).sum(), "backward.html", names={"x": x})  # doctest: +SKIP
    """
    path = Path(path)
    checks.check_suffix(path, (".html",))
    checks.check_output(loss)
    checks.check_is_scalar(loss)
    boxes = boxes_of(loss, model, names or {})
    checks.check_has_few_values(len(boxes), MOST_VALUES)
    number = {box: i for i, box in enumerate(boxes)}
    data = {
        "boxes": [describe_box(box, number) for box in boxes],
        "steps": [describe_step(step, number) for step in steps_of(loss, boxes)],
    }
    path.write_text(filled("page.html", svg.draw(boxes, prefix="box"), data), encoding="utf-8")


def filled(template: str, graph: str, data: Mapping[str, Any]) -> str:
    """Return a page of this package with a graph and data in their places."""
    page = (files(__package__) / template).read_text(encoding="utf-8")
    begin, between, end = re.split("@graph@|@data@", page)  # names may hold these words, too
    # "<" would end the script early if a name held "</script>".
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    return "".join([begin, graph, between, text, end])


def describe_box(box: Box, number: Mapping[Box, int]) -> dict[str, Any]:
    """Return what the page knows of a box."""
    return {
        "kind": box.kind,
        "name": box.name,
        "title": box.title,
        "layer": box.layer,
        "operation": operation(box.node).replace(", ", " with ", 1) if box.node is not None else "",
        "type": svg.type_of(box),
        "inputs": [number[source] for source in box.inputs],
        "value": table_of(box.array),
    }


def describe_step(step: Step, number: Mapping[Box, int]) -> dict[str, Any]:
    """Return what the page knows of a step."""
    described: dict[str, Any] = {"box": number[step.box], "uses": step.uses}
    if step.mask is not None:
        described["mask"] = cut(step.mask).astype(int).tolist()
        described["dropped"] = [int(step.mask.size - step.mask.sum()), int(step.mask.size)]
    if step.cotangent is not None:
        described["g"] = table_of(step.cotangent)
        described["gifts"] = [describe_gift(gift, number) for gift in step.gifts]
    return described


def describe_gift(gift: Gift, number: Mapping[Box, int]) -> dict[str, Any]:
    """Return what the page knows of a contribution."""
    described = {
        "to": number[gift.to],
        "rule": gift.rule,
        "waits": gift.waits,
        "contribution": table_of(gift.contribution),
    }
    if gift.total is not gift.contribution:
        described["total"] = table_of(gift.total)
    return described


def table_of(array: Array) -> dict[str, Any]:
    """Return an array's numbers in rows, with three digits, and its shape."""
    array = np.asarray(array)
    shape = list(array.shape)
    return {"shape": shape, "rows": [[digits(x) for x in row] for row in cut(array)]}


def cut(array: Array | Mask) -> Array:
    """Return the first rows and columns of an array of any shape, as a matrix."""
    array = np.asarray(array)
    if array.ndim > 2:
        array = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    return np.atleast_2d(array)[:ROWS, :COLUMNS]


def digits(x: Any) -> str:
    """Write a number shortly."""
    return str(int(x)) if isinstance(x, (bool, np.bool_)) else f"{x:.3g}"
