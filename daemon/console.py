"""What the command line shows a person of a daemon and its models."""

from typing import Any, get_args

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from daemon import remote
from daemon.bars import SlotName
from daemon.clock import Clock
from daemon.config import broker_password, broker_url
from daemon.errors import BadInput
from daemon.messages import CommandName, CommandReply
from daemon.registry import Registry
from daemon.settings import Config
from daemon.topics import Topics


async def status(config: Config, clock: Clock) -> dict[str, Any]:
    """Return what the daemon and its slots last said of themselves.

    Raises:
        BrokerUnreachable: If there is no broker.
    """
    topics = Topics(config.mqtt.prefix)
    async with remote.connected(
        broker_url(config.mqtt), clock, broker_password(config.mqtt)
    ) as bus:
        return await remote.status(bus, topics, clock)


def show_status(document: dict[str, Any]) -> None:
    """Print the answer of `status`, a few lines a slot."""
    console = Console(highlight=False, soft_wrap=True)
    daemon = document["status"]
    console.print(f"daemon {daemon['state']} {daemon.get('version', '')}".rstrip())
    for slot, state in sorted(document["slots"].items()):
        console.print(f"{slot}: {_phase(state)}")
        for name, text in _facts(state):
            console.print(f"  {name:<14}{text}")


def _facts(state: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    rate, lag = state["win_rate"], state["lag_ms"]
    drift = max(state["drift"].items(), key=lambda pair: pair[1], default=None)
    return (
        ("model", state["model_id"] or "none yet"),
        ("trained to", f"{_age(state['model_age_s'])} ago" if state["model_id"] else "-"),
        ("win rate", "-" if rate is None else f"{rate:.1%} of {state['trades']}"),
        ("highest drift", f"{drift[0]}, {drift[1]:.0%} of the alarm" if drift else "-"),
        ("lag", "-" if lag is None else f"{lag} ms from a bar's close to its score"),
    )


async def command(
    config: Config, clock: Clock, name: str, slot: str, *, reason: str, model_id: str
) -> CommandReply:
    """Send a command and return the daemon's reply.

    Raises:
        BadInput: If there is no such command or the slot is misspelt.
        BrokerUnreachable: If there is no broker, or no daemon that answers.
    """
    try:
        wanted: CommandName = msgspec.convert(name, CommandName)
    except msgspec.ValidationError as e:
        known = ", ".join(get_args(CommandName))
        raise BadInput(f"command {name!r} is not one of {known}") from e
    topics, target = Topics(config.mqtt.prefix), SlotName.parse(slot)
    async with remote.connected(
        broker_url(config.mqtt), clock, broker_password(config.mqtt)
    ) as bus:
        return await remote.command(
            bus, topics, target, wanted, clock=clock, reason=reason, model_id=model_id
        )


def versions(config: Config, slot: str) -> list[dict[str, Any]]:
    """Return every version of a slot, newest first."""
    found = Registry(config.data_dir / "models").versions(SlotName.parse(slot))
    return [
        {
            "model_id": info.model_id,
            "trained_at_utc": info.trained_at_utc,
            "live": info.live,
            "previous": info.previous,
            "passed": info.passed,
            "promoted_by": info.promoted_by,
            "refused_by": list(info.refused_by),
            "test_accuracy": info.test_accuracy,
            "skill": info.skill,
            "problem": info.problem,
        }
        for info in found
    ]


def show_versions(found: list[dict[str, Any]]) -> None:
    """Print the answer of `versions` as a table."""
    table = Table("", Column("model", no_wrap=True), "test accuracy", "skill", "gates", box=SIMPLE)
    for info in found:
        mark = "live" if info["live"] else "previous" if info["previous"] else ""
        verdict = "passed" if info["passed"] else "refused by " + ", ".join(info["refused_by"])
        table.add_row(
            mark,
            info["model_id"],
            "-" if info["test_accuracy"] is None else f"{info['test_accuracy']:.3f}",
            "-" if info["skill"] is None else f"{info['skill']:.4f}",
            info["problem"] or verdict,
        )
    Console().print(table if found else "no versions yet")


def verify(config: Config, slot: str, model_id: str) -> str:
    """Compare a version's files with their digests; return a sentence.

    Raises:
        VersionRefused: If it does not exist or a file is not as its digest says.
    """
    manifest = Registry(config.data_dir / "models").verify(SlotName.parse(slot), model_id)
    return f"{manifest.model_id}: {len(manifest.sha256)} files are as their digests say"


def _phase(state: dict[str, Any]) -> str:
    job = state["retrain"]
    return f"{state['phase']} {job['step']} {job['percent']:.0f} %" if job else str(state["phase"])


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    days, rest = divmod(seconds, 86_400)
    return f"{days} d {rest // 3600} h" if days else f"{rest // 3600} h {rest % 3600 // 60} min"
