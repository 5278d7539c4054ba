"""Each private part of the MQTT library that the connection uses is there, and is what it was.

There is no public way to close what a failed connect left open, to acknowledge on TCP level,
or to wait for a socket that may be closed already. A new release that moves one of these
parts fails here, by its name, and not in a bot.
"""

import asyncio
import inspect

import aiomqtt
import paho.mqtt.client


async def test_the_client_has_the_parts_that_the_connection_overrides_and_reads() -> None:
    client = aiomqtt.Client("127.0.0.1", 1)
    assert list(inspect.signature(client._on_socket_register_write).parameters) == [
        "client",
        "userdata",
        "sock",
    ]
    assert client._loop is asyncio.get_running_loop()
    assert isinstance(client._disconnected, asyncio.Future)
    assert not client._disconnected.done()
    assert isinstance(client._client, paho.mqtt.client.Client)


async def test_the_library_below_asks_the_overridden_part_when_it_wants_to_write() -> None:
    client = aiomqtt.Client("127.0.0.1", 1)
    assert client._client.on_socket_register_write == client._on_socket_register_write


async def test_the_library_below_has_the_callbacks_that_an_abandoned_connect_replaces() -> None:
    inner = aiomqtt.Client("127.0.0.1", 1)._client
    for name in ("on_disconnect", "on_socket_register_write", "on_socket_open"):
        assert isinstance(getattr(type(inner), name), property), name
    assert inner.socket() is None
    assert callable(inner.loop_write)
    assert callable(inner.disconnect)
