"""Every command gets exactly one answer, and only fresh, well-formed ones get through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.bars import SlotName
from daemon.commands import CommandDesk
from daemon.messages import Command, CommandReply
from tests.fakes import FakeClock

BTC = SlotName("BTC", "5m")
CLOCK = FakeClock()


class Office:
    """A desk with what it let through and what it answered."""

    def __init__(self, *, busy: bool = False) -> None:
        self.through: list[Command] = []
        self.replies: list[CommandReply] = []
        self.busy = busy
        self.desk = CommandDesk(
            frozenset({BTC}), CLOCK, self.submit, lambda _, reply: self.replies.append(reply)
        )

    def submit(self, _: SlotName, command: Command) -> bool:
        if not self.busy:
            self.through.append(command)
        return not self.busy

    def take(self, *, slot: SlotName = BTC, retained: bool = False, **fields: object) -> None:
        whole = {
            "command": "retrain", "request_id": "r1", "reason": "", "issued_ms": CLOCK.ms
        } | fields  # fmt: skip
        self.desk.take(slot, json.dumps(whole).encode(), retained=retained)


def test_a_fresh_command_goes_through_unanswered_until_the_engine_answers() -> None:
    office = Office()
    office.take(reason="stale model")
    assert [c.reason for c in office.through] == ["stale model"]
    assert office.replies == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"issued_ms": CLOCK.ms - 60_001}, "stale: issued 60 s ago"),
        ({"issued_ms": CLOCK.ms + 61_000}, "in the future"),
        ({"retained": True}, "retained commands are refused"),
        ({"slot": SlotName("ETH", "5m")}, "this daemon has BTC-5m"),
        ({"command": "format-disk"}, "not a command"),
        ({"command": "promote"}, "promote needs model_id"),
        ({"request_id": ""}, "request_id is empty"),
    ],
)
def test_a_command_that_may_not_pass_is_answered_with_the_reason(
    fields: dict[str, object], why: str
) -> None:
    office = Office()
    office.take(**fields)  # type: ignore[arg-type]
    assert office.through == []
    (reply,) = office.replies
    assert not reply.accepted
    assert why in reply.detail


def test_the_same_request_is_not_carried_out_twice() -> None:
    office = Office()
    office.take()
    office.take()
    assert len(office.through) == 1
    assert "handled before" in office.replies[0].detail


def test_a_busy_daemon_says_so() -> None:
    office = Office(busy=True)
    office.take()
    assert "too busy" in office.replies[0].detail


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_and_none_get_through(payload: bytes) -> None:
    office = Office()
    office.desk.take(BTC, payload, retained=False)
    assert office.through == []
    assert len(office.replies) == 1


def test_a_malformed_command_that_names_its_request_is_answered_by_that_name() -> None:
    office = Office()
    office.take(command=7, request_id="mine")
    assert office.replies[0].request_id == "mine"
