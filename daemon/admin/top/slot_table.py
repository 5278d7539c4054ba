"""The table of `hyperdrift top`: a line for each slot, with the columns that there is room for."""

from collections.abc import Callable
from typing import Final, NamedTuple

from rich.text import Text

from daemon.admin.top.top_state import SlotRow, TopState, earned_bp
from daemon.core.terminal.folding import fitted

STYLES: Final = {"act": "bold red", "look": "yellow", "busy": "cyan", "ok": ""}
_MARKS: Final = {"act": "!", "look": "?", "busy": "~", "ok": " "}
_NAMES_FROM: Final = 96
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400


class _Column(NamedTuple):
    title: str
    sort: str
    width: int
    from_width: int  # of the terminal
    told: Callable[[SlotRow], str]
    right: bool = True


def _phase(row: SlotRow) -> str:
    job = row.state.retrain
    if job is None:
        asked = row.state.challenge
        return f"asks {asked.place}/{asked.waiting}" if asked and asked.waits else row.state.phase
    if job.waits:
        return f"waiting {job.place}/{job.waiting}"
    return f"{row.state.phase} {job.percent:.0f}%"


def _model(row: SlotRow) -> str:
    """Return when the live model was trained, `08-01 12:00`, as its id says it."""
    day, _, rest = (row.state.model_id or "").partition("_")
    return f"{day[4:6]}-{day[6:8]} {rest[:2]}:{rest[2:4]}" if rest else row.state.model_id or "none"


def age(seconds: int | None) -> str:
    """Return an age in six cells, such as `12d 3h`."""
    if seconds is None:
        return "-"
    if seconds >= _DAY_S:
        return f"{seconds // _DAY_S}d {seconds % _DAY_S // 3600}h"
    return f"{seconds // 3600}h {seconds % 3600 // 60}m"


def _win(row: SlotRow) -> str:
    return "-" if row.state.win_rate is None else f"{row.state.win_rate:.0%}"


def _earns(row: SlotRow) -> str:
    mean = earned_bp(row.state)
    return "-" if mean is None else f"{mean:+.1f}"


def _drift(row: SlotRow) -> str:
    return f"{max(row.state.drift.values()):.0%}" if row.state.drift else "-"


def _named_drift(row: SlotRow) -> str:
    if not row.state.drift:
        return "-"
    return max(row.state.drift.items(), key=lambda pair: pair[1])[0]


def _lag(row: SlotRow) -> str:
    lag_ms = row.state.lag_ms
    if lag_ms is None:
        return "-"
    seconds = lag_ms / 1000
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}s"
    minutes = int(seconds) // _MINUTE_S
    return f"{minutes}m" if minutes < _MINUTE_S else f"{minutes // _MINUTE_S}h"


_COLUMNS: Final = (
    _Column("phase", "phase", 14, 0, _phase, right=False),
    _Column("model", "age", 11, 110, _model, right=False),
    _Column("age", "age", 7, 0, lambda row: age(row.state.model_age_s)),
    _Column("win", "win", 4, 0, _win),
    _Column("bp", "earns", 6, 72, _earns),
    _Column("drift", "drift", 6, 0, _drift),
    _Column("of", "drift", 16, _NAMES_FROM, _named_drift, right=False),
    _Column("lag", "lag", 6, 0, _lag),
)
_SLOT_WIDTHS: Final = range(6, 21)


def table(state: TopState, width: int, height: int) -> list[Text]:
    """Return at most `height` lines of `width` cells: the titles, and rows with the selected one.

    Args:
        state: What is shown.
        width: Cells of a line.
        height: Lines, two at least.
    """
    rows, selected = state.sorted_rows(), state.selected_row()
    columns = [column for column in _COLUMNS if column.from_width <= width]
    slot_width = max((len(row.slot) for row in rows), default=0)
    slot_width = min(max(slot_width, _SLOT_WIDTHS.start), _SLOT_WIDTHS.stop - 1)
    at = rows.index(selected) if selected is not None else 0
    room = height - 1
    first = max(0, min(at - room // 2, len(rows) - room))
    lines = [_titles(columns, slot_width, width)]
    for row in rows[first : first + room]:
        line = _line(row, columns, slot_width, width)
        if row is selected:
            line.stylize("reverse")
        lines.append(line)
    return lines


def _titles(columns: list[_Column], slot_width: int, width: int) -> Text:
    cells = [fitted(column.title, column.width, right=column.right) for column in columns]
    line = Text(" ").join([fitted("", 1), fitted("slot", slot_width), *cells, Text("needs")])
    line.truncate(width, pad=True)
    line.stylize("bold underline")
    return line


def _line(row: SlotRow, columns: list[_Column], slot_width: int, width: int) -> Text:
    style = STYLES[row.needs.urgency]
    cells = [fitted(column.told(row), column.width, right=column.right) for column in columns]
    lead = [fitted(_MARKS[row.needs.urgency], 1), fitted(row.slot, slot_width)]
    line = Text(" ").join([*lead, *cells, Text("")])
    line += fitted(row.needs.text or "-", max(1, width - line.cell_len))
    line.truncate(width, pad=True)
    line.stylize(style)
    return line
