"""What `hyperdrift top` shows, as values: news and keys give a new state, nothing else does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from daemon.journal.line import JournalLine
from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.web.data import needs
from daemon.web.data.needs import Needs, SlotFacts
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

KEPT_LINES: Final = 200
"""Events of a slot that are kept."""
SORTS: Final = {
    "u": "urgency", "s": "slot", "p": "phase", "a": "age", "w": "win", "e": "earns",
    "d": "drift", "l": "lag",
}  # fmt: skip
"""Key -> column that it sorts by."""

_STEPS: Final = {
    "up": -1, "k": -1, "down": 1, "j": 1, "page_up": -10, "page_down": 10,
    "home": -(10**6), "end": 10**6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot: its state and what it needs."""

    slot: str
    state: SlotState
    needs: Needs


@dataclass(frozen=True, slots=True)
class TopState:
    """Everything that the screen is made of.

    Attributes:
        daemon: The daemon's status; None before the first.
        trouble: Why nothing new comes; empty if it does.
        rows: Slot -> its row.
        lines: Slot -> what happened, oldest first.
        sort: The column that rows are sorted by.
        is_reversed: Whether the order is the other way round.
        selected: The selected slot; empty is the first.
        opened: Whether the selected slot fills the screen.
        scrolled: Lines that the page of the opened slot is scrolled down.
        has_ended: Whether somebody asked to leave.
    """

    daemon: DaemonStatus | None = None
    trouble: str = ""
    rows: Mapping[str, SlotRow] = field(default_factory=dict)
    lines: Mapping[str, tuple[JournalLine, ...]] = field(default_factory=dict)
    sort: str = "urgency"
    is_reversed: bool = False
    selected: str = ""
    opened: bool = False
    scrolled: int = 0
    has_ended: bool = False

    def sorted_rows(self) -> list[SlotRow]:
        """Return the rows in the order in which they are shown."""
        rows = sorted(self.rows.values(), key=lambda row: row.slot)
        return sorted(rows, key=_KEYS[self.sort], reverse=self.is_reversed)

    def selected_row(self) -> SlotRow | None:
        """Return the selected row, None without any."""
        rows = self.sorted_rows()
        return next((row for row in rows if row.slot == self.selected), rows[0] if rows else None)


def _worst_drift(row: SlotRow) -> float:
    return max(row.state.drift.values(), default=-1.0)


def earned_bp(state: SlotState) -> float | None:
    """Return what a trade, or else a signal, of the live model earned on average, basis points."""
    for source in ("trades", "signals"):
        mean = state.earning.get(source, {}).get("of_model", {}).get("mean_bp")
        if isinstance(mean, int | float):
            return float(mean)
    return None


def _least(value: float | None) -> float:
    return -1e9 if value is None else value


# The worst is on top.
_KEYS: Final = {
    "urgency": lambda row: needs.rank(row.needs.urgency),
    "slot": lambda row: row.slot,
    "phase": lambda row: row.state.phase,
    "age": lambda row: -_least(row.state.model_age_s),
    "win": lambda row: _least(row.state.win_rate),
    "earns": lambda row: _least(earned_bp(row.state)),
    "drift": lambda row: -_worst_drift(row),
    "lag": lambda row: -_least(row.state.lag_ms),
}


def heard_daemon(was: TopState, daemon: DaemonStatus) -> TopState:
    """Take a status of the daemon; slots that it has no more are gone."""
    rows = was.rows
    if daemon.slots:
        rows = {slot: row for slot, row in rows.items() if slot in daemon.slots}
    return replace(was, daemon=daemon, rows=rows)


def heard_slot(was: TopState, slot: SlotName, state: SlotState, now_ms: int) -> TopState:
    """Take a state of a slot."""
    row = SlotRow(str(slot), state, needs.of_slot(SlotFacts(slot, state, now_ms)))
    return replace(was, rows={**was.rows, row.slot: row})


def heard_line(was: TopState, *news: JournalLine) -> TopState:
    """Take what happened; an entry that is known already changes nothing."""
    lines = dict(was.lines)
    for line in news:
        known = lines.get(line.slot, ())
        if any((one.at_ms, one.text) == (line.at_ms, line.text) for one in known):
            continue
        lines[line.slot] = tuple(sorted((*known, line), key=lambda one: one.at_ms))[-KEPT_LINES:]
    return replace(was, lines=lines)


def pressed(was: TopState, key: str) -> TopState:
    """Return the state after a key; an unknown key changes nothing."""
    if key == "q":
        return replace(was, has_ended=True)
    if was.opened:
        return _pressed_on_page(was, key)
    rows = was.sorted_rows()
    if key in _STEPS and rows:
        names = [row.slot for row in rows]
        at = names.index(was.selected) if was.selected in names else 0
        return replace(was, selected=names[min(max(at + _STEPS[key], 0), len(names) - 1)])
    if key in {"enter", "right"} and (row := was.selected_row()):
        return replace(was, selected=row.slot, opened=True, scrolled=0)
    if key in SORTS:
        same = SORTS[key] == was.sort
        return replace(was, sort=SORTS[key], is_reversed=same and not was.is_reversed)
    return was


def _pressed_on_page(was: TopState, key: str) -> TopState:
    if key in _STEPS:
        return replace(was, scrolled=max(0, was.scrolled + _STEPS[key]))
    if key in {"escape", "back", "left", "enter"}:
        return replace(was, opened=False)
    return was


def slot_of(text: str) -> SlotName | None:
    """Return the slot of a name from outside, None if it is none."""
    try:
        return SlotName.parse(text)
    except BadInput:
        return None
