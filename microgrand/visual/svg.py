"""The picture as SVG: boxes, arrows and numbers. Names that users give are shown as text."""

from __future__ import annotations

from html import escape

import numpy as np

from ..kinds import Array, Shape
from .boxes import Box
from .layout import HEIGHT, WIDTH, Layout, Points, lay_out

#: How many letters fit into a box: of its title, and of the other lines.
LETTERS, SMALL_LETTERS = 19, 23

STYLE = """
.mg{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;--ink:#1a1a1a;--line:#5b6470;
--paper:#ffffff;--leaf:#dcecff;--constant:#ececec;--value:#fff7dc;--layer:#e2f3df}
@media(prefers-color-scheme:dark){.mg{--ink:#f0f0f0;--line:#a8b0bb;--paper:#16181c;--leaf:#1d3a5c;
--constant:#383b40;--value:#4a3f1c;--layer:#274a2b}}
.mg text{fill:var(--ink);text-anchor:middle}.mg .title{font-weight:bold}.mg .small{font-size:10px}
.mg rect{stroke:var(--line);rx:6}.mg .leaf rect{fill:var(--leaf)}
.mg .constant rect{fill:var(--constant);stroke-dasharray:4 3}.mg .value rect{fill:var(--value)}
.mg .layer rect{fill:var(--layer);stroke-width:2.5}
.mg .arrow{fill:none;stroke:var(--line);stroke-width:1.2}.mg .head{fill:var(--line)}
"""


def draw(boxes: list[Box], note: str = "", prefix: str = "") -> str:
    """Return a picture of boxes, with a line of text below it.

    With a prefix, boxes have identities, ``prefix-0`` for the first. A page may hold several
    pictures, so without one they have none.
    """
    layout = lay_out(boxes)
    height = layout.height + (24 if note else 0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mg" role="img" '
        f'viewBox="0 0 {layout.width:.0f} {height:.0f}" width="{layout.width:.0f}" '
        f'height="{height:.0f}">',
        f"<title>Graph of {len(boxes)} boxes, from the leaves above to {escape(boxes[-1].name)} "
        "below</title>",
        f"<style>{STYLE}</style>",
        '<rect width="100%" height="100%" style="fill:var(--paper);stroke:none"/>',
        *[arrow(points) for points in layout.arrows],
        *[
            box_at(box, layout, f' id="{prefix}-{i}"' if prefix else "")
            for i, box in enumerate(boxes)
        ],
    ]
    if note:
        lines.append(
            f'<text class="small" x="{layout.width / 2:.0f}" y="{height - 9:.0f}">'
            f"{escape(note)}</text>"
        )
    return "\n".join([*lines, "</svg>\n"])


def arrow(points: Points) -> str:
    """Draw a smooth line through points, downward, with a head."""
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in rest:
        middle = (y + next_y) / 2
        path.append(f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    head = f"{x - 4:.1f},{y - 8:.1f} {x + 4:.1f},{y - 8:.1f} {x:.1f},{y:.1f}"
    return f'<path class="arrow" d="{" ".join(path)}"/><polygon class="head" points="{head}"/>'


def box_at(box: Box, layout: Layout, identity: str) -> str:
    """Draw a box with its title, its shape and its numbers."""
    x, y = layout.corners[box]
    middle = x + WIDTH / 2
    opens = f' data-layer="{escape(box.layer)}"' if box.kind == "layer" and box.layer else ""
    texts = [("title", shortened(box.title)), ("small", type_of(box))]
    texts.append(("small", shortened(numbers(box.array), SMALL_LETTERS)))
    if box.grad is not None:
        texts.append(("small", shortened(f"grad {numbers(box.grad)}", SMALL_LETTERS)))
    first = y + (HEIGHT - 15 * (len(texts) - 1)) / 2 + 4
    return "\n".join(
        [
            f'<g class="{box.kind}"{identity}{opens}>',
            f"<title>{escape(sentence(box))}</title>",
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}"/>',
            *[
                f'<text class="{kind}" x="{middle:.1f}" y="{first + 15 * i:.1f}">{escape(text)}'
                "</text>"
                for i, (kind, text) in enumerate(texts)
            ],
            "</g>",
        ]
    )


def sentence(box: Box) -> str:
    """Say all of a box in words, as a tooltip and for readers of the screen."""
    parts = [f"{box.kind} {box.name}, {type_of(box)}", f"values {numbers(box.array)}"]
    if box.count > 1:
        parts.append(f"{box.count} values in one box")
    if box.layer and box.layer != box.name:
        parts.append(f"of {box.layer}")
    if box.grad is not None:
        parts.append(f"gradient {numbers(box.grad)}")
    if box.inputs:
        parts.append("from " + ", ".join(source.name for source in box.inputs))
    return "; ".join(parts)


def type_of(box: Box) -> str:
    """Return shape and dtype: ``(2, 3) float32``."""
    return f"{shape_text(box.shape)} {box.array.dtype}"


def shape_text(shape: Shape) -> str:
    """Write a shape as Python does; a number has none."""
    return str(tuple(shape)) if shape else "number"


def numbers(array: Array) -> str:
    """Write few numbers, or the range of many, and what is not finite."""
    array = np.asarray(array)
    if array.size == 0:
        return "empty"
    if array.size <= 4:
        return " ".join(number(x) for x in array.ravel())
    if array.dtype == bool:
        return f"{int(array.sum())} of {array.size} True"
    if array.dtype.kind == "c":
        return "complex"
    finite = array[np.isfinite(array)]
    text = f"{number(finite.min())} to {number(finite.max())}" if finite.size else ""
    kinds = [("nan", np.isnan(array)), ("inf", np.isinf(array))]
    others = [f"{int(mask.sum())} {kind}" for kind, mask in kinds if mask.any()]
    return ", ".join(filter(None, [text, *others]))


def number(x: object) -> str:
    """Write a number with four digits."""
    return str(x) if isinstance(x, (bool, np.bool_)) else f"{x:.4g}"


def shortened(text: str, letters: int = LETTERS) -> str:
    """Cut a string that is too long for a box."""
    return text if len(text) <= letters else f"{text[: letters - 3]}..."
