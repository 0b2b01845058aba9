"""The report as a page: verdict, findings, the network with its edges coloured by error, heat maps.

Plain HTML and SVG from the report's plain data; no script and nothing to load. Blue is within what
rounding explains and orange beyond it, two hues that colour-blind readers can tell apart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise, repeat
from typing import Any

from fcnet.verify.table import number, place_of
from fcnet.verify.truth.rounding import KAPPA

STYLE = """
.fcnet{font:16px/1.55 system-ui,sans-serif;color:#1f2933;background:#fff;max-width:58rem;
margin:auto;padding:1.5rem}
.fcnet h1{font-size:1.6rem;margin:0}.fcnet h2{font-size:1.15rem;margin:2.2rem 0 .7rem}
.fcnet header{border-left:.5rem solid;padding:.4rem 1rem;background:#f6f8fa}
.fcnet header p{margin:.2rem 0 0;color:#1f2933}.fcnet h1 b{color:#1f2933;font-weight:600}
.fcnet .right{color:#00629b}.fcnet .wrong{color:#b84e00}.fcnet .cannot{color:#666}
.fcnet article{border:1px solid #e3b68f;border-radius:.4rem;padding:.7rem 1rem;margin:.8rem 0}
.fcnet article h3{font-size:1rem;margin:0}.fcnet article p{margin:.4rem 0 0;white-space:pre-line}
.fcnet article.warning{border-color:#c3ccd5}.fcnet .warning .tag{background:#eef1f4}
.fcnet code,.fcnet figcaption{font-family:ui-monospace,monospace;font-size:.9em}
.fcnet .tag{float:right;font-size:.8rem;background:#fdf0e4;border-radius:1rem;padding:.1rem .7rem}
.fcnet .formula{display:block;background:#f6f8fa;padding:.4rem .8rem;margin-top:.5rem;overflow:auto}
.fcnet table{border-collapse:collapse;width:100%;font-size:.92rem}
.fcnet td,.fcnet th{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid #e4e7eb}
.fcnet .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.fcnet svg{max-width:100%;height:auto}
.fcnet tr.beyond{background:#fdf0e4}.fcnet .maps{display:flex;flex-wrap:wrap;gap:1.2rem 2rem}
.fcnet figure{margin:0}.fcnet figcaption{color:#52606d;margin-top:.3rem}
.fcnet .legend{font-size:.85rem;color:#52606d}.fcnet .legend span{margin-left:1rem}
.fcnet .legend i{display:inline-block;width:.9em;height:.9em;margin-right:.4em;
vertical-align:-.1em;border:1px solid #9aa5b1}
.fcnet .lines,.fcnet .wide{overflow:auto}.fcnet .lines h3{font-size:1rem;margin:1.4rem 0 .2rem}
.fcnet .wide table{min-width:46rem}.fcnet .lines p{margin:.2rem 0}.fcnet .lines table{width:auto}
.fcnet .lines td,.fcnet .lines th{padding:.1rem 0 .1rem 1rem;border:0;white-space:nowrap}
.fcnet .lines th:first-child{padding-left:0}.fcnet .lines th{font-weight:400;color:#52606d}
.fcnet .lines .off{background:#fdf0e4;color:#b84e00;font-weight:600}
.fcnet .lines.first{border-left:.3rem solid #b84e00;padding-left:.8rem;margin-top:1.4rem}
.fcnet .lines.first h3{margin-top:0}
.fcnet .fine{font-size:.9rem;color:#52606d}
"""

HEAD = (
    '<head><meta charset=utf-8><meta name=viewport content="width=device-width">'
    "<title>fcnet: gradient check</title>"
    # An icon of its own: a browser asks the server for one otherwise.
    f'<link rel=icon href="data:,"><style>{STYLE}</style></head>'
)

Heat = Sequence[Sequence[float | None]]

MOST_UNITS = 12
"""The most circles of a layer. In a wider layer each stands for several units, by the worst."""

LAYER_GAP, UNIT_GAP, RADIUS = 190, 32, 10
"""Between layers, between units, and of a circle, in pixels."""

MAP, SMALLEST, LARGEST, LEAST_WIDTH = 220, 6, 22, 14
"""The pixels of a heat map's longer side, of a cell at least and at most, of a vector's width."""

LEGEND = (
    (0.0, "0"),
    (1.0, "1"),
    (10.0, "10"),
    (1e3, "1000"),
    (1e6, "a million"),
    (None, "not finite, or no error is explained"),
)
"""The errors over what rounding explains that the legend shows."""

SYMBOLS = {"delta[": "&delta;[", "sigma&#x27;": "&sigma;&prime;", "^T": "<sup>T</sup>"}
"""How formulas are set, once they are escaped."""

SUMMARY = {
    "right": "Every array of the gradient agrees with autodiff, up to what rounding explains.",
    "wrong": "The gradient, or the way it is computed, is not right.",
    "cannot tell": "Nothing that was tried proves the gradient right or wrong.",
}


def body(report: Mapping[str, Any]) -> str:
    """The page's content for `Report.to_dict()`, to stand in an element of class "fcnet"."""
    verdict, leaves = report["verdict"], report["leaves"]
    parts = [
        f"<header class={verdict.split()[0]}><h1><b>{escape(report['subject'])}</b> "
        f"{verdict}</h1><p>{SUMMARY[verdict]}</p></header>"
    ]
    for severity, title in (("error", "What is wrong"), ("warning", "Warnings")):
        if chosen := [f for f in report["findings"] if f["severity"] == severity]:
            parts.append(f"<h2>{title}</h2>{''.join(map(_finding_html, chosen))}")
    if leaves:
        parts.append("<h2>Where the errors are</h2>")
        r = len(report["sizes"]) - 1
        if len(leaves) in (r, 2 * r):
            parts.append(network_drawing(report["sizes"], leaves))
        parts.append(legend())
        maps = "".join(heat_map(leaf) for leaf in leaves if leaf["heat"])
        parts.append(f"<div class=maps>{maps}</div>")
        parts.append(f"<h2>Array by array</h2><div class=wide>{_leaf_table(leaves)}</div>")
    parts.append(f"<h2>How it was judged</h2>{_judged(report)}")
    if report["example"]:
        code = escape(report["example"])
        parts.append(f"<h2>A small input that shows it</h2><pre class=formula>{code}</pre>")
    if numbers := report["numbers"]:
        parts.append(f"<h2>Your numbers beside the right ones</h2>{_numbers_html(numbers, report)}")
    if report["notes"]:
        parts.append(f"<h2>Notes</h2>{_list(report['notes'])}")
    return "".join(parts)


def _finding_html(finding: Mapping[str, Any]) -> str:
    where = [f"Line {finding['line']} of Algorithm 5"] if finding["line"] else []
    where += [f"layer {finding['layer']}"] if finding["layer"] else []
    place = ", ".join(where) or "The program"
    text, must, formula = finding["message"].rpartition(" It must be ")
    shown = f"<p>{_set(text if must else formula)}</p>"
    if must:
        shown += f"<p>It must be <code class=formula>{_set(formula.rstrip('.'))}</code></p>"
    tag = f"<code class=tag>{escape(finding['kind'])}</code>"
    return f"<article class={finding['severity']}>{tag}<h3>{escape(place)}</h3>{shown}</article>"


def _set(text: str) -> str:
    """Text with its formulas in the notes' symbols."""
    text = escape(text)
    for name, symbol in SYMBOLS.items():
        text = text.replace(name, symbol)
    return text


def _leaf_table(leaves: Iterable[Mapping[str, Any]]) -> str:
    head = (
        "<tr><th>array<th class=n>digits that agree<th class=n>that rounding leaves"
        "<th>worst entry<th class=n>off by<th class=n>rounding explains<th>on"
    )
    rows = [
        f"<tr{' class=beyond' if _is_beyond(leaf) else ''}><td><code>{escape(leaf['path'])}</code>"
        f"<td class=n>{_number_text(leaf['digits'], '.1f')}"
        f"<td class=n>{_number_text(leaf['digits_expected'], '.1f')}"
        f"<td>{escape(str(list(leaf['index'])))}"
        f"<td class=n>{_number_text(leaf['error'], '.1e')}"
        f"<td class=n>{_number_text(leaf['tolerance'], '.1e')}"
        f"<td>{escape(leaf['case'])}"
        for leaf in leaves
    ]
    return f"<table>{head}{''.join(rows)}</table>"


def _is_beyond(leaf: Mapping[str, Any]) -> bool:
    """Whether rounding does not explain it."""
    cells = [cell for row in leaf["heat"] for cell in row]
    return any(cell is None or cell > 1 for cell in cells)


def _number_text(value: float | None, form: str) -> str:
    return "not finite" if value is None else format(value, form) if value else "0"


def _judged(report: Mapping[str, Any]) -> str:
    precision, u = escape(report["precision"]), f"{report['unit_roundoff']:.2g}"
    return (
        f"<p class=fine>The program was run on {len(report['cases'])} inputs and compared with "
        "reverse-mode autodiff in float64. What rounding explains is derived, for each entry by "
        "itself: the reference's own computation is repeated with the result of every operation "
        f"moved at random, by the unit roundoff of {precision}, {u}; an entry may be off by "
        f"{KAPPA:g} times as much as that moves it.</p>"
        f"<details class=fine><summary>The inputs</summary>{_list(report['cases'])}</details>"
    )


def _numbers_html(numbers: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The right numbers and the candidate's, quantity by quantity."""
    place = place_of(numbers["input"], bool(report["example"]))
    remarks = (place[0].upper() + place[1:], *numbers["remarks"])
    parts = [f"<p class=fine>{escape(' '.join(remarks))}</p>"]
    for quantity in numbers["quantities"]:
        is_first = quantity["state"] == "first"
        sentences = (quantity["says"], quantity["left_out"])
        said = "".join(f"<p class=fine>{escape(text)}" for text in sentences if text)
        sum = f"<code class=formula>{escape(numbers['arithmetic'])}</code>" if is_first else ""
        parts.append(
            f"<div class='lines{' first' * is_first}'><h3>{_set(quantity['heading'])}</h3>{said}"
            f"{_grid(quantity)}{sum}</div>"
        )
    return "".join(parts)


def _grid(quantity: Mapping[str, Any]) -> str:
    """A row of right numbers; and one of the candidate's below it, if any of them differs."""
    head = "".join(f"<th class=n>{escape(name)}" for name in quantity["columns"])
    rows = [f"<tr><th>{head}"] if any(quantity["columns"]) else []
    for i, name in enumerate(quantity["rows"]):
        right, differs = quantity["right"][i], quantity["differs"][i]
        rows.append(_row(name or "right", map(_cell, right)))
        if any(differs):
            yours = quantity["yours"][i]
            errors = (
                _number_text(None if None in pair else pair[1] - pair[0], ".1e") if off else ""
                for *pair, off in zip(right, yours, differs, strict=True)
            )
            rows.append(_row("yours", map(_cell, yours), differs))
            rows.append(_row("off by", errors))
    return f"<table>{''.join(rows)}</table>"


def _cell(value: float | None) -> str:
    return "not finite" if value is None else number(value)


def _row(name: str, cells: Iterable[str], differs: Iterable[bool] = repeat(False)) -> str:
    row = (f"<td class='n{' off' * off}'>{text}" for text, off in zip(cells, differs, strict=False))
    return f"<tr><th>{escape(name)}{''.join(row)}"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}' for item in items)}</ul>"


def colour(ratio: float | None) -> str:
    """The colour of an error of `ratio` times its tolerance; None stands for one not finite."""
    if ratio is None:
        return "#3b1500"
    if ratio <= 1:
        return f"hsl(202,70%,{93 - 23 * ratio:.0f}%)"
    return f"hsl(27,100%,{max(28.0, 66 - 6 * math.log10(ratio)):.0f}%)"


def legend() -> str:
    """What the colours mean."""
    items = (f'<i style="background:{colour(ratio)}"></i>{text}' for ratio, text in LEGEND)
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


def network_drawing(sizes: Sequence[int], leaves: Sequence[Mapping[str, Any]]) -> str:
    """Layers from left to right, an edge a weight and a circle a unit; the worst edges on top.

    Leaves are W and b of each layer, or W alone in a network without biases.
    """
    shown = [min(size, MOST_UNITS) for size in sizes]
    height = max(shown) * UNIT_GAP + 40

    def place(k: int, unit: int) -> tuple[float, float]:
        return 50.0 + k * LAYER_GAP, (height - 30) / 2 + (unit - (shown[k] - 1) / 2) * UNIT_GAP

    edges: list[tuple[float, str]] = []
    circles = [_circle(*place(0, i), "#fff") for i in range(shown[0])]
    for k, (below, here) in enumerate(pairwise(shown), start=1):
        arrays = len(leaves) // (len(sizes) - 1)
        W, *b = (leaf["heat"] for leaf in leaves[arrays * (k - 1) : arrays * k])
        for j in range(here):
            for i in range(below):
                ratio = _largest_ratio(W, j, here, i, below)
                edges.append(_edge(place(k - 1, i), place(k, j), ratio))
            fill = colour(_largest_ratio(b[0], j, here, 0, 1)) if b else "#fff"
            circles.append(_circle(*place(k, j), fill))
    lines = [line for _, line in sorted(edges, key=lambda edge: edge[0])]
    labels = [
        f'<text x="{50 + k * LAYER_GAP}" y="{height - 6}" font-size="13" text-anchor="middle">'
        f"{'input' if k == 0 else f'layer {k}'} ({size})</text>"
        for k, size in enumerate(sizes)
    ]
    width = 100 + (len(sizes) - 1) * LAYER_GAP
    return _svg(width, height, "".join(lines + circles + labels), "the network, coloured by error")


def _edge(
    start: tuple[float, float], end: tuple[float, float], ratio: float | None
) -> tuple[float, str]:
    """The error, for sorting, and a line, thicker where rounding does not explain it."""
    (x1, y1), (x2, y2) = start, end
    rank = math.inf if ratio is None else ratio
    width = 1.2 if rank <= 1 else 2.6
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke-width="{width}" '
    return rank, f'{line}stroke="{colour(ratio)}"/>'


def _circle(x: float, y: float, fill: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{RADIUS}" stroke="#555" fill="{fill}"/>'


def _largest_ratio(heat: Heat, j: int, of: int, i: int, below: int) -> float | None:
    """The largest ratio of the units that circle j of `of` stands for, or edge i of `below`."""
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
