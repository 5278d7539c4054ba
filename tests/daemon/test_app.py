"""One function holds every connection: if one dies of a bug, the daemon ends and says why."""

import asyncio

import pytest

from daemon.app import connected
from daemon.mqtt.messages import encode
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection


class Broken(MqttConnection):
    """A connection with a bug, as one is that no resolver was written for."""

    async def run(self) -> None:
        await asyncio.sleep(0)
        raise UnicodeError("label empty or too long")


async def test_a_connection_to_the_broker_that_dies_ends_the_daemon() -> None:
    clock = SystemClock()
    bus = Broken(BrokerAddress.parse("mqtt://127.0.0.1:1"), clock, encode=encode)
    async with asyncio.timeout(5):
        with pytest.raises(UnicodeError, match="label empty"):
            async with connected(bus):
                await asyncio.Event().wait()
