"""Check the commands of operators over MQTT. Each gets one answer; the engine decides.

A retained or old command is refused, because a broker could deliver it long after it was
given. A malformed command is answered too.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
import structlog

from daemon.core.outside_text import decode_json, printable
from daemon.core.suggestions import several
from daemon.mqtt import issue_times
from daemon.mqtt.messages import Command, CommandReply
from daemon.registry.signing import KeyRing
from daemon.runtime import event_codec
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from monitor.events import CommandReceived

log = structlog.get_logger()

STALE_MS: Final = 60_000
# More than a person types, and few enough to remember every request id of a minute.
PER_MINUTE: Final = 30
_REMEMBERED: Final = 1000
_LONGEST_NAME: Final = 60
_LONGEST_ID: Final = 200

_CLOCKS: Final = (
    "if that was just now, the sender's clock and the daemon's differ: set the wrong one "
    "(`timedatectl set-ntp true`); `hyperdrift doctor` says whether it is the daemon's"
)

Answer = Callable[[SlotName, CommandReply], None]
Submit = Callable[[SlotName, Command, str], bool]


class RateLimit:
    """Allows at most `PER_MINUTE` items in any minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=PER_MINUTE)

    def take(self) -> bool:
        """Return whether one more may pass now, and count it if so."""
        now = self._clock.monotonic()
        if len(self._taken) == self._taken.maxlen and now - self._taken[0] < STALE_MS / 1000:
            return False
        self._taken.append(now)
        return True


class _RequestId(msgspec.Struct, frozen=True):
    request_id: str = ""


class CommandHandler:
    """Checks commands for `slots`; passes the valid ones to `submit` and refuses the others.

    Args:
        slots: The slots that accept commands.
        clock: Real time; a command issued before this object was made is a replay.
        submit: Takes a slot, its command and the sender; False if it has no room now.
        answer: Takes the refusals.
        keys: Public keys that may sign commands; None accepts commands without a signature.
        blocked: Returns why nothing can be journalled at present, "" if it can. A command would
            wait for the disk, and nobody would be told.
    """

    def __init__(
        self,
        slots: Collection[SlotName],
        clock: Clock,
        submit: Submit,
        answer: Answer,
        *,
        keys: KeyRing | None = None,
        blocked: Callable[[], str] = str,
    ) -> None:
        self._slots, self._clock, self._submit, self._answer = slots, clock, submit, answer
        self._keys, self._limit, self._opened_at = keys, RateLimit(clock), clock.monotonic()
        self._blocked = blocked
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._before: frozenset[tuple[str, int]] = frozenset()

    def recall(self, store: Store) -> None:
        """Read the commands of before this start from the journal. It blocks.

        Their age alone does not show a replay, because the wall clock may have been set back.
        """
        received = store.journal(kinds=[event_codec.kind(CommandReceived)])
        newest = deque((entry.body for entry in received), maxlen=_REMEMBERED)
        self._before = frozenset(
            (body.get("request_id", ""), body.get("issued_ms", 0)) for body in newest
        )

    def take(self, slot: SlotName, payload: bytes, *, retained: bool) -> None:
        """Check one message; it gets exactly one reply, from here or from the engine."""
        try:
            command: Command = decode_json(payload, Command)
            document: dict[str, Any] = decode_json(payload, dict[str, Any])
        except BadInput as e:
            why = issue_times.fault(payload, self._clock.now_ms()) or e
            self._refuse(slot, _request_id(payload), f"not a command: {why}")
            return
        key = self._keys.signer_of(document) if self._keys is not None else None
        problem = (
            self._transport_problem(slot, command, retained=retained)
            or self._signature_problem(slot, command, key)
            or self._request_problem(command)
            or not_journalled(self._blocked())
        )
        self._pass_on(slot, command, _who(command, key), problem)

    def order(self, slot: SlotName, command: Command, by: str) -> None:
        """Check a command of somebody who is known; it gets exactly one reply, like any other."""
        unsigned = "this daemon takes signed commands only (mqtt.command_keys)"
        remedy = "give it with `hyperdrift command`"
        problem = (
            (f"{unsigned}: {remedy}" if self._keys is not None else None)
            or self._request_problem(command)
            or not_journalled(self._blocked())
        )
        self._pass_on(slot, command, by, problem)

    def _pass_on(self, slot: SlotName, command: Command, by: str, problem: str | None) -> None:
        if problem:
            self._refuse(slot, command.request_id, problem)
            return
        self._seen[command.request_id] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if not self._submit(slot, command, by):
            self._refuse(slot, command.request_id, "too busy; ask again in a minute")

    def _transport_problem(self, slot: SlotName, command: Command, *, retained: bool) -> str | None:
        if slot not in self._slots:
            have = several(sorted(map(str, self._slots)))
            named = printable(str(slot), _LONGEST_NAME)
            return f"slot {named} is not configured here; this daemon has {have}"
        if retained:
            return "retained commands are refused; publish it without the retain flag"
        if unit := issue_times.unit_of(command.issued_ms, self._clock.now_ms()):
            said = f"issued_ms is {command.issued_ms}, which is {unit}, not milliseconds"
            return f"{said}: {issue_times.REMEDY}"
        age_ms = self._clock.now_ms() - command.issued_ms
        if age_ms > STALE_MS:
            return f"stale: issued {age_ms / 1000:.0f} s ago, at most 60 s are accepted; {_CLOCKS}"
        if age_ms < -STALE_MS:
            return f"issued {-age_ms / 1000:.0f} s in the future; {_CLOCKS}"
        # The monotonic clock decides, because the wall clock may have been set back.
        if age_ms > (self._clock.monotonic() - self._opened_at) * 1000:
            return "issued before this daemon started; ask again"
        return None

    def _signature_problem(self, slot: SlotName, command: Command, key: str | None) -> str | None:
        if self._keys is None:
            return None
        if not command.signature:
            return "not signed; this daemon takes commands of mqtt.command_keys only"
        if key is None:
            return "its signature is not of a key in mqtt.command_keys"
        if command.slot != str(slot):  # else somebody could send it to another slot
            return f"signed for slot {command.slot or '(none)'}, sent to {slot}"
        return None

    def _request_problem(self, command: Command) -> str | None:
        if not command.request_id:
            return "request_id is empty; write any text that you will recognise in the reply"
        is_replay = (command.request_id, command.issued_ms) in self._before
        if is_replay or command.request_id in self._seen:
            return "this request_id was handled before; use a new one"
        if command.command == "promote" and not command.model_id:
            return "promote needs model_id; `hyperdrift models list` shows them"
        if not self._limit.take():
            return f"more than {PER_MINUTE} commands in a minute; ask again in a minute"
        return None

    def _refuse(self, slot: SlotName, request_id: str, why: str) -> None:
        # Anybody can invent slots, and log lines are counted by their slot.
        about = {"slot": str(slot)} if slot in self._slots else {}
        log.warning("command.refused", **about, request_id=request_id[:_LONGEST_ID], why=why)
        self._answer(slot, CommandReply(request_id=request_id, accepted=False, detail=why))


def not_journalled(why: str) -> str:
    """Return the answer to a command that cannot be written into the journal; "" if it can."""
    return f"not taken, the journal cannot be written: {why}; then ask again" if why else ""


def no_such_slot(topic: str, payload: bytes) -> CommandReply:
    """Return the answer to a command whose topic names no slot of the daemon."""
    shown = printable(topic)
    log.warning("command.refused", topic=shown, why="no slot")
    detail = f"{shown} names no slot; write one like BTC-5m"
    return CommandReply(request_id=_request_id(payload), accepted=False, detail=detail)


def _who(command: Command, key: str | None) -> str:
    """Return who sent a command: the name of the key that signed it, else what it claims."""
    if key:
        return key
    claimed = printable(command.by, _LONGEST_NAME)
    return f"unproven ({claimed})" if claimed else "unproven"


def _request_id(payload: bytes) -> str:
    """Return the request id of a message, empty if it has none."""
    try:
        return str(decode_json(payload, _RequestId).request_id)
    except BadInput:
        return issue_times.request_id(payload)
