"""Every command gets exactly one answer, and only fresh, well-formed ones get through."""

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.mqtt.messages import Command, CommandReply
from daemon.registry.signing import KeyRing, Signer, generate
from daemon.runtime.commands import PER_MINUTE, CommandHandler
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from tests.fakes import FakeClock

BTC, SOL = SlotName("BTC", "5m"), SlotName("SOL", "5m")
CLOCK = FakeClock()
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "talk.md"


class Office:
    """A desk with what it let through and what it answered."""

    def __init__(
        self, *, busy: bool = False, clock: FakeClock = CLOCK, keys: KeyRing | None = None
    ) -> None:
        self.through: list[Command] = []
        self.by: list[str] = []
        self.replies: list[CommandReply] = []
        self.busy = busy
        self.desk = CommandHandler(
            frozenset({BTC, SOL}),
            clock,
            self.submit,
            lambda _, reply: self.replies.append(reply),
            keys=keys,
        )

    def submit(self, _: SlotName, command: Command, by: str) -> bool:
        if not self.busy:
            self.through.append(command)
            self.by.append(by)
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
        ({"issued_ms": CLOCK.ms - 60_001}, "clock and the daemon's differ: set the wrong one"),
        ({"issued_ms": CLOCK.ms + 61_000}, "in the future"),
        ({"issued_ms": CLOCK.ms + 61_000}, "clock and the daemon's differ: set the wrong one"),
        ({"retained": True}, "retained commands are refused"),
        ({"slot": SlotName("ETH", "5m")}, "this daemon has BTC-5m, SOL-5m"),
        ({"command": "format-disk"}, "not a command"),
        ({"command": "promote"}, "promote needs model_id"),
        ({"request_id": ""}, "request_id is empty"),
        ({"issued_ms": 10**400}, "not a command"),
        ({"issued_ms": -(2**62)}, "not a command"),
        ({"reason": "\ud800"}, "not a command"),
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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{CLOCK.ms // 1000}", "which is seconds, not milliseconds"),
        (f"{CLOCK.ms / 1000 + 0.25}", "which is seconds, not milliseconds"),
        (f"{CLOCK.ms}000", "which is microseconds, not milliseconds"),
        (f"{CLOCK.ms}000000", "which is nanoseconds, not milliseconds"),
        (f"{CLOCK.ms}.5", "no whole number"),
        (f'"{CLOCK.ms}"', "a text: write it without quotes"),
        (f"{CLOCK.ms // 1000}3N", "because this `date` has no %3N"),  # macOS
        (f"{CLOCK.ms // 1000}%3N", "because this `date` has no %3N"),  # busybox
        (f"{CLOCK.ms // 1000}N", "because this `date` has no %3N"),
        ("", "issued_ms is empty"),
    ],
)
def test_a_time_that_a_shell_gives_is_answered_with_what_is_wrong_and_to_whom(
    text: str, why: str
) -> None:
    office = Office()
    payload = '{"command":"retrain","request_id":"mine","issued_ms":' + text + "}"
    office.desk.take(BTC, payload.encode(), retained=False)
    (reply,) = office.replies
    assert (office.through, reply.request_id) == ([], "mine")
    assert why in reply.detail
    assert "%3N" not in why or "hyperdrift command" in reply.detail


def test_a_command_that_the_disk_would_not_take_is_refused_until_it_does() -> None:
    office, disk = Office(), ["the disk is full"]
    desk = CommandHandler(
        {BTC}, CLOCK, office.submit, lambda _, r: office.replies.append(r), blocked=lambda: disk[0]
    )
    office.desk = desk
    office.take()
    assert office.replies[0].detail.startswith("not taken, the journal cannot be written: the disk")
    disk[0] = ""
    office.take()
    assert [command.request_id for command in office.through] == ["r1"]


def test_the_example_of_the_page_gives_a_command_that_passes_in_each_shell_that_is_here() -> None:
    line = next(row for row in PAGE.read_text().splitlines() if "mosquitto_pub" in row)
    assert "%3N" not in line
    message = line[line.index("-m ") + 3 :]
    for shell in (("busybox", "sh"), ("dash",), ("sh",)):
        if shutil.which(shell[0]) is None:
            continue
        said = subprocess.run((*shell, "-c", f"echo {message}"), capture_output=True, check=True)
        clock = FakeClock(SystemClock().now_ms())
        office = Office(clock=clock)
        clock.ms, clock.ahead_ms = clock.ms + 5000, -5000  # the daemon has run for a while
        office.desk.take(BTC, said.stdout.strip(), retained=False)
        assert (len(office.through), office.replies) == (1, [])


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


def test_a_command_that_is_nested_too_deep_is_answered_too() -> None:
    office = Office()
    office.desk.take(BTC, b'{"request_id":"mine","x":' + b"[" * 10_000, retained=False)
    assert "nested too deep" in office.replies[0].detail


def test_a_malformed_command_that_names_its_request_is_answered_by_that_name() -> None:
    office = Office()
    office.take(command=7, request_id="mine")
    assert office.replies[0].request_id == "mine"


def test_what_was_issued_before_the_daemon_started_can_only_be_a_replay() -> None:
    clock = FakeClock()
    office = Office(clock=clock)
    clock.ms += 5_000
    office.take(issued_ms=clock.ms - 5_001)
    assert "before this daemon started" in office.replies[0].detail
    office.take(issued_ms=clock.ms - 5_000)
    assert len(office.through) == 1


@pytest.mark.parametrize("step_ms", [-7_200_000, 7_200_000])
def test_a_host_whose_clock_is_set_takes_commands_of_its_new_time(step_ms: int) -> None:
    clock = FakeClock()
    office = Office(clock=clock)
    clock.ms += 5_000
    clock.ahead_ms = step_ms
    office.take(issued_ms=clock.now_ms())
    assert len(office.through) == 1
    office.take(request_id="r2", issued_ms=clock.now_ms() - 5_001)
    assert "before this daemon started" in office.replies[0].detail


def test_more_commands_than_anybody_types_are_refused_until_a_minute_has_passed() -> None:
    clock = FakeClock()
    office = Office(clock=clock)
    for number in range(PER_MINUTE + 1):
        office.take(request_id=str(number), issued_ms=clock.ms)
    assert len(office.through) == PER_MINUTE
    assert "30 commands in a minute" in office.replies[0].detail
    clock.ms += 60_000
    office.take(request_id="later", issued_ms=clock.ms)
    assert office.through[-1].request_id == "later"


def test_refused_ones_do_not_use_up_the_rate_of_others() -> None:
    office = Office()
    for number in range(PER_MINUTE + 1):
        office.take(request_id=str(number), issued_ms=CLOCK.ms - 70_000)
    office.take()
    assert len(office.through) == 1


@pytest.fixture
def signers(tmp_path: Path) -> dict[str, Signer]:
    for name in ("alice", "mallory"):
        generate(tmp_path / f"{name}.key", tmp_path / f"{name}.pub")
    return {name: Signer.load(tmp_path / f"{name}.key") for name in ("alice", "mallory")}


def signed(signer: Signer) -> bytes:
    command = Command(command="pause", request_id="r", issued_ms=CLOCK.ms, slot="BTC-5m", by="al")
    signature = signer.sign_message(command)
    return msgspec.json.encode(msgspec.structs.replace(command, signature=signature))


def test_where_keys_are_configured_a_signed_command_passes_and_says_who_sent_it(
    signers: dict[str, Signer], tmp_path: Path
) -> None:
    office = Office(keys=KeyRing.load([tmp_path / "alice.pub"]))
    office.desk.take(BTC, signed(signers["alice"]), retained=False)
    assert office.replies == []
    assert office.by == ["alice"]


def test_of_a_command_that_nobody_signed_the_journal_says_so_beside_the_name_it_gives() -> None:
    for by, said in (
        ("al", "unproven (al)"),
        ("", "unproven"),
        ("a" * 99, f"unproven ({'a' * 60}...)"),
    ):
        office = Office()
        command = Command(command="pause", request_id="r", issued_ms=CLOCK.ms, by=by)
        office.desk.take(BTC, msgspec.json.encode(command), retained=False)
        assert office.by == [said]


@pytest.mark.parametrize(
    ("slot", "signer", "old", "new", "why"),
    [
        (BTC, "mallory", "", "", "not of a key in mqtt.command_keys"),
        (BTC, "alice", "pause", "retrain", "not of a key in mqtt.command_keys"),
        (BTC, "alice", '"by":"al"', '"by":"bo"', "not of a key in mqtt.command_keys"),
        (SOL, "alice", "", "", "signed for slot BTC-5m, sent to SOL-5m"),
    ],
)
def test_a_command_of_a_stranger_or_changed_or_sent_on_is_refused(
    signers: dict[str, Signer], tmp_path: Path, *, slot: SlotName, signer: str, old: str, new: str,
    why: str,
) -> None:  # fmt: skip
    office = Office(keys=KeyRing.load([tmp_path / "alice.pub"]))
    payload = signed(signers[signer]).replace(old.encode(), new.encode(), 1)
    office.desk.take(slot, payload, retained=False)
    assert office.through == []
    (reply,) = office.replies
    assert (reply.request_id, reply.accepted) == ("r", False)
    assert why in reply.detail


def test_an_unsigned_command_is_refused_where_keys_are_configured(
    signers: dict[str, Signer], tmp_path: Path
) -> None:
    office = Office(keys=KeyRing.load([tmp_path / "alice.pub"]))
    office.take()
    assert "not signed" in office.replies[0].detail
    assert office.through == []


def test_a_signed_command_is_not_carried_out_twice(
    signers: dict[str, Signer], tmp_path: Path
) -> None:
    office = Office(keys=KeyRing.load([tmp_path / "alice.pub"]))
    for _ in range(2):
        office.desk.take(BTC, signed(signers["alice"]), retained=False)
    assert len(office.through) == 1
    assert "handled before" in office.replies[0].detail


def order(**fields: object) -> Command:
    whole = {"command": "retrain", "request_id": "w1", "issued_ms": CLOCK.ms} | fields
    return msgspec.convert(whole, Command)


def test_an_order_of_somebody_who_is_known_passes_with_the_name_given_for_it() -> None:
    office = Office()
    office.desk.order(BTC, order(reason="r"), "web (127.0.0.1)")
    assert (office.by, office.replies) == (["web (127.0.0.1)"], [])
    office.desk.order(BTC, order(), "web (127.0.0.1)")  # the same id again
    office.desk.order(BTC, order(request_id="w2", command="promote"), "web (127.0.0.1)")
    office.busy = True
    office.desk.order(BTC, order(request_id="w3"), "web (127.0.0.1)")
    said = [reply.detail for reply in office.replies]
    assert [reply.accepted for reply in office.replies] == [False] * 3
    assert ["handled before" in said[0], "needs model_id" in said[1]] == [True, True]
    assert said[2].startswith("too busy")


def test_where_commands_are_signed_an_order_without_a_signature_is_refused(tmp_path: Path) -> None:
    generate(tmp_path / "key", tmp_path / "pub")
    office = Office(keys=KeyRing.load([tmp_path / "pub"]))
    office.desk.order(BTC, order(), "web (127.0.0.1)")
    assert office.through == []
    assert "signed commands only (mqtt.command_keys)" in office.replies[0].detail


def test_orders_and_commands_share_one_limit() -> None:
    office = Office(clock=FakeClock(ms=CLOCK.ms))
    for number in range(PER_MINUTE + 1):
        office.desk.order(BTC, order(request_id=str(number)), "web")
    assert len(office.through) == PER_MINUTE
