import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mqtt.broker import packets
from daemon.mqtt.broker.access import is_filter, matches
from daemon.mqtt.broker.packets import MalformedPacket, Publication


@given(st.binary(max_size=80), st.integers(0, 15))
def test_any_bytes_are_a_packet_or_malformed(data: bytes, flags: int) -> None:
    readers = (
        packets.read_connect,
        packets.read_subscribe,
        packets.read_unsubscribe,
        packets.read_id,
        lambda body: packets.read_publish(flags, body),
    )
    for read in readers:
        try:
            read(data)
        except MalformedPacket:
            continue


@given(st.text("abc/", min_size=1, max_size=300), st.binary(max_size=300), st.integers(0, 1))
def test_a_message_that_is_written_is_read_back(topic: str, payload: bytes, qos: int) -> None:
    message = Publication(topic, payload, qos, retain=True)

    async def read() -> tuple[int, int, bytes]:
        stream = asyncio.StreamReader()
        stream.feed_data(packets.publish(message, 7))
        return await packets.read(stream, 1000)

    kind, flags, body = asyncio.run(read())
    assert (kind, packets.read_publish(flags, body)) == (packets.PUBLISH, (message, 7 * qos))


@pytest.mark.parametrize(
    ("topic_filter", "topic", "fits"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/b", "/b", True),
        ("a/+/c", "a/b/c", True),
        ("a", "a/b", False),
        ("#", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
    ],
)
def test_a_topic_fits_a_filter_as_the_standard_says(
    topic_filter: str, topic: str, fits: bool
) -> None:
    assert matches(tuple(topic_filter.split("/")), topic.split("/")) is fits


def test_what_is_no_filter_is_told_from_one() -> None:
    assert all(map(is_filter, ("a", "#", "+", "a/+/b/#", "/")))
    assert not any(map(is_filter, ("", "a#", "#/a", "a/b+", "a/#/b")))
