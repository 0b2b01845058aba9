"""Drawings of a report in SVG: the network with its edges coloured by error, and heat maps.

Blue is within what rounding explains, orange beyond it, in a pair of hues that colour-blind readers
tell apart.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

Heat = Sequence[Sequence[float | None]]

MOST_UNITS = 12
"""Circles drawn for a layer at most; in a wider layer each stands for several units, the worst."""

STEP, GAP, RADIUS = 190, 32, 10
"""Between layers, between units, and of a circle, in pixels."""

MAP, SMALLEST, LARGEST, LEAST_WIDTH = 220, 6, 22, 14
"""The pixels of a heat map's longer side, of a cell at least and at most, of a vector's width."""

SCALE = (
    (0.0, "0"),
    (1.0, "1"),
    (10.0, "10"),
    (1e3, "1000"),
    (1e6, "a million"),
    (None, "not finite, or no error is explained"),
)
"""The errors that the legend shows, over what rounding explains."""


def colour(ratio: float | None) -> str:
    """The colour of an error of `ratio` times its tolerance; None stands for one not finite."""
    if ratio is None:
        return "#3b1500"
    if ratio <= 1:
        return f"hsl(202,70%,{93 - 23 * ratio:.0f}%)"
    return f"hsl(27,100%,{max(28.0, 66 - 6 * math.log10(ratio)):.0f}%)"


def legend() -> str:
    """What the colours mean."""
    items = (f'<i style="background:{colour(ratio)}"></i>{text}' for ratio, text in SCALE)
    spans = "".join(f"<span>{item}</span>" for item in items)
    return f"<p class=legend>Error over what rounding explains:{spans}</p>"


def heat_map(leaf: Mapping[str, Any]) -> str:
    """An array as a grid of cells."""
    rows: Heat = leaf["heat"]
    cell = min(LARGEST, max(SMALLEST, MAP // max(len(rows), len(rows[0]))))
    width = max(cell, LEAST_WIDTH) if len(rows[0]) == 1 else cell
    gap = cell > SMALLEST
    squares = "".join(
        f'<rect x="{j * width}" y="{i * cell}" width="{width - gap}" height="{cell - gap}" '
        f'fill="{colour(ratio)}"/>'
        for i, row in enumerate(rows)
        for j, ratio in enumerate(row)
    )
    drawing = _svg(len(rows[0]) * width, len(rows) * cell, squares, leaf["path"])
    return f"<figure>{drawing}<figcaption>{escape(leaf['path'])}</figcaption></figure>"


def network(sizes: Sequence[int], leaves: Sequence[Mapping[str, Any]]) -> str:
    """Layers from left to right, an edge a weight and a circle a unit; the worst edges on top."""
    shown = [min(size, MOST_UNITS) for size in sizes]
    height = max(shown) * GAP + 40

    def place(k: int, unit: int) -> tuple[float, float]:
        return 50.0 + k * STEP, (height - 30) / 2 + (unit - (shown[k] - 1) / 2) * GAP

    edges: list[tuple[float, str]] = []
    circles = [_circle(*place(0, i), "#fff") for i in range(shown[0])]
    for k, (below, here) in enumerate(pairwise(shown), start=1):
        W, b = leaves[2 * k - 2]["heat"], leaves[2 * k - 1]["heat"]
        for j in range(here):
            for i in range(below):
                ratio = _worst(W, j, here, i, below)
                edges.append(_edge(place(k - 1, i), place(k, j), ratio))
            circles.append(_circle(*place(k, j), colour(_worst(b, j, here, 0, 1))))
    lines = [line for _, line in sorted(edges, key=lambda edge: edge[0])]
    labels = [
        f'<text x="{50 + k * STEP}" y="{height - 6}" font-size="13" text-anchor="middle">'
        f"{'input' if k == 0 else f'layer {k}'} ({size})</text>"
        for k, size in enumerate(sizes)
    ]
    width = 100 + (len(sizes) - 1) * STEP
    return _svg(width, height, "".join(lines + circles + labels), "the network, coloured by error")


def _edge(
    start: tuple[float, float], end: tuple[float, float], ratio: float | None
) -> tuple[float, str]:
    """How bad it is, and a line, thicker where it is beyond rounding."""
    (x1, y1), (x2, y2) = start, end
    badness = math.inf if ratio is None else ratio
    width = 1.2 if badness <= 1 else 2.6
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="{width}" '
    return badness, f'{line}stroke="{colour(ratio)}"/>'


def _circle(x: float, y: float, fill: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{RADIUS}" stroke="#555" fill="{fill}"/>'


def _worst(heat: Heat, j: int, of: int, i: int, below: int) -> float | None:
    """The worst ratio among the units that circle j of `of` stands for, or edge i of `below`."""
    rows = heat[j * len(heat) // of : -(-(j + 1) * len(heat) // of)]
    cells = [
        c for row in rows for c in row[i * len(row) // below : -(-(i + 1) * len(row) // below)]
    ]
    return None if None in cells else max((c for c in cells if c is not None), default=0.0)


def _svg(width: int, height: int, content: str, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>{content}</svg>'
    )
