"""The report as a page: verdict, findings, the network with its edges coloured by error, heat maps.

Plain HTML and SVG made from the report's plain data; no script and nothing to load. Blue is within
what rounding explains, orange beyond it, in a pair of hues that colour-blind readers tell apart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

STYLE = """
.fcnet{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:auto;padding:1rem}
.fcnet h1{font-size:1.5rem;margin:.2rem 0}.fcnet h2{font-size:1.1rem;margin:1.4rem 0 .4rem}
.fcnet .right{color:#0072b2}.fcnet .wrong{color:#d55e00}.fcnet .cannot{color:#666}
.fcnet li{margin:.3rem 0}.fcnet small{color:#666}.fcnet code{background:#f3f3f3;padding:0 .2rem}
.fcnet table{border-collapse:collapse}.fcnet td,.fcnet th{padding:.15rem .8rem .15rem 0;
text-align:left;border-bottom:1px solid #ddd}.fcnet td.n{font-variant-numeric:tabular-nums}
.fcnet figure{display:inline-block;margin:.5rem 1rem .5rem 0;vertical-align:top}
.fcnet figcaption{font-size:.85rem;color:#444}
"""

HEAD = (
    '<head><meta charset=utf-8><meta name=viewport content="width=device-width">'
    f"<title>fcnet: gradient check</title><style>{STYLE}</style></head>"
)

MOST_UNITS = 12
"""Circles drawn for a layer at most; in a wider layer each stands for several units, the worst."""


def body(report: Mapping[str, Any]) -> str:
    """The page's content for `Report.to_dict()`, to stand in an element of class "fcnet"."""
    verdict = report["verdict"]
    parts = [
        f"<h1>{escape(report['subject'])}: "
        f"<span class={verdict.split()[0]}>{escape(verdict)}</span></h1>",
        f"<p><small>Compared in float64 with autodiff, on {len(report['cases'])} inputs, for "
        f"arithmetic in {escape(report['precision'])} (u = {report['unit_roundoff']:.2g})."
        "</small></p>",
    ]
    if report["findings"]:
        parts.append(f"<h2>What is wrong</h2><ol>{''.join(map(_finding, report['findings']))}</ol>")
    if report["sizes"]:
        parts.append(f"<h2>Where</h2>{_network(report['sizes'], report['leaves'])}")
    parts.append(f"<h2>The gradient, array by array</h2>{_table(report['leaves'])}")
    parts += [_heat_map(leaf) for leaf in report["leaves"] if leaf["heat"]]
    parts.append(
        "<p><small>Blue: within what rounding explains. Orange: beyond it, darker is further. The "
        "bound comes from repeating the reference's own computation with every operation perturbed "
        f"by up to u; the inputs were: {escape('; '.join(report['cases']))}.</small></p>"
    )
    if report["notes"]:
        items = "".join(f"<li>{escape(note)}</li>" for note in report["notes"])
        parts.append(f"<h2>Notes</h2><ul>{items}</ul>")
    return f"<div class=fcnet>{''.join(parts)}</div>"


def colour(ratio: float | None) -> str:
    """The colour of an error of `ratio` times its tolerance; None stands for one not finite."""
    if ratio is None:
        return "#000"
    if ratio <= 1:
        return f"hsl(202,70%,{92 - 17 * ratio:.0f}%)"
    return f"hsl(27,100%,{max(30.0, 75 - 9 * math.log10(ratio)):.0f}%)"


def _finding(finding: Mapping[str, Any]) -> str:
    where = [f"line {finding['line']} of Algorithm 5"] if finding["line"] else []
    where += [f"layer {finding['layer']}"] if finding["layer"] else []
    place = escape(", ".join([*where, finding["kind"]]))
    return f"<li><b>{place}.</b> {escape(finding['message'])}</li>"


def _table(leaves: Iterable[Mapping[str, Any]]) -> str:
    head = "<tr><th>array<th>digits agreeing<th>expected<th>worst entry<th>off by<th>rounding<th>on"
    rows = [
        f"<tr><td><code>{escape(leaf['path'])}</code>"
        + "".join(
            f"<td class=n>{cell}"
            for cell in (
                _number(leaf["digits"], ".1f"),
                _number(leaf["digits_expected"], ".1f"),
                escape(str(list(leaf["index"]))),
                _number(leaf["error"], ".1e"),
                _number(leaf["tolerance"], ".1e"),
            )
        )
        + f"<td>{escape(leaf['case'])}"
        for leaf in leaves
    ]
    return f"<table>{head}{''.join(rows)}</table>"


def _number(value: float | None, form: str) -> str:
    return "not finite" if value is None else format(value, form)


def _heat_map(leaf: Mapping[str, Any], cell: int = 9) -> str:
    rows = leaf["heat"]
    squares = "".join(
        f'<rect x="{j * cell}" y="{i * cell}" width="{cell}" height="{cell}" '
        f'fill="{colour(ratio)}"/>'
        for i, row in enumerate(rows)
        for j, ratio in enumerate(row)
    )
    width, height = len(rows[0]) * cell, len(rows) * cell
    return (
        f"<figure>{_svg(width, height, squares, leaf['path'])}"
        f"<figcaption><code>{escape(leaf['path'])}</code></figcaption></figure>"
    )


def _network(sizes: Sequence[int], leaves: Sequence[Mapping[str, Any]]) -> str:
    """Layers from left to right, an edge a weight and a circle a unit, both coloured by error."""
    shown = [min(size, MOST_UNITS) for size in sizes]
    step, gap, radius = 130, 26, 8
    height = max(shown) * gap + 30

    def place(k: int, unit: int) -> tuple[float, float]:
        return 40.0 + k * step, height / 2 + (unit - (shown[k] - 1) / 2) * gap

    edges, circles = [], []
    for k, (below, here) in enumerate(pairwise(shown), start=1):
        W, b = leaves[2 * k - 2]["heat"], leaves[2 * k - 1]["heat"]
        for j in range(here):
            for i in range(below):
                (x1, y1), (x2, y2) = place(k - 1, i), place(k, j)
                edges.append(
                    f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="2" '
                    f'stroke="{colour(_worst(W, j, here, i, below))}"/>'
                )
            x, y = place(k, j)
            circles.append(
                f'<circle cx="{x}" cy="{y}" r="{radius}" stroke="#444" '
                f'fill="{colour(_worst(b, j, here, 0, 1))}"/>'
            )
    for i in range(shown[0]):
        x, y = place(0, i)
        circles.append(f'<circle cx="{x}" cy="{y}" r="{radius}" stroke="#444" fill="#fff"/>')
    labels = [
        f'<text x="{40 + k * step}" y="{height - 4}" font-size="11" text-anchor="middle">'
        f"{'input' if k == 0 else f'layer {k}'} ({size})</text>"
        for k, size in enumerate(sizes)
    ]
    width = 80 + (len(sizes) - 1) * step
    return _svg(width, height, "".join(edges + circles + labels), "the network, coloured by error")


def _worst(heat: Sequence[Sequence[float | None]], j: int, of: int, i: int, below: int) -> Any:
    """The worst ratio among the units that circle j of `of` stands for, or edge i of `below`."""
    rows = heat[j * len(heat) // of : -(-(j + 1) * len(heat) // of)]
    cells = [
        c for row in rows for c in row[i * len(row) // below : -(-(i + 1) * len(row) // below)]
    ]
    return None if None in cells else max((c for c in cells if c is not None), default=0.0)


def _svg(width: int | float, height: int | float, content: str, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>{content}</svg>'
    )
