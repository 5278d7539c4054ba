"""Show the status of a running daemon, and send it commands."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from daemon.admin import local_daemon, remote_client
from daemon.config.loader import broker_address, operator_login
from daemon.config.schema import Config
from daemon.core.errors import NoAnswer
from daemon.core.terminal.console import EscapingConsole
from daemon.core.times import utc
from daemon.mqtt.messages import CommandName, CommandReply, SlotState, TradesState
from daemon.registry.keys import command_signer
from daemon.trade_files.trade_counts import described
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

_LONG_LAG_MS: Final = 60_000


async def status(config: Config, clock: Clock) -> dict[str, Any]:
    """Return the last published status of the daemon and its slots.

    Raises:
        BrokerUnreachable: If there is no broker.
    """
    topics = Topics(config.mqtt.prefix)
    with _explained(config, broker=True):
        async with remote_client.connected(
            broker_address(config.mqtt), clock, operator_login(config)
        ) as bus:
            document = await remote_client.status(bus, topics, clock)
    if why := _why_stale(config, document["status"]):
        document["status"] = {**document["status"], "trouble": why}
    return document


@contextlib.contextmanager
def _explained(config: Config, *, broker: bool = False) -> Iterator[None]:
    """Say instead of "no answer" what the daemon of this host does, if that is known.

    With `broker` it is the broker that does not answer: only an embedded one is the daemon's.
    """
    try:
        yield
    except NoAnswer as e:
        ours = not broker or config.mqtt.broker == "embedded"
        if ours and (why := local_daemon.silence(config)):
            raise NoAnswer(why) from e
        raise


def _why_stale(config: Config, status: dict[str, Any]) -> str:
    """Return why a retained status is not what the daemon does now; "" if it may be."""
    if status["state"] == "online":
        return local_daemon.stopped(config)
    return local_daemon.silence(config)


def show_status(document: dict[str, Any]) -> None:
    """Print the result of `status`, a few lines for each slot."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    daemon = document["status"]
    doing = f", {daemon['doing']}" if daemon.get("doing") else ""
    console.print(f"daemon {daemon['state']} {daemon.get('version', '')}".rstrip() + doing)
    if trouble := daemon.get("trouble"):
        console.print(trouble)
    if venue := daemon.get("venue"):
        console.print(_venue_line(venue))
    for name, counts in daemon.get("trades", {}).items():
        console.print(f"trades ({name}) {described(msgspec.convert(counts, TradesState))}")
    for slot, given in sorted(document["slots"].items()):
        try:
            state = msgspec.to_builtins(msgspec.convert(given, SlotState))
        except msgspec.ValidationError as e:
            console.print(f"{slot}: what is published of it is no state of this version ({e})")
            continue
        console.print(f"{slot}: {_phase(state)}")
        for name, text in (*_facts(state), *_feed_facts(daemon.get("feed", {}).get(slot))):
            console.print(f"  {name:<14}{text}")


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


def _feed_facts(feed: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    if feed is None:
        return ()
    names = ("confirmed", "provisional", "filled", "revised", "refused")
    bars = ", ".join(f"{feed[name]} {name}" for name in names)
    newest = feed.get("record_t")
    return (
        ("bars", f"{bars}, {feed['gaps']} lost, since the start"),
        ("of record", "none yet" if newest is None else f"up to the bar of {utc(newest)} UTC"),
    )


def _facts(state: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    rate, lag = state["win_rate"], state["lag_ms"]
    earlier = state.get("trades_before")
    before = f"; {earlier} more were opened before this model" if earlier else ""
    drift = max(state["drift"].items(), key=lambda pair: pair[1], default=None)
    return (
        ("model", state["model_id"] or "none yet"),
        *((("trouble", state["trouble"]),) if state.get("trouble") else ()),
        *((("labels", state["labels"]),) if state.get("labels") else ()),
        ("trained to", f"{_age(state['model_age_s'])} ago" if state["model_id"] else "-"),
        ("win rate", ("-" if rate is None else f"{rate:.1%} of {state['trades']}") + before),
        *_earning_facts(state.get("earning") or {}),
        ("P&L, 7 days", f"{state['pnl_7d']:+.2f}"),
        ("highest drift", f"{drift[0]}, {drift[1]:.0%} of the alarm" if drift else "-"),
        ("lag", _lag(lag)),
        *_probation_facts(state["probation"]),
        *_refusal_facts(state.get("refusal")),
        ("decision", state["waiting_for"] or "-"),
        *((f"bot {bot['bot_id']}", _bot(bot)) for bot in state.get("bots", ())),
    )


def _refusal_facts(refusal: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Say what became of the last retrain, if it left no model."""
    if refusal is None:
        return ()
    by = ", ".join(refusal["refused_by"]) or "no named gate"
    what = f"refused by {by} ({refusal['model_id']})"
    if refusal["error"]:
        what = f"failed: {refusal['error']}"
    return (
        ("last retrain", f"{utc(refusal['at_ms'])} UTC, {what}"),
        ("", f"the next may start at {utc(refusal['next_ms'])} UTC, a forced one at any time"),
    )


def _bot(bot: dict[str, Any]) -> str:
    """Say what a bot does; `doctor` says what to do."""
    if not bot["online"]:
        return "is gone"
    said = [bot["model_id"] or "no model yet"]
    if bot["waiting_for"]:
        said.append(f"waits: {bot['waiting_for']}")
    if since_ms := bot["silent_since_ms"]:
        said.append(f"no prediction since {utc(since_ms)} UTC")
    return "; ".join(said)


def _earning_facts(earning: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Say what signals and trades earn under this model, and since the start if that is more."""
    lines = []
    for source, records in earning.items():
        model, every = records["of_model"], records["since_start"]
        lines.append(("earns", _earned(source, model)))
        if every["count"] > model["count"]:
            lines.append(("", f"{_earned(source, every)}, since the start"))
    return tuple(lines)


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
    return f"{_age(lag_ms // 1000)}: so late is the newest bar, or the next one by now"


def _probation_facts(probation: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Compare the new model with the previous one, with the estimate if no outcome is known."""
    if probation is None:
        return ()
    if "excess" in probation:
        known = f"{probation['excess']:+.3f} nats against the previous model"
        if "excess_low" in probation:
            known += f", 95 % {probation['excess_low']:+.3f} to {probation['excess_high']:+.3f},"
        text = f"{known} over {probation['pairs']:.0f} pairs, evidence {probation['evidence']:.1f}"
        return (("probation", f"{text} : 1 that it is worse"),)
    right, ours = probation["excess_if_previous_right"], probation["excess_if_new_right"]
    text = f"{right:+.3f} nats a bar if the previous model is right, {ours:+.3f} if the new one is"
    return (("probation", f"{text}; no outcome is known yet"),)


async def command(
    config: Config,
    clock: Clock,
    name: str,
    slot: str,
    *,
    reason: str,
    model_id: str,
    by: str,
    key: Path | None = None,
) -> CommandReply:
    """Send a command and return the daemon's reply.

    It is signed with the private key in `key`, or with the daemon's own if it is readable.

    Raises:
        BadInput: If there is no such command or the slot is misspelt.
        BrokerUnreachable: If the broker refuses.
        NoAnswer: If there is no broker, or no daemon that answers; says why if that is known.
    """
    try:
        wanted: CommandName = msgspec.convert(name, CommandName)
    except msgspec.ValidationError as e:
        known = ", ".join(get_args(CommandName))
        raise BadInput(f"command {name!r} is not one of {known}") from e
    topics, target = Topics(config.mqtt.prefix), SlotName.parse(slot)
    if why := local_daemon.stopped(config):
        raise NoAnswer(why)
    signer = command_signer(config, key)
    with _explained(config, broker=True):
        async with remote_client.connected(
            broker_address(config.mqtt), clock, operator_login(config)
        ) as bus:
            with _explained(config):
                return await remote_client.command(
                    bus,
                    topics,
                    target,
                    wanted,
                    clock=clock,
                    reason=reason,
                    model_id=model_id,
                    by=by,
                    signer=signer,
                )


def _phase(state: dict[str, Any]) -> str:
    job = state["retrain"]
    return f"{state['phase']} {job['step']} {job['percent']:.0f} %" if job else str(state["phase"])


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    days, rest = divmod(seconds, 86_400)
    return f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
