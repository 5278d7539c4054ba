"""An address that nobody can have is refused when it is read, not when it is dialled."""

import pytest

from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"),
        ("mqtts://broker.lan", "mqtts://broker.lan:8883"),
        ("mqtt://me@broker_1.lan.:1884", "mqtt://broker_1.lan.:1884"),
        ("mqtt://[::1]:1883", "mqtt://[::1]:1883"),
        ("mqtt://bücher.example", "mqtt://bücher.example:1883"),
    ],
)
def test_addresses_that_somebody_can_have_are_taken(url: str, shown: str) -> None:
    assert str(BrokerAddress.parse(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker..lan:1883",
        "mqtt://.lan",
        f"mqtt://{'a' * 64}.lan",
        f"mqtt://{'.'.join(['abcdefgh'] * 30)}",
        "mqtt://broker lan",
        "mqtt://-broker.lan",
        "mqtt://10.0.0.256",
        "mqtt://10.0.0",
        "mqtt://[::g]",
        "mqtt://host:0",
        "mqtt://host:65536",
        "mqtt://host:port",
        "mqtt://:1883",
        "http://host",
        "host:1883",
    ],
)
def test_addresses_that_nobody_can_have_are_refused_with_the_key(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^mqtt\.broker .*mqtt://"):
        BrokerAddress.parse(url)
