"""What cannot be read is said once."""

import msgspec
import pytest

from daemon.mqtt.messages import PayloadReader
from hyperdrift.mqtt.messages import BotPresence, Message, PredictionMade, SwapAck
from tests.captured import capture_logs

GOOD = b'{"swap_id": "s", "model_id": "m", "status": "loaded", "colour": "unknown fields pass"}'


def test_a_message_is_read_and_unknown_fields_are_ignored() -> None:
    ack = PayloadReader().read("t", GOOD, SwapAck)
    assert ack == SwapAck(swap_id="s", model_id="m", status="loaded")


def test_a_topic_that_goes_wrong_is_logged_once_until_it_is_well_again() -> None:
    reader = PayloadReader()
    with capture_logs() as logs:
        for payload in (b"{", b"\xff", b'{"swap_id": 7}', GOOD, b"[]"):
            reader.read("t", payload, SwapAck)
        reader.read("other", b"{", SwapAck)
    assert [(line["event"], line["topic"]) for line in logs] == [
        ("bus.malformed", "t"),
        ("bus.malformed", "t"),
        ("bus.malformed", "other"),
    ]


@pytest.mark.parametrize(
    "message",
    [
        PredictionMade(t=1, model_id="m", p=(0.2, 0.6, 0.2), features=(0.0,) * 1001),
        BotPresence(online=True, bot_id="b" * 201),
        BotPresence(online=True, bot_id="b", sklearn="1" * 201),
        SwapAck(swap_id="s", model_id="m", status="loaded", bot_id="b" * 201),
    ],
)
def test_a_bot_can_fill_neither_memory_nor_journal_with_one_message(message: Message) -> None:
    reader = PayloadReader()
    with capture_logs() as logs:
        assert reader.read("t", msgspec.json.encode(message), type(message)) is None
    assert "at most" in logs[0]["why"]
