"""Sentences for what happened: the events that the engine takes."""

from collections.abc import Callable
from typing import Final

from daemon.journal.said import Fields, Said, listed, of_model, plural

_CLASSES: Final = ("DOWN", "NEUTRAL", "UP")
_OPERATOR: Final = "operator"
PROMOTED: Final = "promoted: "
_COMMANDS: Final = {
    "retrain": "a retrain",
    "rollback": "to go back to an earlier model",
    "promote": "to put a model live by hand",
    "pause": "a pause of automatic retrains",
    "resume": "automatic retrains to go on",
}


def _bar_scored(of: Fields) -> Said:
    close = of.number("close")
    bar = f"the bar of {of.time('t')} closed" + ("" if close is None else f" at {close:,.10g}")
    shares = of.shares("p")
    if not shares:
        return Said(f"{bar}; no model scored it")
    said = ", ".join(f"{name} {p:.0%}" for name, p in zip(_CLASSES, shares, strict=True))
    return Said(f"{bar}; the live model gave {said}")


def _model_served(of: Fields) -> Said:
    return live(of, of.text("reason"), back=of.flag("rollback"))


def live(of: Fields, reason: str, *, back: bool) -> Said:
    """Say that a model is live, in place of which, and why.

    Args:
        of: The fields, `model_id` and `previous_id`.
        reason: Why.
        back: Whether it was live before.
    """
    why = of_model(reason, "rollback: ", PROMOTED)
    why = f": {why}" if why else ""
    model_id, previous = of.text("model_id", "(unnamed)"), of.text("previous_id")
    if back:
        return Said(f"the earlier model {model_id} is live again{why}", "warning")
    went = "was put live by hand" if reason.startswith(PROMOTED) else "went live"
    instead = f" in place of {previous}" if previous and previous != model_id else ""
    return Said(f"model {model_id} {went}{instead}{why}")


def _trade_closed(of: Fields) -> Said:
    pnl, notional = of.number("pnl"), of.number("notional")
    side = of.text("side")
    what = f"the bot closed a {side} trade" if side else "the bot closed a trade"
    opened = f" that it opened at {of.time('opened_ms')}" if of.time("opened_ms") else ""
    if pnl is None:
        return Said(what + opened)
    share = f", {pnl / notional:+.2%} of its size" if notional else ""
    word = "profit" if pnl > 0 else "loss" if pnl < 0 else "result"
    return Said(f"{what}{opened}: {word} {pnl:+,.2f}{share}")


def _turn_came(_: Fields) -> Said:
    return Said("the turn of a retrain, or of a quick test, has come")


def _turn_awaited(of: Fields) -> Said:
    return Said(of.text("detail"))


def _judging_began(_: Fields) -> Said:
    return Said("the candidate is trained and is now being judged")


def _challenger_judged(of: Fields) -> Said:
    would = "a retrain may help"
    if of.tells("helps"):
        would = f"a retrain would {'' if of.flag('helps') else 'not '}help"
    if gates := of.names("refused_by"):
        would = f"a retrain would be refused by {listed(gates)}"
    detail = of.text("detail")
    return Said(f"a quick test says that {would}" + (detail and f": {detail}"))


def _retrain_finished(of: Fields) -> Said:
    model_id, detail = of.text("model_id"), of.text("detail")
    return judged(model_id, of.names("refused_by"), detail, passed=of.flag("passed"))


def judged(model_id: str, refused_by: tuple[str, ...], detail: str, *, passed: bool) -> Said:
    """Say what the gates decided about a candidate.

    Args:
        model_id: The candidate.
        refused_by: The gates that refused it.
        detail: The verdicts of these in words.
        passed: Whether it passed every gate.
    """
    if passed:
        return Said(f"the candidate {model_id} passed every gate")
    gates = f" by the gate{'s' * (len(refused_by) > 1)} {listed(refused_by)}" if refused_by else ""
    why = f": {detail}" if detail else ""
    return Said(f"the candidate {model_id} was refused{gates}{why}")


def _retrain_failed(of: Fields) -> Said:
    error = of.text("error", "no reason was given")
    if of.flag("stopped"):
        return Said(f"a retrain was cut short: {error}")
    return Said(f"a retrain failed and changed nothing: {error}", "warning")


def _swap_acked(of: Fields) -> Said:
    if of.flag("loaded"):
        return Said(f"{of.bot()} took over model {of.text('model_id')}")
    error = of.text("error", "it gave no reason")
    return Said(f"{of.bot()} refused model {of.text('model_id')}: {error}", "critical")


def _swap_failed(of: Fields) -> Said:
    model_id = of.text("model_id", "the previous model")
    return Said(f"{model_id} could not be put live: {of.text('error')}", "critical")


def _bot_seen(of: Fields) -> Said:
    if fault := of.text("fault"):
        return Said(f"{of.bot()} cannot use a model made now: {fault}", "warning")
    return Said(f"{of.bot()} is connected" if of.flag("online") else f"{of.bot()} is gone")


def _bot_spoke(of: Fields) -> Said:
    since = of.time("silent_since_ms")
    again = f" again, after a silence since {since}" if since else ""
    return Said(f"{of.bot()} predicts{again}")


def _bot_fell_silent(of: Fields) -> Said:
    bars = of.number("bars")
    long = f", for {plural(int(bars), 'closed bar')}" if bars else ""
    return Said(
        f"{of.bot()} is connected but has made no prediction since {of.time('since_ms')}{long}",
        "warning",
    )


def _features_differed(of: Fields) -> Said:
    theirs, ours, others = of.number("theirs"), of.number("ours"), of.number("others")
    more = f", and {plural(int(others), 'more column')} differ" if others else ""
    return Said(
        f"the bot and hyperdrift computed different features for the bar of {of.time('t')}: "
        f"{of.text('column')} is {_value(theirs)} at the bot and {_value(ours)} here{more}",
        "warning",
    )


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6g}"


def _features_agreed(of: Fields) -> Said:
    return Said(f"the bot and hyperdrift computed equal features for the bar of {of.time('t')}")


def _command_received(of: Fields) -> Said:
    command, by = of.text("command"), of.text("by", _OPERATOR)
    by = "an operator" if by == _OPERATOR else by
    what = _COMMANDS.get(command, f"{command!r}")
    model = f" ({of.text('model_id')})" if of.text("model_id") else ""
    why = f": {of.text('reason')}" if of.text("reason") else ""
    return Said(f"{by} asked for {what}{model}{why}".replace("asked for to ", "asked to "))


def _ticked(_: Fields) -> Said:
    return Said("time passed without a bar")


SENTENCES: Final[dict[str, Callable[[Fields], Said]]] = {
    "BarScored": _bar_scored,
    "ModelServed": _model_served,
    "TradeClosed": _trade_closed,
    "TurnCame": _turn_came,
    "TurnAwaited": _turn_awaited,
    "JudgingBegan": _judging_began,
    "ChallengerJudged": _challenger_judged,
    "RetrainFinished": _retrain_finished,
    "RetrainFailed": _retrain_failed,
    "SwapAcked": _swap_acked,
    "SwapFailed": _swap_failed,
    "BotSeen": _bot_seen,
    "BotSpoke": _bot_spoke,
    "BotFellSilent": _bot_fell_silent,
    "FeaturesDiffered": _features_differed,
    "FeaturesAgreed": _features_agreed,
    "CommandReceived": _command_received,
    "Ticked": _ticked,
}
