"""Print the status of a daemon: a few facts for each slot, folded to the width of a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from daemon.core.terminal.console import EscapingConsole
from daemon.core.terminal.folding import folded, one_line
from daemon.core.times import utc
from daemon.mqtt.messages import BotState, SlotState, TradesState
from daemon.trade_files.trade_counts import described
from daemon.web.data import headlines, needs
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

Facts = Iterator[tuple[str, str]]

_LONG_LAG_MS: Final = 60_000
_NAME_CELLS: Final = 16


def show_status(document: dict[str, Any]) -> None:
    """Print the result of `status`, a few lines for each slot."""
    daemon = document["status"]
    doing = f", {daemon['doing']}" if daemon.get("doing") else ""
    show_text(f"daemon {daemon['state']} {daemon.get('version', '')}".rstrip() + doing)
    if trouble := daemon.get("trouble"):
        show_text(trouble)
    if venue := daemon.get("venue"):
        show_text(_venue_line(venue))
    for name, counts in daemon.get("trades", {}).items():
        show_text(f"trades ({name}) {described(msgspec.convert(counts, TradesState))}")
    for slot, given in sorted(document["slots"].items()):
        try:
            state = msgspec.convert(given, SlotState)
        except msgspec.ValidationError as e:
            show_text(f"{slot}: what is published of it is no state of this version ({e})")
            continue
        show_text(f"{slot}: {_phase(state)}")
        show_facts(_facts(slot, state))
        show_facts(_feed_facts(daemon.get("feed", {}).get(slot)))


def show_text(text: str) -> None:
    """Print a paragraph: folded on a terminal, one line elsewhere."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.print(one_line(text))
        return
    for line in folded(text, console.width):
        console.print(line)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and texts below one another: folded on a terminal, one line each elsewhere."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    for name, text in facts:
        lead = f"  {name:<{_NAME_CELLS - 2}}"
        if not console.is_terminal:
            console.print(one_line(lead + text))
            continue
        for line in folded(text, console.width, lead=lead, indent=max(_NAME_CELLS, len(lead) + 1)):
            console.print(line)


def _venue_line(venue: dict[str, Any]) -> str:
    stream = "connected" if venue["connected"] else "not connected"
    return (
        f"venue {stream}, lost {venue['reconnects']} times; "
        f"{venue['weight_left']} of {venue['weight_per_minute']} weight left in this minute; "
        f"{venue['retries']} calls tried again, {venue['throttled']} of them throttled; "
        f"{venue['clock_jumps']} clock jumps"
        f"{_oddities('; harmless: ', venue.get('oddities'))}"
    )


def _oddities(lead: str, counts: dict[str, int] | None) -> str:
    """List the harmless anomalies of all slots; none from an older daemon."""
    return lead + ", ".join(f"{n} {kind}" for kind, n in counts.items()) if counts else ""


def _feed_facts(feed: dict[str, Any] | None) -> Facts:
    if feed is None:
        return
    names = ("confirmed", "provisional", "filled", "revised", "refused")
    bars = ", ".join(f"{feed[name]} {name}" for name in names)
    newest = feed.get("record_t")
    yield "bars", f"{bars}, {feed['gaps']} lost, since the start"
    yield "of record", "none yet" if newest is None else f"up to the bar of {utc(newest)} UTC"


def _facts(slot: str, state: SlotState) -> Facts:
    earlier = state.trades_before
    before = f"; {earlier} more were opened before this model" if earlier else ""
    rate = "-" if state.win_rate is None else f"{state.win_rate:.1%} of {state.trades}"
    drift = max(state.drift.items(), key=lambda pair: pair[1], default=None)
    yield "model", state.model_id or "none yet"
    if state.trouble:
        yield "trouble", state.trouble
    if state.mismatch:
        yield "features", needs.mismatch_told(state.mismatch)
    if state.labels:
        yield "labels", state.labels
    yield "trained to", f"{age(state.model_age_s)} ago" if state.model_id else "-"
    yield "win rate", rate + before
    yield from _earning_facts(state.earning)
    yield from _speaking_facts(state.speaking)
    yield "P&L, 7 days", f"{state.pnl_7d:+.2f}"
    yield "highest drift", f"{drift[0]}, {drift[1]:.0%} of the alarm" if drift else "-"
    yield "lag", _lag(state.lag_ms)
    yield from _probation_facts(state.probation)
    yield from _refusal_facts(state)
    yield "decision", state.waiting_for or "-"
    if state.may_retrain_ms:  # an older daemon does not say
        yield "next retrain", headlines.next_retrain(state, venue_ms(slot, state))
    for bot in state.bots:
        yield f"bot {bot.bot_id}", bot_told(bot)


def venue_ms(slot: str, state: SlotState) -> int:
    """Return the time of the venue when its newest bar closed, ms UTC; 0 before the first.

    A venue that plays a recording has a time of its own, which only its bars tell.
    """
    try:
        interval_ms = SlotName.parse(slot).interval_ms
    except BadInput:
        return 0
    return 0 if state.last_bar_t is None else state.last_bar_t + interval_ms


def _refusal_facts(state: SlotState) -> Facts:
    """Say what became of the last retrain, if it left no model: which gates refused it, and why."""
    refusal = state.refusal
    if refusal is None:
        return
    by = ", ".join(refusal.refused_by) or "no named gate"
    what = f"refused by {by} ({refusal.model_id})"
    if refusal.error:
        what = f"failed: {refusal.error}"
    yield "last retrain", f"{utc(refusal.at_ms)} UTC, {what}"
    if refusal.detail:
        yield "", refusal.detail
    if not state.may_retrain_ms:
        may = f"the next may start at {utc(refusal.next_ms)} UTC, a forced one at any time"
        yield "", may


def bot_told(bot: BotState) -> str:
    """Say what a bot does; `doctor` says what to do."""
    if not bot.online:
        return "is gone"
    said = [bot.model_id or "no model yet"]
    if bot.waiting_for:
        said.append(f"waits: {bot.waiting_for}")
    if since_ms := bot.silent_since_ms:
        said.append(f"no prediction since {utc(since_ms)} UTC")
    return "; ".join(said)


def _earning_facts(earning: dict[str, Any]) -> Facts:
    """Say what signals and trades earn under this model, and since the start if that is more."""
    for source, records in earning.items():
        model, every = records["of_model"], records["since_start"]
        yield "earns", _earned(source, model)
        if every["count"] > model["count"]:
            yield "", f"{_earned(source, every)}, since the start"


def _speaking_facts(speaking: dict[str, Any]) -> Facts:
    """Say how often the live model gives a signal, and how often its rule was made for."""
    share, expected = speaking.get("share"), speaking.get("expected")
    if share is None or expected is None:
        return
    often = "; more than it was made for" if speaking["too_often"] else ""
    yield "speaks", f"on {share:.1%} of {speaking['bars']} bars, expected {expected:.1%}{often}"


def _earned(source: str, record: dict[str, Any]) -> str:
    if record["mean_bp"] is None:
        return f"no {source} of this model yet"
    mean = f"{record['mean_bp']:+.1f} bp a {source[:-1]} after costs"
    on = f"on {record['count']} {source}: {record['verdict']}"
    if record["low_bp"] is None:
        return f"{mean} {on}"
    return f"{mean}, 95 % {record['low_bp']:+.1f} to {record['high_bp']:+.1f} {on}"


def _lag(lag_ms: int | None) -> str:
    if lag_ms is None:
        return "-"
    if lag_ms < _LONG_LAG_MS:
        return f"{lag_ms} ms from a bar's close to its score"
    return f"{age(lag_ms // 1000)}: so late is the newest bar, or the next one by now"


def _probation_facts(probation: dict[str, Any] | None) -> Facts:
    """Compare the new model with the previous one, with the estimate if no outcome is known."""
    if probation is None:
        return
    if "excess" in probation:
        known = f"{probation['excess']:+.3f} nats against the previous model"
        if "excess_low" in probation:
            known += f", 95 % {probation['excess_low']:+.3f} to {probation['excess_high']:+.3f},"
        text = f"{known} over {probation['pairs']:.0f} pairs, evidence {probation['evidence']:.1f}"
        yield "probation", f"{text} : 1 that it is worse"
        return
    right, ours = probation["excess_if_previous_right"], probation["excess_if_new_right"]
    text = f"{right:+.3f} nats a bar if the previous model is right, {ours:+.3f} if the new one is"
    yield "probation", f"{text}; no outcome is known yet"


def _phase(state: SlotState) -> str:
    job = state.retrain
    if job is None:
        asked = state.challenge
        return f"{state.phase}, {asked.said}" if asked else state.phase
    return job.said if job.waits else f"{state.phase} {job.said}"


def age(seconds: int | None) -> str:
    """Return an age in words, such as `3 d 4 h`."""
    if seconds is None:
        return "-"
    days, rest = divmod(seconds, 86_400)
    return f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
