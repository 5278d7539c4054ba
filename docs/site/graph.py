"""Draw a graph of Mermaid as SVG, because a site without a network has no script that would.

Nodes stand in rows, each below all that lead to it. An arrow over several rows is led through a
place of its own in each, so that it crosses no box. Within a row the order is that of the mean
place of the neighbours, row by row, down and up again.
"""

import html
import itertools
import re
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Final

Arrow = tuple[str, str]

_LETTER, _PAD, _BEND, _GAP = 8.2, 18.0, 10.0, 22.0  # widths in px
_BOX, _ROW, _EDGE = 28.0, 64.0, 12.0  # heights in px
_SWEEPS: Final = 12


@dataclass
class _Layout:
    """The nodes of each row, bends included, and the centre of each."""

    rows: list[list[str]]
    lines: list[Arrow]
    x: dict[str, float] = field(default_factory=dict)


def arrows(text: str) -> list[Arrow]:
    """Return the arrows of a flowchart, `a --> b` a line."""
    return re.findall(r"^\s*(\w+) --> (\w+)\s*$", text, re.MULTILINE)


def svg(text: str) -> str:
    """Return the picture of a flowchart; it takes the colours of the page that it stands in."""
    drawn = arrows(text)
    layout = _placed(drawn)
    width = max(layout.x[row[-1]] + _width(row[-1]) / 2 for row in layout.rows) + _EDGE
    height = (len(layout.rows) - 1) * _ROW + _BOX + 2 * _EDGE
    row_of = {name: n for n, row in enumerate(layout.rows) for name in row}
    parts = [_line(layout.x, row_of, each) for each in layout.lines]
    parts += [_box(layout.x[name], row_of[name], name) for name in row_of if ">" not in name]
    said = html.escape("; ".join(f"{a} imports {b}" for a, b in drawn))
    return (
        f'<svg class="graph" role="img" width="{width:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{said}</title>{"".join(parts)}</svg>'
    )


def _placed(drawn: list[Arrow]) -> _Layout:
    order: TopologicalSorter[str] = TopologicalSorter()
    for above, below in drawn:
        order.add(below, above)
    row_of: dict[str, int] = {}
    for name in order.static_order():
        row_of[name] = max((row_of[a] + 1 for a, b in drawn if b == name), default=0)
    layout = _Layout([[] for _ in range(max(row_of.values()) + 1)], [])
    for name, row in sorted(row_of.items()):
        layout.rows[row].append(name)
    for above, below in drawn:
        via = [f"{above}>{below}>{row}" for row in range(row_of[above] + 1, row_of[below])]
        for row, bend in enumerate(via, row_of[above] + 1):
            layout.rows[row].append(bend)
        chain = [above, *via, below]
        layout.lines += itertools.pairwise(chain)
    for sweep in range(_SWEEPS):
        _spread(layout)
        _sort(layout, down=sweep % 2 == 0)
    _spread(layout)
    return layout


def _sort(layout: _Layout, *, down: bool) -> None:
    """Order each row by the mean place of the neighbours in the row that was ordered before."""
    near: dict[str, list[str]] = {}
    for above, below in layout.lines:
        near.setdefault(below if down else above, []).append(above if down else below)
    for row in layout.rows if down else reversed(layout.rows):
        mean = {
            name: sum(layout.x[other] for other in near[name]) / len(near[name])
            for name in row
            if name in near
        }
        row.sort(key=lambda name, mean=mean: mean.get(name, layout.x[name]))  # type: ignore[misc]
        _spread(layout)


def _spread(layout: _Layout) -> None:
    """Put the nodes of each row side by side, the row in the middle of the picture."""
    widths = [sum(_width(name) + _GAP for name in row) - _GAP for row in layout.rows]
    for row, width in zip(layout.rows, widths, strict=True):
        x = _EDGE + (max(widths) - width) / 2
        for name in row:
            layout.x[name] = x + _width(name) / 2
            x += _width(name) + _GAP


def _width(name: str) -> float:
    return _BEND if ">" in name else len(name) * _LETTER + _PAD


def _line(x: dict[str, float], row_of: dict[str, int], line: Arrow) -> str:
    above, below = line
    top = _EDGE + row_of[above] * _ROW + (_BOX if ">" not in above else _BOX / 2)
    end = _EDGE + row_of[below] * _ROW + (0 if ">" not in below else _BOX / 2)
    half, a, b = (top + end) / 2, x[above], x[below]
    path = f"M{a:.0f} {top:.0f}C{a:.0f} {half:.0f} {b:.0f} {half:.0f} {b:.0f} {end:.0f}"
    if ">" not in below:  # the tip of the arrow
        path += f"M{b - 4:.0f} {end - 7:.0f}L{b:.0f} {end:.0f}L{b + 4:.0f} {end - 7:.0f}"
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'


def _box(x: float, row: int, name: str) -> str:
    y, width = _EDGE + row * _ROW, _width(name)
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_BOX:.0f}" rx="5" '
        'fill="none" stroke="currentColor"/>'
        f'<text x="{x:.0f}" y="{y + _BOX / 2 + 4.5:.0f}" text-anchor="middle" font-size="13" '
        f'font-family="monospace" fill="currentColor">{html.escape(name)}</text>'
    )
