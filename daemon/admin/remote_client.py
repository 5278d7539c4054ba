"""Talk to a running daemon over MQTT: what `hyperdrift status` and `hyperdrift command` do."""

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from daemon.core.errors import BrokerUnreachable, NoAnswer
from daemon.core.outside_text import decode_json
from daemon.core.tasks import running
from daemon.mqtt.messages import Command, CommandName, CommandReply, encode
from daemon.registry.signing import Signer
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.login import Login
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

_NOBODY: Final = (
    "nothing listens there; start the broker (an embedded one comes with the daemon), "
    "or write its address in mqtt.broker"
)
_CONNECT_S: Final = 5.0
_LOOK_S: Final = 0.01
_REPLY_S: Final = 10.0
# Retained messages arrive right after the subscription; after this time there are none.
_SETTLE_S: Final = 0.5


@contextlib.asynccontextmanager
async def connected(
    address: BrokerAddress, clock: Clock, login: Login | None = None
) -> AsyncIterator[MqttConnection]:
    """Hold a connection to the broker.

    Raises:
        NoAnswer: If there is none within five seconds.
        BrokerUnreachable: If it refuses the login.
    """
    bus = MqttConnection(address, clock, name="hyperdrift-cli", login=login, encode=encode)
    async with running(bus.run(), "bus"):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_S):
                while not (bus.connected or bus.refused):
                    await clock.sleep(_LOOK_S)
        if not bus.connected:
            why = bus.trouble or "it does not answer; is the daemon running?"
            if os.strerror(errno.ECONNREFUSED) in why:
                why = _NOBODY
            msg = f"the broker at {address} cannot be reached: {why}"
            raise (BrokerUnreachable if bus.refused else NoAnswer)(msg)
        yield bus


async def status(bus: MqttConnection, topics: Topics, clock: Clock) -> dict[str, Any]:
    """Return the retained state of the daemon and its slots: {"status": ..., "slots": {...}}."""
    daemon: dict[str, Any] = {}
    slots: dict[str, Any] = {}
    heard = asyncio.Event()

    def take_status(_topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        with contextlib.suppress(BadInput):
            daemon.update(decode_json(payload, dict[str, Any]))
            heard.set()

    def take_state(topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        with contextlib.suppress(BadInput):
            if found := topics.slot_of(topic):
                slots[str(found[0])] = decode_json(payload, dict[str, Any])

    bus.subscribe(topics.status, take_status)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_S):
            await heard.wait()
    # RabbitMQ sends retained messages to who asks for the very topic only.
    for topic in _state_topics(topics, daemon) or [f"{topics.prefix}/+/state"]:
        bus.subscribe(topic, take_state)
    await clock.sleep(_SETTLE_S)
    return {"status": daemon or {"state": "unknown"}, "slots": slots}


def _state_topics(topics: Topics, daemon: dict[str, Any]) -> list[str]:
    """Return the topic of each slot that the daemon names; none if it is offline."""
    named = daemon.get("slots")
    found = [
        topics.slot_of(f"{topics.prefix}/{n}/state") for n in named or [] if isinstance(n, str)
    ]
    return [topics.state(each[0]) for each in found if each is not None]


async def command(
    bus: MqttConnection,
    topics: Topics,
    slot: SlotName,
    name: CommandName,
    *,
    clock: Clock,
    reason: str = "",
    model_id: str = "",
    by: str = "",
    signer: Signer | None = None,
) -> CommandReply:
    """Send one command, signed if there is a `signer`, and wait for its reply.

    Raises:
        NoAnswer: If no daemon answers within ten seconds.
    """
    request = Command(
        command=name,
        request_id=secrets.token_hex(8),
        reason=reason,
        issued_ms=clock.now_ms(),
        model_id=model_id,
        slot=str(slot),
        by=by,
    )
    if signer is not None:
        request = msgspec.structs.replace(request, signature=signer.sign_message(request))
    answer: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()

    def take(_topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        with contextlib.suppress(BadInput):
            reply = decode_json(payload, CommandReply)
            if reply.request_id == request.request_id and not answer.done():
                answer.set_result(reply)

    bus.subscribe(topics.reply(slot), take)
    bus.publish(topics.command(slot), request)
    try:
        async with asyncio.timeout(_REPLY_S):
            return await answer
    except TimeoutError:
        msg = f"no daemon answered for {slot} within {_REPLY_S:g} s; look at `hyperdrift status`"
        raise NoAnswer(msg) from None
