"""The plots of the report, as SVG text that takes its colours from the page it stands in.

matplotlib draws with stand-in colours, which are then replaced by the page's own, so that one
plot is legible on a white page and on a dark one. Sizes suit a phone; a wide screen shows
several side by side. Where matplotlib is not installed there are no plots.
"""

import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

try:
    import matplotlib as mpl
    from matplotlib import ticker
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError:  # another interpreter, which only has what training needs
    mpl = None  # type: ignore[assignment]

_INK, _SOFT, _LINE = "#0a0b01", "#0a0b02", "#0a0b03"
_BLUE, _GOOD, _BAD = "#0a0b04", "#0a0b05", "#0a0b06"
_OF_PAGE: Final = {
    _INK: "var(--ink)",
    _SOFT: "var(--soft)",
    _LINE: "var(--line)",
    _BLUE: "var(--blue)",
    _GOOD: "var(--good)",
    _BAD: "var(--bad)",
}
_STYLE: Final[Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's colours
    "text.parse_math": False,  # a name with two dollars is a name
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _SOFT,
    "axes.titlesize": 9.5,
    "axes.titlecolor": _INK,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "text.color": _INK,
    "grid.color": _LINE,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}
_YEAR_MS: Final = 31_536_000_000
_WIDE, _HIGH, _HIGH_LIST = 4.3, 2.3, 3.9


def draw(findings: Mapping[str, Any]) -> dict[str, str]:
    """Return one SVG element for each of reliability, equity, importance and drift.

    Args:
        findings: What `findings.find` returned.

    Returns:
        Nothing at all where matplotlib is not installed.
    """
    if mpl is None:
        return {}
    plots: dict[str, Callable[[Any, str], str]] = {
        "reliability": _reliability,
        "equity": _equity,
        "importance": _importance,
        "drift": _drift,
    }
    with mpl.rc_context(_STYLE):
        return {name: plot(findings[name], name) for name, plot in plots.items()}


def _reliability(found: Mapping[str, list[list[float]]], name: str) -> str:
    figure = Figure(figsize=(_WIDE, 1.85), layout="constrained")
    for place, (of_class, bins) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), place + 1)
        given, happened = [b[0] for b in bins], [b[1] for b in bins]
        low, high = min(given + happened), max(given + happened)
        pad = 0.06 * (high - low) or 0.05
        span = (max(0.0, low - pad), min(1.0, high + pad))
        axes.plot(span, span, color=_SOFT, linewidth=0.8, linestyle="--")
        axes.plot(given, happened, color=_BLUE, marker="o", markersize=3, linewidth=1.2)
        axes.set(xlim=span, ylim=span, title=of_class, xlabel="said", aspect="equal")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(2))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(3))
        if place == 0:
            axes.set_ylabel("happened")
    return _svg(figure, name)


def _equity(found: Mapping[str, Any], name: str) -> str:
    figure = Figure(figsize=(_WIDE, _HIGH), layout="constrained")
    axes = figure.add_subplot()
    at = found["t"]
    axes.axhline(0, color=_SOFT, linewidth=0.8)
    for key, color, width in (("before_fees", _SOFT, 1.0), ("after_fees", _BLUE, 1.6)):
        values = [100 * value for value in found[key]]
        axes.plot(at, values, color=color, linewidth=width, label=key.replace("_fees", " costs"))
    axes.set_ylabel("% of capital")
    axes.grid(axis="y", linewidth=0.6)
    axes.legend(loc="best", fontsize=8.5)
    ticks = at[:: max(1, len(at) // 4)]
    form = "%d %b" if at[-1] - at[0] < _YEAR_MS else "%b %Y"
    days = [datetime.fromtimestamp(t / 1000, tz=timezone.utc).strftime(form) for t in ticks]
    axes.set_xticks(ticks, labels=days)
    return _svg(figure, name)


def _importance(found: Mapping[str, float], name: str) -> str:
    ranked = sorted(found.items(), key=lambda item: item[1])
    return _bars(
        [feature for feature, _ in ranked],
        [1000 * rise for _, rise in ranked],
        "rise of the log loss, thousandths",
        name,
    )


def _drift(found: Mapping[str, Any], name: str) -> str:
    ranked = sorted(found["features"].items(), key=lambda item: abs(item[1]["shift_sd"]))
    return _bars(
        [feature for feature, _ in ranked],
        [drift["shift_sd"] for _, drift in ranked],
        "shift of the mean, standard deviations",
        name,
    )


def _bars(names: list[str], values: list[float], label: str, name: str) -> str:
    figure = Figure(figsize=(_WIDE, _HIGH_LIST), layout="constrained")
    axes = figure.add_subplot()
    colors = [_BLUE if value >= 0 else _BAD for value in values]
    axes.barh(names, values, color=colors, height=0.62)
    axes.axvline(0, color=_SOFT, linewidth=0.8)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelcolor=_INK, labelsize=8.5)
    axes.spines["left"].set_visible(False)
    axes.margins(y=0.015)
    axes.set_xlabel(label)
    return _svg(figure, name)


def _svg(figure: "Figure", name: str) -> str:
    """Return the figure as an element for a page: no prologue, no size, the page's colours."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # ids that are the same each time, and no other's
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" class="{name}">', svg, count=1
    )
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    # Ids are counted from 1 in every figure; a page has several.
    svg = re.sub(r'id="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for stand_in, color in _OF_PAGE.items():
        svg = svg.replace(stand_in, color)
    return svg
