"""Draw the week of each slot: the sum of its signals, and when a version went live.

`python -m daemon.notify.picture` reads the weeks as JSON and writes a PNG.
"""

import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from daemon.notify.week import Week


def draw(weeks: Sequence[Week]) -> bytes:
    """Return a PNG, 960 x 540 points."""
    figure = Figure(figsize=(9.6, 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    for week in weeks:
        times = [_day(at_ms) for at_ms, _ in week.points]
        line = axes.step(times, [total for _, total in week.points], where="post", label=week.slot)
        for at_ms, _ in week.live:
            axes.axvline(_day(at_ms), color=line[0].get_color(), linestyle=":", linewidth=1)
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_title("Signals after costs; a dotted line is a new version")
    axes.set_ylabel("basis points")
    axes.legend(frameon=False)
    axes.grid(visible=True, alpha=0.3)
    figure.autofmt_xdate()
    made = io.BytesIO()
    figure.savefig(made, format="png")
    return made.getvalue()


def _day(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def main() -> None:
    """Draw what comes from standard input."""
    weeks = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Week, ...])
    sys.stdout.buffer.write(draw(weeks))


if __name__ == "__main__":
    main()
