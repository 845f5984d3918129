"""What a graph shows: boxes for values and layers, and arrows between them.

A box is a leaf, a constant array, a computed value with the operation that computed it, or a whole
layer that has been folded. The boxes are found by walking the graph that the engine has recorded,
from the output to the leaves; nothing is recorded for the picture.
"""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..dispatch import data_of
from ..engine import Node
from ..kinds import Array, Shape
from ..nn.module import Module, Parameter
from . import checks

#: Beyond this many boxes, layers and then long stretches are folded, so that a picture is legible.
LEGIBLE = 500


@dataclass(eq=False, slots=True)
class Box:
    """One box of the picture."""

    kind: str  # "leaf", "constant", "value" or "layer"
    title: str  # what it is: a name, or the operation
    name: str  # what it is called in sentences
    array: Array
    node: Node | None = None  # the value that leaves the box
    layer: str = ""  # the dotted name of the module it belongs to
    count: int = 1  # how many values it stands for
    inputs: list[Box] = field(default_factory=list)
    grad: Array | None = None

    @property
    def shape(self) -> Shape:
        """Of its array."""
        return tuple(self.array.shape)


def boxes_of(output: Node, model: Module | None, names: Mapping[str, Any]) -> list[Box]:
    """Return the boxes of a graph, each after those that it needs; the output is the last."""
    checks.check_output(output)
    named = names_of_tensors(model, names)
    boxes: dict[int, Box] = {}
    constants: dict[int, Box] = {}
    order: list[Box] = []

    def constant(node: Node, i: int, value: Any) -> Box:
        if id(value) not in constants:
            array = np.asarray(value)
            title = named.get(id(value)) or name_of_argument(node, i, array)
            box = Box("constant", title, title, array)
            constants[id(value)] = box
            order.append(box)
        return constants[id(value)]

    for node in in_order(output):
        inputs = []
        for i, arg in enumerate(node.args or ()):
            if isinstance(arg, Node):
                inputs.append(boxes[id(arg)])
            elif is_shown(arg):
                inputs.append(constant(node, i, arg))
        kind = "leaf" if node.primitive is None else "value"
        own = operation(node) if kind == "value" else name_of_leaf(node, names)
        title = named.get(id(node), own)
        box = Box(kind, title, title, node._array, node, inputs=inputs)
        box.grad = node._grad
        boxes[id(node)] = box
        order.append(box)
    kinds: dict[str, str] = {}
    if model is not None:
        kinds = {printable(name): type(module).__name__ for name, module in model.named_modules()}
        assign_layers(order, model)
    tell_apart(order, kinds, set(named.values()))
    return order


def tell_apart(boxes: list[Box], kinds: Mapping[str, str], given: Set[str]) -> None:
    """Give boxes names of their own: by their layer, and by number if that is not enough.

    What has been given a name keeps it; a layer is named with its kind, ``relu in 1 (ReLU)``.
    """
    numbers: dict[str, int] = {}
    for box in boxes:
        if box.kind in ("value", "constant") and box.layer and box.title not in given:
            what = box.title.partition(", ")[0]  # without the numbers of the operation
            kind = (
                f" ({kinds[box.layer]})" if box.layer in kinds else ""
            )  # a list of layers has none
            box.name = f"{what} in {box.layer}{kind}"
        numbers[box.name] = numbers.get(box.name, 0) + 1
        if numbers[box.name] > 1:
            box.name = f"{box.name} ({numbers[box.name]})"


def in_order(output: Node) -> list[Node]:
    """Return the nodes of a graph, each after its arguments. A stack, as chains may be long."""
    done: set[Node] = set()
    order = []
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            if node.primitive is not None:
                checks.check_is_not_freed(node)
            for arg in reversed(node.args or ()):
                if isinstance(arg, Node) and arg not in done:
                    stack.append((arg, False))
    return order


def is_shown(arg: Any) -> bool:
    """Tell whether a constant is worth a box: an array is, numbers and indices are not."""
    return isinstance(arg, np.ndarray) and arg.dtype.kind in "biufc" and arg.ndim > 0


def operation(node: Node) -> str:
    """Return the name of the operation that computed a value, with its numbers: ``power, 2``."""
    name = getattr(node.primitive, "__name__", "operation")
    numbers = [
        f"{arg:.4g}" for arg in node.args or () if type(arg) in (int, float, np.float64, np.float32)
    ]
    return ", ".join([name, *numbers])


def name_of_leaf(leaf: Node, names: Mapping[str, Any]) -> str:
    """Return the name of a leaf, of an input that of the array whose values it has.

    A layer converts its input, so the array that was given is not in the graph.
    """
    if leaf._requires_grad:
        return "leaf"
    for name, value in names.items():
        given, dtype = np.asarray(data_of(value)), leaf._array.dtype
        if np.can_cast(given.dtype, dtype, "same_kind") and np.array_equal(
            given.astype(dtype), leaf._array, equal_nan=True
        ):
            return printable(name)
    return "input"


def name_of_argument(node: Node, i: int, array: Array) -> str:
    """Return what a constant is called by the function that takes it, if that is one of Python's.

    The rule that the table has for the function calls it so, too.
    """
    if inspect.isfunction(node.primitive):
        parameters = list(inspect.signature(node.primitive).parameters.values())
        if i < len(parameters) and parameters[i].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            return parameters[i].name
    return "mask" if array.dtype == bool else "constant"


def names_of_tensors(model: Module | None, names: Mapping[str, Any]) -> dict[int, str]:
    """Return names by identity: of the model's parameters and buffers, and those that are given."""
    named: dict[int, str] = {}
    if model is not None:
        checks.check_model(model)
        for kind in (model.named_parameters(), model.named_buffers()):
            named |= {id(tensor): printable(name) for name, tensor in kind}
    checks.check_names(names)
    for name, value in names.items():
        named[id(value)] = named[id(data_of(value))] = printable(name)
    return named


def printable(name: object) -> str:
    """Return a name as a string that a file may hold: XML forbids most control characters."""
    return "".join(
        "\ufffd"
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t"
        else letter
        for letter in str(name)
    )


# --------------------------------------------------------------------------------- layers


def assign_layers(boxes: list[Box], model: Module) -> None:
    """Find the module that each value was computed by.

    A call that takes a module's parameter or its latest mask is the module's own. What lies between
    two values of one module belongs to it, too.
    """
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if not name:
            continue
        name = printable(name)
        for _, member in module.members():
            if isinstance(member, Parameter):
                owners[id(member)] = name
        mask = getattr(module, "mask", None)
        if mask is not None:
            owners[id(mask)] = name
    for box in boxes:
        if box.kind != "value":
            continue
        for arg in box.node.args or ():  # type: ignore[union-attr]
            box.layer = owners.get(id(arg), box.layer)
    for name in layers_of(boxes):
        enclose(boxes, name)
    users: dict[Box, set[str]] = {}
    for box in boxes:
        for source in box.inputs:
            users.setdefault(source, set()).add(box.layer)
    for box in boxes:
        if box.kind != "value" and len(users.get(box, ())) == 1:
            box.layer = users[box].pop()


def prefixes(layer: str) -> list[str]:
    """Return a dotted name and the names of what is around it: ``a.b.c``, ``a.b``, ``a``."""
    parts = layer.split(".") if layer else []
    return [".".join(parts[:i]) for i in range(len(parts), 0, -1)]


def layers_of(boxes: list[Box]) -> list[str]:
    """Return the layers that there are, inner ones first."""
    names = dict.fromkeys(prefix for box in boxes for prefix in prefixes(box.layer))
    return sorted(names, key=lambda name: -name.count("."))


def is_in(box: Box, name: str) -> bool:
    """Tell whether a box belongs to a layer, or to one within it."""
    return box.layer == name or box.layer.startswith(f"{name}.")


def enclose(boxes: list[Box], name: str) -> None:
    """Give a layer what lies on a path from one of its values to another."""
    after: set[Box] = set()
    for box in boxes:  # in the order of computing
        if any(source in after or is_in(source, name) for source in box.inputs):
            after.add(box)
    before: set[Box] = set()
    for box in reversed(boxes):
        if box in before or is_in(box, name):
            before.update(box.inputs)
    for box in boxes:
        if box.kind == "value" and box in after and box in before and not box.layer:
            box.layer = name


# --------------------------------------------------------------------------------- folding


def copy_of(boxes: list[Box]) -> list[Box]:
    """Copy boxes, with their arrows: folding changes them."""
    copies = {box: replace(box, inputs=list(box.inputs)) for box in boxes}
    for box in copies.values():
        box.inputs = [copies[source] for source in box.inputs]
    return list(copies.values())


def fold(boxes: list[Box], names: Iterable[str]) -> list[Box]:
    """Put each of the named layers into one box, with its parameters."""
    for name in names:
        inside = [box for box in boxes if is_in(box, name)]
        boxes = merged(boxes, inside, name) if len(inside) > 1 else boxes
    return boxes


def merged(boxes: list[Box], inside: list[Box], title: str) -> list[Box]:
    """Replace boxes by one, in the place of the last.

    A layer that is called twice is one box, unless something between its calls would make a cycle:
    then each call keeps its own boxes.
    """
    last = inside[-1]
    own = set(inside)
    inputs = list(dict.fromkeys(i for box in inside for i in box.inputs if i not in own))
    depends: set[Box] = set()
    for box in boxes:
        if box not in own and any(i in own or i in depends for i in box.inputs):
            depends.add(box)
    if any(box in depends for box in inputs):
        return boxes
    count = sum(box.count for box in inside)
    whole = Box("layer", title, title, last.array, last.node, title, count)
    whole.inputs, whole.grad = inputs, last.grad
    kept = []
    for box in boxes:
        if box is last:
            kept.append(whole)
        if box not in own:
            box.inputs = list(dict.fromkeys(whole if i in own else i for i in box.inputs))
            kept.append(box)
    return sorted_by_need(kept)


def sorted_by_need(boxes: list[Box]) -> list[Box]:
    """Return boxes so that each comes after those that it needs, otherwise in their order."""
    done: set[Box] = set()
    order = []
    for start in boxes:
        stack = [start]
        while stack:
            box = stack[-1]
            waiting = [i for i in box.inputs if i not in done]
            if box in done or not waiting:
                stack.pop()
                if box not in done:
                    done.add(box)
                    order.append(box)
            else:
                stack.extend(reversed(waiting))
    return order


def fold_to(boxes: list[Box], most: int) -> list[Box]:
    """Fold layers, and then runs of values, until there are at most `most` boxes."""
    for name in layers_of(boxes):
        if len(boxes) <= most:
            break
        boxes = fold(boxes, [name])
    return stretches(boxes, most) if len(boxes) > most else boxes


def stretches(boxes: list[Box], most: int) -> list[Box]:
    """Put runs of neighbours in the order of computing into one box each."""
    length = -(-len(boxes) // most)
    place = {}
    wholes = []
    for start in range(0, len(boxes), length):
        run = boxes[start : start + length]
        last = run[-1]
        count = sum(box.count for box in run)
        title = run[0].title if len(run) == 1 else f"{count} values"
        whole = Box("layer", title, title, last.array, last.node)
        whole.count, whole.grad = count, last.grad
        for box in run:
            place[box] = whole
        inputs = dict.fromkeys(place[i] for box in run for i in box.inputs)
        whole.inputs = [box for box in inputs if box is not whole]
        wholes.append(whole)
    return wholes
