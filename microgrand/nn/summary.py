"""What a model consists of, as a table: layers, shapes, parameters, multiplications, memory."""

from __future__ import annotations

import functools
import math
from typing import Any

from ..engine import Node
from ..grad_mode import enable_grad
from ..kinds import ArrayLike, Shape
from ..tensor import Tensor
from . import module_checks as checks
from .module import Module

HEADINGS = ("layer", "output", "parameters", "multiplications", "bytes")


class Row:
    """What one call of a module did."""

    def __init__(self, name: str, module: Module, shape: str, own: list[Node]) -> None:
        self.name = "  " * name.count(".") + f"{name or 'model'}: {type(module).__name__}"
        self.path = name
        self.shape = shape
        self.parameters = sum(p.size for _, p in module.members() if isinstance(p, Tensor))
        self.multiplications = sum(map(multiplications, own))
        self.bytes = sum(node._array.nbytes for node in own)


def summary(model: Module, *inputs: ArrayLike) -> str:
    """Describe what a model does with inputs, a line for each call of a module.

    The model is run once, in evaluation mode; modes and buffers are as before.

    Parameters
    ----------
    model
        A module.
    *inputs
        What it is called with: a batch, of which only the shape and dtype matter.

    Returns
    -------
    str
        A table to be printed. Each line counts what the module does itself, without the modules in
        it: the shape of its output, its parameters, the multiplications of its matrix products and
        convolutions, and the bytes of the values that it computes, which the graph keeps until
        `backward`. A module that is called again shows its parameters again, in parentheses, and
        the total counts them once.

    Raises
    ------
    TypeError
        If `model` is not a module.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> print(nn.summary(net, np.ones((3, 4), np.float32)))
    layer              output  parameters  multiplications  bytes
    0: Linear          (3, 8)          40               96     96
    1: ReLU            (3, 8)           0                0     96
    2: Linear          (3, 2)          18               48     24
    model: Sequential  (3, 2)           0                0      0
    total                              58              144    216
    """
    checks.check_is_module("summary()", model, Module)
    rows: list[Row] = []
    seen: set[Node] = set()
    handles = []
    modes = [(module, module.training) for module in model.modules()]

    open_calls: list[list[Node]] = [[]]  # of the calls that are running, what each has computed

    def before(module: Module, args: Any) -> None:
        open_calls[-1] += new_nodes(tensors_in(args), seen)  # by the module around it
        open_calls.append([])

    def after(name: str, module: Module, args: Any, output: Any) -> None:
        outputs = tensors_in(output)
        own = open_calls.pop() + new_nodes(outputs, seen)
        shapes = ", ".join(shape_text(tensor.shape) for tensor in outputs)
        rows.append(Row(name, module, shapes, own))

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(functools.partial(after, name)))
        model.eval()
        with enable_grad():  # the graph tells what was computed
            model(*[as_recorded(x) for x in inputs])
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return table(rows, sum(parameter.size for parameter in model.parameters()))


def as_recorded(x: ArrayLike) -> Any:
    """Let an input of floats require a gradient, so that all that is computed has a graph."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    return Tensor(x.data, requires_grad=True) if x.dtype.kind == "f" else x.data


def tensors_in(output: Any) -> list[Tensor]:
    """Return the tensors of an output, also of nested tuples, lists and dicts."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if not isinstance(output, (list, tuple)):
        return []
    return [tensor for part in output for tensor in tensors_in(part)]


def new_nodes(outputs: list[Tensor], seen: set[Node]) -> list[Node]:
    """Return the computed values that lead to outputs and have not been seen; now they are."""
    stack: list[Node] = list(outputs)
    found = []
    while stack:
        node = stack.pop()
        if node.primitive is not None and node not in seen:
            seen.add(node)
            found.append(node)
            stack += [arg for arg in node.args or () if isinstance(arg, Node)]
    return found


def multiplications(node: Node) -> int:
    """Return how many multiplications a matrix product or a convolution takes; 0 for others."""
    name = getattr(node.primitive, "__name__", "")
    shapes: list[Shape] = [getattr(arg, "shape", ()) for arg in node.args or ()]
    if name in ("matmul", "dot", "inner", "affine"):
        return int(node._array.size * shapes[0][-1]) if shapes[0] else 0
    if name == "correlate":  # each output meets a kernel's elements
        return int(node._array.size * math.prod(shapes[1][1:]))
    if name == "correlate_input":
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if name in ("rnn", "lstm", "gru"):  # the state times its weights, in each step
        return math.prod(shapes[0]) * shapes[1][-1]
    return 0


def shape_text(shape: Shape) -> str:
    """Write a shape as Python does."""
    return str(tuple(shape))


def table(rows: list[Row], total: int) -> str:
    """Write rows in columns, numbers to the right."""
    lines: list[tuple[str, ...]] = [HEADINGS]
    counted: set[str] = set()
    for row in rows:
        number = f"{row.parameters:,}"
        again = row.path in counted and row.parameters
        counted.add(row.path)
        cells = (f"{row.multiplications:,}", f"{row.bytes:,}")
        lines.append((row.name, row.shape, f"({number})" if again else number, *cells))
    sums = [sum(getattr(row, kind) for row in rows) for kind in ("multiplications", "bytes")]
    lines.append(("total", "", f"{total:,}", *(f"{number:,}" for number in sums)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                line[1].rjust(widths[1]),
                *(cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)),
            ]
        )
        for line in lines
    )
