"""Decide how much a slot and the daemon need their owner, and say what is to be done.

The rules stand in `SLOT_RULES` and `DAEMON_RULES`, and nowhere else. Every rule that applies gives
one sentence, and the most urgent one gives the urgency:

* `act`: somebody must do something, or a model is missing, wrong or loses money.
* `look`: nothing is broken, and the owner should know.
* `busy`: hyperdrift works on it and needs nobody.
* `ok`: the live model serves.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from daemon.core.times import utc
from daemon.journal.said import listed, plural, sentence
from daemon.market_data.silence import age, limit_ms
from daemon.mqtt.messages import BotState, DaemonStatus, FeatureMismatch, SlotState
from daemon.trade_files.trade_counts import described
from daemon.web.views import Urgency
from hyperdrift.slot_name import SlotName
from monitor.events import CLEAN_BARS
from monitor.phases import Phase

IN_A_ROW: Final = 3
"""Candidates refused one after the other, of which the owner should know."""

_NAMED: Final = 3  # bots of many
_ORDER: Final[tuple[Urgency, ...]] = ("ok", "busy", "look", "act")
_AT_REST: Final = (Phase.SERVING, Phase.PAUSED)


class SlotFacts(NamedTuple):
    """What the rules judge a slot by; `now_ms` is the venue's time."""

    slot: SlotName
    state: SlotState
    now_ms: int


class DaemonFacts(NamedTuple):
    """What the rules judge the daemon by; `broker` says why there is no broker, "" if there is."""

    status: DaemonStatus
    broker: str


class SlotRule(NamedTuple):
    """One rule: `find` returns what is to be done in words, "" if the rule does not apply."""

    name: str
    urgency: Urgency
    find: Callable[[SlotFacts], str]


class DaemonRule(NamedTuple):
    """The same for the daemon."""

    name: str
    urgency: Urgency
    find: Callable[[DaemonFacts], str]


class Needs(NamedTuple):
    """How much the owner is needed, and what is to be done; empty if nothing."""

    urgency: Urgency
    text: str


def of_slot(facts: SlotFacts) -> Needs:
    """Return what a slot needs."""
    found = [(rule.urgency, rule.find(facts)) for rule in SLOT_RULES]
    return _needs(found, "ok" if facts.state.phase in _AT_REST else "busy")


def of_daemon(facts: DaemonFacts) -> Needs:
    """Return what needs the owner and concerns all slots."""
    found = [(rule.urgency, rule.find(facts)) for rule in DAEMON_RULES]
    return _needs(found, "busy" if facts.status.doing else "ok")


def most_urgent(urgencies: Iterable[Urgency]) -> Urgency:
    """Return the greatest urgency; `ok` if there is none."""
    return max(urgencies, key=_ORDER.index, default="ok")


def rank(urgency: Urgency) -> int:
    """Return 0 for the most urgent, and more for the others."""
    return len(_ORDER) - 1 - _ORDER.index(urgency)


def _needs(found: list[tuple[Urgency, str]], at_least: Urgency) -> Needs:
    said = [(urgency, sentence(text)) for urgency, text in found if text]
    said.sort(key=lambda one: rank(one[0]))
    urgency = most_urgent([at_least, *(urgency for urgency, _ in said)])
    return Needs(urgency, " ".join(text for _, text in said))


# The rules of a slot.


def _trouble(facts: SlotFacts) -> str:
    return facts.state.trouble


def _mismatch(facts: SlotFacts) -> str:
    return mismatch_told(facts.state.mismatch)


def mismatch_told(differs: FeatureMismatch | None) -> str:
    """Return how a bot's features differ from the daemon's, and what to do; "" if they agree."""
    if differs is None:
        return ""
    more = f" and {plural(differs.others, 'more column')}" if differs.others else ""
    return (
        f"the bot's features are not the daemon's: {differs.column}{more} of the bar of "
        f"{utc(differs.t)} UTC; make its formulas those of the daemon: nothing is deployed until "
        f"{CLEAN_BARS} bars in a row agree or none came for a day"
    )


def _unservable(facts: SlotFacts) -> str:
    return "" if facts.state.mismatch else facts.state.objection


def _bots(facts: SlotFacts, applies: Callable[[BotState], object]) -> list[BotState]:
    return [bot for bot in facts.state.bots if bot.online and applies(bot)]


def _who(bots: list[BotState]) -> str:
    names, more = [bot.bot_id or "(unnamed)" for bot in bots[:_NAMED]], len(bots) - _NAMED
    return f"bot{'s' * (len(bots) > 1)} {listed([*names, f'{more} more'] if more > 0 else names)}"


def _refusing_bot(facts: SlotFacts) -> str:
    bots = _bots(facts, lambda bot: bot.answer == "refused")
    if not bots:
        return ""
    return f"{_who(bots)} refused the version that was ordered: {_logs(bots, 'why')}"


def _waiting_bot(facts: SlotFacts) -> str:
    bots = _bots(facts, lambda bot: bot.waiting_for)
    if not bots:
        return ""
    return f"{_who(bots)} cannot load the version that was ordered yet: {bots[0].waiting_for}"


def _silent_bot(facts: SlotFacts) -> str:
    bots = _bots(facts, lambda bot: bot.silent_since_ms)
    if not bots:
        return ""
    since = utc(min(bot.silent_since_ms or 0 for bot in bots))
    what = "is online and has" if len(bots) == 1 else "are online and have"
    again = f"{_logs(bots, 'whether it hangs')}, and restart it"
    return f"{_who(bots)} {what} published no prediction since {since} UTC: {again}"


def _logs(bots: list[BotState], what: str) -> str:
    return f"see in its log {what}" if len(bots) == 1 else f"see in the log of each {what}"


def _no_model(facts: SlotFacts) -> str:
    state, refusal = facts.state, facts.state.refusal
    if state.model_id is not None or refusal is None or state.retrain is not None:
        return ""
    if refusal.error:
        return f"there is no model, because the retrain failed: {refusal.error}"
    return (
        f"there is no model, because {_refused_by(facts)} refused the last candidate: "
        f"{_labels(facts)} shows which horizon or threshold fits its bars"
    )


def _failed(facts: SlotFacts) -> str:
    refusal = facts.state.refusal
    if facts.state.model_id is None or refusal is None or not refusal.error:
        return ""
    return f"the last retrain failed and changed nothing: {refusal.error}"


def _refused_again(facts: SlotFacts) -> str:
    refusal = facts.state.refusal
    if facts.state.model_id is None or refusal is None or refusal.in_a_row < IN_A_ROW:
        return ""
    return (
        f"{refusal.in_a_row} candidates in a row were refused, the last one by "
        f"{_refused_by(facts)}: its report says why, and {_labels(facts)} shows other "
        "horizons and thresholds"
    )


def _labels(facts: SlotFacts) -> str:
    return f"`hyperdrift labels --coin {facts.slot.coin} --interval {facts.slot.interval}`"


def _refused_by(facts: SlotFacts) -> str:
    refusal = facts.state.refusal
    gates = list(refusal.refused_by) if refusal else []
    return f"the gate{'s' * (len(gates) > 1)} {listed(gates)}" if gates else "no named gate"


def _loses(facts: SlotFacts) -> str:
    losing = [
        source
        for source, records in facts.state.earning.items()
        if records.get("of_model", {}).get("verdict") == "loses"
    ]
    if not losing:
        return ""
    return (
        f"the {listed(sorted(losing))} of the live model lose money after costs: let the bot trade "
        "less or not at all until a new model is live, or roll back to the one before"
    )


def _late(facts: SlotFacts) -> str:
    state = facts.state
    if state.trouble or state.lag_ms is None or state.lag_ms <= limit_ms(facts.slot):
        return ""
    return f"the next bar is {age(state.lag_ms)} late: the page of the feed shows what comes"


def _bots_gone(facts: SlotFacts) -> str:
    bots = facts.state.bots
    if not bots or any(bot.online for bot in bots):
        return ""
    return f"bot {bots[0].bot_id or '(unnamed)'} is gone, and no other one is there: start it"


def _paused(facts: SlotFacts) -> str:
    if facts.state.phase != Phase.PAUSED:
        return ""
    return "it is paused: resume it to let retrains and deploys go on by themselves"


SLOT_RULES: Final = (
    SlotRule("trouble of its model or its market data", "act", _trouble),
    SlotRule("features of a bot differ", "act", _mismatch),
    SlotRule("a bot cannot load what a retrain saves", "act", _unservable),
    SlotRule("a bot refuses the live version", "act", _refusing_bot),
    SlotRule("a bot cannot load the live version yet", "act", _waiting_bot),
    SlotRule("a bot is online and silent", "act", _silent_bot),
    SlotRule("no model, and the last retrain left none", "act", _no_model),
    SlotRule("the live model surely loses", "act", _loses),
    SlotRule("the last retrain failed", "look", _failed),
    SlotRule("three candidates or more refused in a row", "look", _refused_again),
    SlotRule("no bar for long", "look", _late),
    SlotRule("every bot is gone", "look", _bots_gone),
    SlotRule("paused", "look", _paused),
)


# The rules of the daemon.


def _daemon_trouble(facts: DaemonFacts) -> str:
    return facts.status.trouble


def _no_broker(facts: DaemonFacts) -> str:
    why = "" if facts.status.doing else facts.broker  # a start connects it
    return why and f"there is no broker, so no bot hears of a new model: {why}"


def _no_venue(facts: DaemonFacts) -> str:
    venue = facts.status.venue
    if venue is None or venue.connected:
        return ""
    return "the venue's stream is away; it is connected again as soon as the venue answers"


def _trade_file(facts: DaemonFacts) -> str:
    found = [trades.trouble for trades in facts.status.trades.values() if trades.trouble]
    return f"the bot's trades cannot be read: {'; '.join(found)}" if found else ""


def _bad_trades(facts: DaemonFacts) -> str:
    bad = [described(trades) for trades in facts.status.trades.values() if trades.bad]
    return f"some of the bot's trades cannot be counted: {'; '.join(bad)}" if bad else ""


DAEMON_RULES: Final = (
    DaemonRule("trouble of the disk, or another daemon", "act", _daemon_trouble),
    DaemonRule("no broker", "act", _no_broker),
    DaemonRule("the file of trades cannot be read", "act", _trade_file),
    DaemonRule("the venue is away", "look", _no_venue),
    DaemonRule("trades that cannot be counted", "look", _bad_trades),
)
