"""Where the boxes and arrows of a picture go: layer by layer, as igraph places them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from . import checks
from .boxes import Box

WIDTH, HEIGHT = 150, 72
GAP_X, GAP_Y = 26, 40
#: An arrow over this many rows is straight: its points would push the boxes apart.
FAR = 12

Points = list[tuple[float, float]]


@dataclass
class Layout:
    """Upper left corners of boxes, and the points through which arrows go."""

    width: float
    height: float
    corners: dict[Box, tuple[float, float]]
    arrows: list[Points]


def lay_out(boxes: list[Box]) -> Layout:
    """Place boxes in rows, so that arrows go down and cross seldom (Sugiyama et al. 1981)."""
    igraph = checks.import_igraph()
    row = rows_of(boxes)
    number = {box: i for i, box in enumerate(boxes)}
    rows = [row[box] for box in boxes]
    edges: list[tuple[int, int]] = []
    routes: list[list[int]] = []  # of each arrow: the points that it goes through, by number
    for box in boxes:
        for source in box.inputs:
            route = [number[source]]
            if row[box] - row[source] < FAR:
                # A point of its own in each row in between keeps the arrow off the boxes there.
                rows_between = range(row[source] + 1, row[box])
                route += range(len(rows), len(rows) + len(rows_between))
                rows += rows_between
                edges += itertools.pairwise([*route, number[box]])
            routes.append([*route, number[box]])
    graph = igraph.Graph(len(rows), edges, directed=True)
    places = graph.layout_sugiyama(layers=rows, hgap=1, vgap=1).coords
    left = min(x for x, _ in places)
    points = [
        (
            GAP_X + WIDTH / 2 + (x - left) * (WIDTH + GAP_X),
            GAP_Y / 2 + HEIGHT / 2 + y * (HEIGHT + GAP_Y),
        )
        for x, y in places
    ]
    corners = {
        box: (points[i][0] - WIDTH / 2, points[i][1] - HEIGHT / 2) for box, i in number.items()
    }
    arrows = []
    for first, *between, last in routes:
        start = (points[first][0], points[first][1] + HEIGHT / 2)
        end = (points[last][0], points[last][1] - HEIGHT / 2)
        arrows.append([start, *(points[i] for i in between), end])
    width = max(x for x, _ in points) + WIDTH / 2 + GAP_X
    height = max(y for _, y in points) + HEIGHT / 2 + GAP_Y / 2
    return Layout(width, height, corners, arrows)


def rows_of(boxes: list[Box]) -> dict[Box, int]:
    """Return each box's row: right above the first row in which it is needed."""
    height: dict[Box, int] = {}
    for box in reversed(boxes):
        height.setdefault(box, 0)
        for source in box.inputs:
            height[source] = max(height.get(source, 0), height[box] + 1)
    most = max(height.values())
    return {box: most - height[box] for box in boxes}
