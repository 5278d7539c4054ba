"""The page of one slot in `hyperdrift top`: what it does, what happened, its drift, its bots."""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from daemon.admin.status_text import bot_told
from daemon.admin.top.slot_table import STYLES, age
from daemon.admin.top.top_state import SlotRow, TopState
from daemon.core.terminal.folding import fitted, folded
from daemon.core.times import utc
from daemon.journal.line import JournalLine
from daemon.web.data import headlines

LINE_STYLES: Final = {"info": "", "warning": "yellow", "critical": "bold red"}
_INDENT: Final = 14
_BAR_CELLS: Final = 20
_FULL: Final = 2.0  # evidence that fills a bar; the alarm line is in its middle
_EVENTS_SHARE: Final = 3


def page(state: TopState, row: SlotRow, width: int, height: int, now_ms: int) -> list[Text]:
    """Return all lines of the page of a slot, each at most `width` cells wide.

    Args:
        state: What is shown.
        row: The slot.
        width: Cells of a line.
        height: Lines of the screen, of which events take a third.
        now_ms: The time of the venue, ms UTC.
    """
    lines = [_title(row, width)]
    lines += [line for name, text, style in _facts(row, now_ms) for line in
              folded(text, width, style=style, lead=name, indent=_INDENT)]  # fmt: skip
    lines += _events(state.lines.get(row.slot, ()), width, max(4, height // _EVENTS_SHARE))
    lines += _drift(row, width)
    return lines + _bots(row, width)


def _title(row: SlotRow, width: int) -> Text:
    job = row.state.retrain
    doing = row.state.phase if job is None else f"{row.state.phase} {job.said}"
    if job is None and row.state.challenge is not None:
        doing = f"{doing}, {row.state.challenge.said}"
    title = fitted(f"{row.slot}  {job.said if job and job.waits else doing}", width)
    title.stylize("bold")
    return title


def _facts(row: SlotRow, now_ms: int) -> Iterator[tuple[str, str, str]]:
    state = row.state
    if row.needs.text:
        yield "needs", row.needs.text, STYLES[row.needs.urgency]
    model = state.model_id or "none yet"
    yield (
        "model",
        model + (f", trained to {age(state.model_age_s)} ago" if state.model_id else ""),
        "",
    )
    yield "doing", headlines.doing(state), ""
    yield "earns", headlines.earning(state), ""
    rate = "-" if state.win_rate is None else f"{state.win_rate:.1%}"
    yield "win rate", f"{rate} of the last {state.win_rate_count} {state.win_rate_of}", ""
    yield "next retrain", headlines.next_retrain(state, now_ms), ""


def _heading(text: str, width: int) -> list[Text]:
    heading = fitted(text, width)
    heading.stylize("underline")
    return [Text(""), heading]


def _events(known: tuple[JournalLine, ...], width: int, room: int) -> list[Text]:
    lines = _heading("what happened, the newest first", width)
    for line in reversed(known[-room:]):
        style = LINE_STYLES.get(line.severity, "")
        lines += folded(line.text, width, style=style, lead=utc(line.at_ms)[5:], indent=_INDENT)
    return lines if known else [*lines, Text("nothing yet", style="dim")]


def _drift(row: SlotRow, width: int) -> list[Text]:
    lines = _heading("drift: evidence for a change; | is the alarm line", width)
    ranked = sorted(row.state.drift.items(), key=lambda pair: -pair[1])
    for name, evidence in ranked:
        filled = round(min(evidence, _FULL) / _FULL * _BAR_CELLS)
        bar = "#" * filled + " " * (_BAR_CELLS - filled)
        middle = _BAR_CELLS // 2
        text = f"{bar[:middle]}|{bar[middle:]} {evidence:.0%}"
        style = "yellow" if evidence >= 1 else ""
        line = Text.assemble(fitted(name, 20), " ", (text, style))
        line.truncate(width)
        lines.append(line)
    return lines if ranked else [*lines, Text("no reference yet", style="dim")]


def _bots(row: SlotRow, width: int) -> list[Text]:
    lines = _heading("bots", width)
    for bot in row.state.bots:
        name = bot.bot_id or "(unnamed)"
        lines += folded(bot_told(bot), width, lead=f"{name} ", indent=max(_INDENT, len(name) + 1))
    return lines if row.state.bots else [*lines, Text("no bot was heard of", style="dim")]
