"""Ask a running daemon for its status, and send it commands."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from daemon.admin import local_daemon, remote_client
from daemon.config.loader import broker_address, operator_login
from daemon.config.schema import Config
from daemon.core.errors import NoAnswer
from daemon.mqtt.messages import CommandName, CommandReply
from daemon.registry.keys import command_signer
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName


async def status(config: Config, clock: Clock) -> dict[str, Any]:
    """Return the last published status of the daemon and its slots.

    Raises:
        BrokerUnreachable: If there is no broker.
    """
    topics = Topics(config.mqtt.prefix)
    with explained(config, broker=True):
        async with remote_client.connected(
            broker_address(config.mqtt), clock, operator_login(config)
        ) as bus:
            document = await remote_client.status(bus, topics, clock)
    if why := _why_stale(config, document["status"]):
        document["status"] = {**document["status"], "trouble": why}
    return document


@contextlib.contextmanager
def explained(config: Config, *, broker: bool = False) -> Iterator[None]:
    """Say instead of "no answer" what the daemon of this host does, if that is known.

    With `broker` it is the broker that does not answer: only an embedded one is the daemon's.

    Raises:
        NoAnswer: Instead of the one that was raised inside.
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
    with explained(config, broker=True):
        async with remote_client.connected(
            broker_address(config.mqtt), clock, operator_login(config)
        ) as bus:
            with explained(config):
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
