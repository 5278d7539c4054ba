"""The whole screen of `hyperdrift top`: state and size in, lines out."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rich.text import Text

from daemon.admin.top import slot_page, slot_table
from daemon.admin.top.top_state import SORTS, SlotRow, TopState
from daemon.core.terminal.folding import folded
from daemon.journal.said import plural
from daemon.web.data import headlines, needs
from daemon.web.data.needs import DaemonFacts

_MOST_NEEDS: Final = 3


class Drawn(NamedTuple):
    """Lines for the screen, and how far a page can be scrolled."""

    lines: list[Text]
    most_scrolled: int = 0


def draw(state: TopState, width: int, height: int, now_ms: int) -> Drawn:
    """Return at most `height` lines, none wider than `width` cells.

    Args:
        state: What is shown.
        width: Cells of a line.
        height: Lines of the terminal.
        now_ms: The time, ms UTC.
    """
    head, row = _head(state, width), state.selected_row()
    if state.opened and row is not None:
        return _opened(state, row, width, height, now_ms)
    foot = _foot(state, row, width)
    room = height - len(head) - len(foot)
    if room < 2:  # noqa: PLR2004 - titles and a row
        head, foot, room = head[:1], [], height - 1
    body = slot_table.table(state, width, max(2, room))
    body += [Text("")] * (room - len(body))
    return Drawn([*head, *body, *foot][:height])


def _opened(state: TopState, row: SlotRow, width: int, height: int, now_ms: int) -> Drawn:
    foot = _keys((("j k", "scroll"), ("Esc", "back"), ("q", "quit")), width)
    lines = slot_page.page(state, row, width, height, now_ms)
    if state.trouble:
        lines[:0] = folded(state.trouble, width, style="bold red")
    room = max(1, height - len(foot))
    most = max(0, len(lines) - room)
    shown = lines[min(state.scrolled, most) :][:room]
    return Drawn([*shown, *[Text("")] * (room - len(shown)), *foot][:height], most)


def _head(state: TopState, width: int) -> list[Text]:
    daemon = state.daemon
    if daemon is None:
        return folded(state.trouble or "waiting for the daemon", width, style="bold")
    parts = [f"hyperdrift {daemon.version}", daemon.state, plural(len(state.rows), "slot")]
    if venue := daemon.venue:
        parts.append("venue connected" if venue.connected else "venue away")
        parts.append(f"weight {venue.weight_left} of {venue.weight_per_minute} left")
    if daemon.doing:
        parts.append(daemon.doing)
    lines = folded(", ".join(filter(None, parts)), width, style="bold")
    wants = needs.of_daemon(DaemonFacts(daemon, ""))
    if state.trouble:
        lines += folded(state.trouble, width, style="bold red")
    elif wants.text:
        lines += folded(wants.text, width, style=slot_table.STYLES[wants.urgency])[:_MOST_NEEDS]
    return lines


def _foot(state: TopState, row: SlotRow | None, width: int) -> list[Text]:
    lines = []
    if row is not None:
        text = row.needs.text or headlines.doing(row.state)
        style = slot_table.STYLES[row.needs.urgency]
        lines = folded(f"{row.slot}: {text}", width, style=style)[:_MOST_NEEDS]
    arrow = " (reversed)" if state.is_reversed else ""
    sorts = ((key, name + arrow * (name == state.sort)) for key, name in SORTS.items())
    moves = (("j k", "select"), ("Enter", "open"), ("q", "quit"))
    return [*lines, *_keys((*sorts, *moves), width, state.sort)]


def _keys(keys: Iterable[tuple[str, str]], width: int, chosen: str = "") -> list[Text]:
    """Return the keys and what they do, as many to a line as there is room for."""
    lines = [Text()]
    for key, what in keys:
        style = "bold reverse" if chosen and what.startswith(chosen) else "dim"
        piece = Text.assemble((key, "bold"), (f" {what}", style))
        if lines[-1].cell_len + 2 + piece.cell_len > width and lines[-1]:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(piece)
    return lines
