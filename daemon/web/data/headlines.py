"""Say in one sentence each what a slot does and why, what it earns, and when it retrains next."""

from typing import Any, Final

from daemon.core.times import utc
from daemon.journal.of_events import PROMOTED
from daemon.journal.said import listed, plural, sentence, without_jobs
from daemon.market_data.silence import age
from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.mqtt.retrain_messages import ordinal
from daemon.web.views import SlotSummary, Urgency
from monitor.earning import LEAST
from monitor.phases import Phase

_DRIFT: Final = "drift of "
_NAMED: Final = 3
_TRAINS: Final = (Phase.RETRAINING, Phase.JUDGING)


def doing(state: SlotState) -> str:
    """Return what a slot does and why."""
    why = short_reason(state.waiting_for.removeprefix("wait: ").removeprefix("retrain: "))
    match state.phase:
        case Phase.COLLECTING:
            return sentence(f"no model yet; {why or 'it collects bars'}")
        case Phase.RETRAINING | Phase.JUDGING:
            return sentence(_training(state))
        case Phase.SWAPPING:
            return "It puts another model live."
        case Phase.PAUSED:
            return "It is paused by an operator: no retrain and no deploy starts by itself."
        case Phase.PROBATION:
            return sentence(_probation(state))
        case Phase.SERVING if state.challenge and state.challenge.waits:
            asked = state.challenge
            return sentence(f"the live model serves; {short_reason(asked.reason)}: it {asked.said}")
        case Phase.SERVING:
            return sentence(f"the live model serves; {why}" if why else "the live model serves")
    return sentence(f"it is {state.phase}")


def _training(state: SlotState) -> str:
    what = "it judges a new model" if state.phase == Phase.JUDGING else "it trains a new model"
    if (job := state.retrain) is None:
        return what
    what, far = f"{what} ({job.percent:.0f} % done)", ""
    if job.waits:
        what = "it waits for its turn to train a new model"
        far = f"; it is {ordinal(job.place)} of {job.waiting} in the queue"
    why = f" {because(job.reason)}" if job.reason else ""
    goes_on = "; the live model goes on" if state.model_id else ""
    return f"{what}{why}{far}{goes_on}"


def _probation(state: SlotState) -> str:
    until = f" until {utc(state.probation_ends_ms)} UTC" if state.probation_ends_ms else ""
    why = because(state.live_reason) if state.live_reason else "just now"
    text = f"the live model was put live {why}, and is on probation{until}: the one before scores "
    text += "beside it"
    evidence = (state.probation or {}).get("evidence")
    if evidence is None:
        return text
    return f"{text}, and the evidence that it is worse is {evidence:.1f} : 1 (20 : 1 rolls back)"


def earning(state: SlotState) -> str:
    """Return whether the live model earns, by the trades once there are enough of them."""
    of_model = {source: found["of_model"] for source, found in state.earning.items()}
    trades, signals = of_model.get("trades"), of_model.get("signals")
    if trades and (trades["low_bp"] is not None or not signals):
        return _earned("trade", trades)
    return _earned("signal", signals) if signals else "Not known: no signal has an outcome yet."


def _earned(one: str, record: dict[str, Any]) -> str:
    mean, low, high = record["mean_bp"], record["low_bp"], record["high_bp"]
    count = plural(record["count"], one)
    if mean is None:
        return f"Not known: no {one} of the live model has an outcome yet."
    if low is None or high is None:
        so_far = f"{count} so far, {mean:+.1f} bp each after costs"
        return f"Too early to say: {so_far}, and {LEAST} are needed."
    figures = f"{mean:+.1f} bp a {one} after costs, 95 % certain {low:+.1f} to {high:+.1f}, {count}"
    verdict = {"shown": "It earns", "loses": "It loses"}.get(record["verdict"], "Not shown to earn")
    return f"{verdict}: {figures}."


def next_retrain(state: SlotState, now_ms: int) -> str:
    """Return when the next retrain may start and what would cause it.

    Args:
        state: The state of the slot.
        now_ms: The time of the venue.
    """
    if state.phase in _TRAINS:
        return "One waits for its turn." if _waits(state) else "One is running."
    forced = "you can ask for one at any time"
    if state.phase == Phase.PAUSED:
        return f"None starts by itself while the slot is paused; {forced}."
    if not state.causes:
        return f"None starts by itself, by the configuration; {forced}."
    *most, last = state.causes
    causes = f"{', '.join(most)} or {last}" if most else last
    when = "At any time"
    if state.may_retrain_ms > now_ms:
        after = age(state.may_retrain_ms - now_ms)
        when = f"Not before {utc(state.may_retrain_ms)} UTC ({after} from now)"
    return f"{when}, if there is a cause: {causes}. Apart from that {forced}."


def of_daemon(status: DaemonStatus, urgency: Urgency, slots: tuple[SlotSummary, ...]) -> str:
    """Return whether the daemon lives and what matters most.

    Args:
        status: The daemon's status.
        urgency: What needs the owner and concerns all slots.
        slots: The slots, the most urgent first.
    """
    if status.doing:
        return sentence(f"it is {status.doing}")
    acts = [one.slot for one in slots if one.urgency == "act"]
    looks = [one.slot for one in slots if one.urgency == "look"]
    if urgency == "act":
        return "It runs, and needs you for all its slots."
    if acts:
        return f"It runs, and {few(acts)} {_need(acts)} you."
    if looks:
        return f"It runs; have a look at {few(looks)}."
    if urgency == "look":
        return "It runs; something that concerns all slots is worth a look."
    return f"It runs: {_counted(slots)}, and nothing needs you."


def because(reason: str) -> str:
    """Return why a version was trained or put live, for the end of a sentence."""
    if reason.startswith(PROMOTED):
        return f"because an operator promoted it ({reason.removeprefix(PROMOTED)})"
    why = short_reason(reason.removeprefix("trades: ").removeprefix("signals: "))
    return f"because of {why}" if drifted(reason) else f"because {why}"


def short_reason(reason: str) -> str:
    """Return why a retrain is due, with at most three of the features that drifted."""
    what, end, question = reason.partition("; ")
    names = drifted(what)
    return f"{_DRIFT}{few(names)}{end}{question}" if names else without_jobs(reason)


def drifted(reason: str) -> list[str]:
    """Return the features whose drift is the reason for a retrain; none if it has another."""
    drift, names = reason[: len(_DRIFT)], reason[len(_DRIFT) :]
    return names.split(", ") if drift == _DRIFT else []


def few(names: list[str]) -> str:
    """Return `a, b and c`, or `a, b and 7 more`."""
    return listed(names if len(names) <= _NAMED else [*names[:2], f"{len(names) - 2} more"])


def _need(names: list[str]) -> str:
    return "needs" if len(names) == 1 else "need"


def _counted(slots: tuple[SlotSummary, ...]) -> str:
    trains = [one.state for one in slots if one.state.phase in _TRAINS]
    queued = [state for state in trains if _waits(state)]
    none = [one for one in slots if one.state.model_id is None]
    live = len(slots) - len(none)
    counts = [plural(live, "model") + " live" if live else "no model live yet"]
    if none and live:
        counts.append(f"{plural(len(none), 'slot')} without one yet")
    if busy := len(trains) - len(queued):
        counts.append(f"{plural(busy, 'retrain')} under way")
    if queued:
        counts.append(f"{plural(len(queued), 'retrain')} waiting")
    if asked := sum(one.state.challenge is not None for one in slots):
        counts.append(f"{plural(asked, 'quick challenger')} asked")
    return listed(counts)


def _waits(state: SlotState) -> bool:
    return state.retrain is not None and state.retrain.waits
