"""The daemon's connection to its broker, and the embedded broker if that is used."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from daemon.config.loader import broker_address, broker_password
from daemon.config.schema import Config
from daemon.core.tasks import running
from daemon.mqtt.broker.access import DAEMON
from daemon.mqtt.broker_refusals import BrokerRefusals
from daemon.mqtt.embedded_broker import EmbeddedBroker
from daemon.mqtt.messages import DaemonStatus, encode
from daemon.mqtt.passwords import own_passwords
from daemon.store.database import StoreUnavailable
from daemon.store.retrying_store import until_available
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection, Will
from hyperdrift.mqtt.login import FixedLogin
from hyperdrift.mqtt.topics import Topics

_GOODBYE_S: Final = 2.0


@contextlib.asynccontextmanager
async def broker_connection(
    config: Config, online: DaemonStatus, clock: Clock, refusals: BrokerRefusals
) -> AsyncIterator[MqttConnection]:
    """Run the connection to the broker, and the embedded broker if that is used.

    At the end it publishes that the daemon is offline.

    Args:
        config: Names the broker.
        online: The first status.
        clock: Times the waits.
        refusals: Told what the embedded broker refuses.
    """
    async with contextlib.AsyncExitStack() as stack:
        mqtt, address = config.mqtt, broker_address(config.mqtt)
        if mqtt.broker == "embedded":
            password = secrets.token_urlsafe(32)  # known to this process and its broker only
            login = FixedLogin(DAEMON, password)
            others = await until_available(lambda: _passwords(config.data_dir), clock)
            broker = EmbeddedBroker(
                clock,
                mqtt.port,
                passwords={DAEMON: password, **others},
                anonymous=mqtt.anonymous,
                prefix=mqtt.prefix,
                on_refusal=refusals.take,
            )
            await stack.enter_async_context(broker)
        else:
            login = FixedLogin(address.user, broker_password(mqtt))
        topics = Topics(mqtt.prefix)
        will = Will(topics.status, DaemonStatus(state="offline"))
        bus = MqttConnection(address, clock, login=login, will=will, encode=encode)
        bus.publish(topics.status, online, retain=True)
        await stack.enter_async_context(connected(bus))
        yield bus


@contextlib.asynccontextmanager
async def connected(bus: MqttConnection) -> AsyncIterator[None]:
    """Run a connection beside the block; at the end of the block send queued messages.

    If the broker does not answer, messages only wait. Any other failure of the connection is a
    bug and ends the block with its error.
    """
    async with running(bus.run(), "bus"):
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S if bus.connected else 0):
                    await bus.flush()


def _passwords(data_dir: Path) -> dict[str, str]:
    try:
        return own_passwords(data_dir)
    except OSError as e:
        raise StoreUnavailable(f"{e.filename}: {e.strerror}") from e
