"""The graph as a picture: drawn, folded, opened and saved."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from html import escape
from os import PathLike
from pathlib import Path

from ..kinds import ArrayLike
from ..nn.module import Module
from ..tensor import Tensor
from . import boxes as graph_of
from . import checks, svg
from .boxes import Box


def graph(
    output: Tensor,
    model: Module | None = None,
    *,
    names: Mapping[str, ArrayLike] | None = None,
    fold: bool | Iterable[str] = False,
) -> Picture:
    """Draw the graph that computed a tensor.

    In Jupyter and marimo, the picture is shown as it is. Values stand below those that they are
    computed from: leaves are blue, constants dashed, computed values yellow, folded layers green.
    If ``backward(retain_graph=True)`` has run, leaves show their gradients.

    Parameters
    ----------
    output
        A loss, or any other tensor with a graph.
    model
        The module whose parameters and layers give names.
    names
        Further names: ``{"x": x}``, of tensors or arrays.
    fold
        True to draw each layer as one box, or the dotted names of those to be folded. With more
        than 500 boxes, layers are folded anyway, and then long stretches of values.

    Raises
    ------
    ImportError
        When it is drawn and igraph is not installed: the extra ``visual`` brings it.
    TypeError, ValueError
        If `output` has no graph, or its graph has been freed by `backward`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.visual import graph
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> picture = graph((x * x).sum(), names={"x": x})
    >>> picture
    Picture of 3 boxes
    >>> picture.save("graph.svg")  # doctest: +SKIP
    """
    return Picture(graph_of.boxes_of(output, model, names or {}), fold)


#: A page has a picture with each layer open, unless it would be longer than anyone waits for.
MOST_OPENED = 40


class Picture:
    """A graph to look at; made by `graph`.

    Shown by Jupyter and marimo. `fold` and `unfold` return other pictures of the same graph.
    """

    def __init__(self, boxes: list[Box], folded: bool | Iterable[str]) -> None:
        self.all_boxes = boxes
        self.layers = graph_of.layers_of(boxes)
        if isinstance(folded, bool):
            folded = self.layers if folded else ()
        checks.check_is_list(folded)
        chosen = set(folded)
        checks.check_layers(chosen, self.layers)
        self.folded = [name for name in self.layers if name in chosen]

    @functools.cached_property
    def boxes(self) -> list[Box]:
        """The boxes that are drawn."""
        boxes = graph_of.fold(graph_of.copy_of(self.all_boxes), self.folded)
        return graph_of.fold_to(boxes, graph_of.LEGIBLE) if len(boxes) > graph_of.LEGIBLE else boxes

    def fold(self, *names: str) -> Picture:
        """Return the picture with layers folded: all of them if none is named."""
        return Picture(self.all_boxes, [*self.folded, *(names or self.layers)])

    def unfold(self, *names: str) -> Picture:
        """Return the picture with layers opened: all of them if none is named."""
        checks.check_layers(names, self.layers)
        kept = [name for name in self.folded if names and name not in names]
        return Picture(self.all_boxes, kept)

    def svg(self) -> str:
        """Return the picture as SVG."""
        boxes = self.boxes
        folded = len(boxes) < len(self.all_boxes)
        note = f"{len(self.all_boxes)} values in {len(boxes)} boxes" if folded else ""
        return svg.draw(boxes, note)

    def dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        boxes = self.boxes
        number = {box: i for i, box in enumerate(boxes)}
        lines = ["digraph {", "  node [shape=box, fontname=monospace]"]
        for box, i in number.items():
            label = "\\n".join(map(quoted, (box.title, svg.type_of(box), svg.numbers(box.array))))
            lines.append(f'  b{i} [label="{label}"]')
        for box, i in number.items():
            lines += [f"  b{number[source]} -> b{i}" for source in box.inputs]
        return "\n".join([*lines, "}\n"])

    def html(self) -> str:
        """Return a page with the picture; a folded layer opens when it is clicked."""
        closed = self.fold()
        pictures = {"": closed}
        if len(self.layers) <= MOST_OPENED:
            pictures |= {name: closed.unfold(name, *above(name)) for name in self.layers}
        pictures["*"] = self.unfold()
        if len(self.all_boxes) > graph_of.LEGIBLE or not self.layers:
            pictures = {"*": self}
        buttons = [
            f'<button type="button" data-opens="{escape(name)}">{escape(label_of(name))}</button>'
            for name in pictures
        ]
        parts = [
            f'<div class="picture" id="picture-{i}" tabindex="0" role="region" '
            f'aria-label="The graph"{"" if i == 0 else " hidden"}>'
            f"{picture.svg()}</div>"
            for i, picture in enumerate(pictures.values())
        ]
        return PAGE.format(
            buttons="".join(buttons) if len(buttons) > 1 else "", pictures="".join(parts)
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file: ``.svg``, ``.html``, or ``.dot`` for Graphviz.

        Raises ValueError if the name ends otherwise.
        """
        path = Path(path)
        formats = {".svg": self.svg, ".html": self.html, ".dot": self.dot}
        checks.check_suffix(path, tuple(formats))
        path.write_text(formats[path.suffix](), encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"Picture of {len(self.boxes)} boxes"


def above(name: str) -> list[str]:
    """Return the layers around a layer."""
    return graph_of.prefixes(name)[1:]


def label_of(name: str) -> str:
    """Say which layers a picture of the page shows open."""
    return {"": "all layers folded", "*": "all open"}.get(name, f"open {name}")


def quoted(text: str) -> str:
    """Escape a string for Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Graph</title>
<meta name="viewport" content="width=device-width">
<style>
body{{margin:1em;font:16px system-ui,sans-serif;background:Canvas;color:CanvasText;
color-scheme:light dark}}
button{{font:inherit;margin:0 .4em .6em 0;padding:.3em .7em}}
button[aria-pressed=true]{{font-weight:bold}}.picture{{overflow:auto}}
</style></head><body><main><h1>The graph</h1><div>{buttons}</div>{pictures}</main>
<script>
const buttons=[...document.querySelectorAll("button")];
function show(i){{document.querySelectorAll(".picture").forEach((p,k)=>p.hidden=k!==i);
buttons.forEach((b,k)=>b.setAttribute("aria-pressed",k===i));}}
buttons.forEach((b,i)=>b.onclick=()=>show(i));
document.querySelectorAll("[data-layer]").forEach(g=>g.onclick=()=>{{
const i=buttons.findIndex(b=>b.dataset.opens===g.dataset.layer);
if(buttons.length)show(i<0?buttons.length-1:i);}});
if(buttons.length)show(0);
</script></body></html>
"""
