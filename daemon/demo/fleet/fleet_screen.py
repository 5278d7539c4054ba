"""Show several slots on one screen: a row each while they run, and a table at the end."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from daemon.demo.event_log import EventLog
from daemon.demo.fleet.cycle import DemoSlot, DemoSummary, has_swapped

TITLES: Final = ("slot", "bars", "answered", "first model", "then", "retrained", "the bot", "live")


def status(logs: Sequence[EventLog]) -> str:
    """Return a line about all slots."""
    phases = Counter(doing(log) for log in logs)
    now = ", ".join(f"{count} {what}" for what, count in sorted(phases.items()))
    return (
        f"{min(log.bars for log in logs)} closed in each of {len(logs)} slots, "
        f"{sum(log.predictions for log in logs)} answered by the bots; {now}"
    )


def panel(logs: Sequence[EventLog]) -> Any:
    """Return what stands in place on a terminal: a row for each slot."""
    table = Table.grid(padding=(0, 2))
    for log in logs:
        worst = max(log.state["drift"].items(), key=lambda pair: pair[1], default=None)
        drift = f"{worst[0]} {worst[1]:.0%}" if worst else "no reference yet"
        win = log.state["win_rate"]
        table.add_row(
            f"{'now':>9}",
            str(log.slot),
            f"{log.bars} bars",
            _progress(log),
            f"drift {drift}",
            "no win rate yet" if win is None else f"win rate {win:.0%} of {log.state['trades']}",
            style="dim",
        )
    return table


def doing(log: EventLog) -> str:
    """Return what a slot does: its phase, or that its retrain waits for its turn."""
    job = log.state["retrain"]
    return "waiting" if job and job["step"] == "waiting" else str(log.state["phase"])


def rows(summary: DemoSummary) -> list[tuple[str, ...]]:
    """Return the cells of each slot for the table at the end, by `TITLES`."""
    return [_row(slot, summary.order) for slot in summary.slots]


def _progress(log: EventLog) -> Text:
    job = log.state["retrain"]
    if not job:
        return Text(doing(log))
    if job["step"] == "waiting":
        place, of = job.get("place"), job.get("waiting")
        return Text(f"waits, {place} of {of}" if place else "waits")
    return Text(f"{job['step']} {job['percent']:.0f} %", style="cyan")


def _row(slot: DemoSlot, order: Sequence[str]) -> tuple[str, ...]:
    log = slot.log
    first = next((r for r in log.retrains if r.trigger == "first"), None)
    later = [r for r in log.retrains if r.trigger != "first"]
    place = f"{order.index(slot.slot) + 1}. of {len(set(order))}" if slot.slot in order else ""
    verdict = ("passed" if later[-1].passed else "refused") if later else ""
    live = next((model["model_id"] for model in slot.models if model["live"]), "none")
    return (
        slot.slot,
        str(log.bars),
        str(log.predictions),
        "none"
        if first is None
        else f"{'passed' if first.passed else 'refused'}, {first.seconds:.0f} s",
        later[-1].trigger if later else "no retrain",
        f"{place}, {verdict}, {later[-1].seconds:.0f} s" if later else "",
        f"took over in {log.swaps[-1].order_to_ack_ms:.0f} ms" if has_swapped(log) else "",
        live,
    )
