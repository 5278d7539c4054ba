"""Sentences for what is told: the kinds that are published, and those of the journal alone."""

from collections.abc import Callable
from typing import Final

from daemon.journal.of_events import judged, live
from daemon.journal.said import Fields, Said, listed, of_model, plural, without_jobs
from daemon.store import journal_kinds

_ASPECTS: Final = {
    ("level", "up"): "the level of {} has risen",
    ("level", "down"): "the level of {} has fallen",
    ("scale", "up"): "{} swings more than before",
    ("scale", "down"): "{} swings less than before",
    ("returns", "up"): "returns swing more than before, as {} shows",
    ("returns", "down"): "returns swing less than before, as {} shows",
    ("relation", "up"): "{}'s relation to the other features has changed",
    ("relation", "down"): "{}'s relation to the other features has changed",
}
_MOVES: Final = {
    "deploy": "was put live",
    "promote": "was put live by hand",
    "rollback": "was put live again",
}


def _own(of: Fields) -> Said:
    """Take the text of the entry as it is."""
    return Said(of.text("text"))


def _warned(of: Fields) -> Said:
    return Said(of.text("text"), "warning")


def _critical(of: Fields) -> Said:
    return Said(of.text("text"), "critical")


def _drift(of: Fields) -> Said:
    score = of.number("score")
    if not of.text("name") or score is None:
        return _warned(of)
    aspect = (of.text("aspect"), of.text("direction"))
    what = _ASPECTS.get(aspect, "{} has changed").replace("{}", of.text("name"))
    since = f" since {of.time('since_t')}" if of.time("since_t") else ""
    return Said(f"{what}{since}: the evidence is {score:.1f} x the alarm line", "warning")


def _decision(of: Fields) -> Said:
    text = without_jobs(of.text("text"))
    if of.flag("start"):
        return Said(f"a retrain is due: {text.removeprefix('retrain: ')}")
    if of.text("model_id"):
        return Said(text)
    why = text.removeprefix("wait: ")
    trigger, *evidence = of.names("evidence") or ("",)
    although = f", although there is evidence ({evidence[0]})" if evidence else ""
    if trigger == "drift" and evidence:
        although = f", although there is {evidence[0]}"
    return Said(f"no new retrain for now{although}: {why}")


def _challenge(of: Fields) -> Said:
    return Said(f"a quick test says: {of.text('text')}")


def _retrain_started(of: Fields) -> Said:
    reason = of.text("text").partition(" started: ")[2]
    return Said(f"a retrain began: {reason}" if reason else "a retrain began")


def _retrain_finished(of: Fields) -> Said:
    model_id, refused_by = of.text("model_id"), of.names("refused_by")
    detail = of.text("text").partition(": ")[2]
    return judged(model_id, refused_by, detail, passed=of.flag("passed"))


def _verdict(of: Fields) -> Said:
    passed = of.flag("passed")
    outcome = "passed every gate" if passed else "was refused by the gates"
    seconds = of.number("seconds")
    took = "" if seconds is None else f", {seconds:.0f} s after its retrain began"
    return Said(f"the candidate {of.text('model_id')} {outcome}{took}")


def _swapped(of: Fields) -> Said:
    return live(of, of.text("text").partition(" is live: ")[2], back=False)


def _rolled_back(of: Fields) -> Said:
    return live(of, of.text("text").partition(" is live: ")[2], back=True)


def _confirmed(of: Fields) -> Said:
    pairs = of.number("pairs")
    compared = "" if pairs is None else f" in {plural(int(pairs), 'comparison')}"
    return Said(
        f"model {of.text('model_id')} stays: its probation is over, and nothing showed it to be "
        f"worse than the one before{compared}"
    )


def _earning(of: Fields) -> Said:
    mean, low, high = (of.number(name) for name in ("mean_bp", "low_bp", "high_bp"))
    if mean is None:
        return _own(of)
    loses = of.text("verdict") == "loses"
    whose = "the bot's trades" if of.text("source") == "trades" else "the live model's signals"
    sure = "" if low is None else f", 95 % certain between {low:+.1f} and {high:+.1f}"
    count = f", {plural(int(of.number('count') or 0), 'outcome')}"
    text = f"{whose} {'lose' if loses else 'earn'} money: {mean:+.1f} bp each after costs"
    return Said(f"{text}{sure}{count}", "warning" if loses else "info")


def _win_rate(of: Fields) -> Said:
    text = of.text("text")
    if of.text("source") == "signals":
        text = f"of the model's signals, {text.removeprefix('signals: ')}"
        return Said(text, "warning")
    return Said(text.removeprefix("trades: "), "warning")


def _feed_fault(of: Fields) -> Said:
    feature, since = of.text("feature"), of.time("since_t")
    if not feature:
        return _warned(of)
    what = "has not changed" if of.text("fault") == "frozen" else "has had no value"
    return Said(f"{feature} {what} since {since}; look at the feed, not at the model", "warning")


def _paused(of: Fields) -> Said:
    return Said(f"an operator paused the slot{_why(of)}; {of.text('text')}", "warning")


def _resumed(of: Fields) -> Said:
    return Said(f"{of.text('text')}: an operator resumed the slot{_why(of)}")


def _why(of: Fields) -> str:
    return f" ({of.text('reason')})" if of.text("reason") else ""


def _alert(of: Fields) -> Said:
    given = of.text("severity", "critical")
    return Said(of.text("text"), given if given in {"info", "warning", "critical"} else "critical")


def _trouble_over(of: Fields) -> Said:
    return Said(f"this is over: {of.text('text')}")


def _acknowledged(of: Fields) -> Said:
    took = of.number("order_to_ack_ms")
    after = "" if took is None else f" {took:,.0f} ms after the order"
    if of.text("status") == "loaded":
        return Said(f"{of.bot()} took over model {of.text('model_id')}{after}")
    return _critical(of)


def _command_answered(of: Fields) -> Said:
    accepted = of.flag("accepted")
    answer = "accepted" if accepted else "declined"
    text = f"a command was {answer}: {without_jobs(of.text('detail'))}"
    return Said(text, "info" if accepted else "warning")


def _pointer_moved(of: Fields) -> Said:
    action = _MOVES.get(of.text("action"), "was put live")
    by = f" by {of.text('by')}" if of.text("by") not in {"", "operator"} else ""
    previous = of.text("previous_id")
    instead = f" in place of {previous}" if previous else ""
    why = of_model(of.text("reason"))
    return Said(f"model {of.text('model_id')} {action}{by}{instead}" + (f": {why}" if why else ""))


def _versions_pruned(of: Fields) -> Said:
    removed, by = of.names("removed"), of.text("by")
    text = f"{plural(len(removed), 'old model')} {'was' if len(removed) == 1 else 'were'} removed"
    return Said(text + (f" by {by}" if by else "") + (f": {listed(removed)}" if removed else ""))


def _pruned(of: Fields) -> Said:
    scores, entries = sum(of.counts("scores").values()), int(of.number("entries") or 0)
    return Said(
        f"the daily cleaning removed {plural(scores, 'old score')} of bars and "
        f"{plural(entries, 'old entry', 'old entries')} of the journal"
    )


def _stopped(_: Fields) -> Said:
    return Said("hyperdrift was told to stop during a retrain, which begins again after its start")


def _trade_header(of: Fields) -> Said:
    return Said(f"the columns of the file of trades were noted: {listed(of.names('names'))}")


SENTENCES: Final[dict[str, Callable[[Fields], Said]]] = {
    "acknowledged": _acknowledged,
    "alert": _alert,
    "bot_servable": _own,
    "bot_silent": _warned,
    "bot_speaks": _own,
    "bot_unservable": _warned,
    "challenge": _challenge,
    "confirmed": _confirmed,
    "decision": _decision,
    "drift": _drift,
    "earning": _earning,
    "features_agree": _own,
    "features_differ": _warned,
    "features_unknown": _own,
    "feed_fault": _feed_fault,
    "gap": _critical,
    "hole_closing": _critical,
    "market_drift": _warned,
    "paused": _paused,
    "resumed": _resumed,
    "retrain_failed": _warned,
    "retrain_finished": _retrain_finished,
    "retrain_late": _warned,
    "retrain_started": _retrain_started,
    "retrain_stopped": _own,
    "rolled_back": _rolled_back,
    "slots_changed": _own,
    "speaks_often": _warned,
    "swap_refused": _critical,
    "swapped": _swapped,
    "trouble_over": _trouble_over,
    "verdict": _verdict,
    "win_rate": _win_rate,
    journal_kinds.COMMAND_ANSWERED: _command_answered,
    journal_kinds.POINTER_MOVED: _pointer_moved,
    journal_kinds.VERSIONS_PRUNED: _versions_pruned,
    journal_kinds.ENTRIES_PRUNED: _pruned,
    journal_kinds.STOPPED_IN_RETRAIN: _stopped,
    journal_kinds.TRADE_HEADER: _trade_header,
}
