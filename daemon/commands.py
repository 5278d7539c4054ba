"""What operators ask over MQTT: checked here, answered once each, decided by the engine.

A command that is retained or old could be replayed by a broker long after anybody
wanted it, and one that is malformed deserves an answer, not silence.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

import msgspec
import structlog

from daemon.bars import SlotName
from daemon.clock import Clock
from daemon.messages import Command, CommandReply

log = structlog.get_logger()

STALE_MS: Final = 60_000
_REMEMBERED: Final = 1000

Answer = Callable[[SlotName, CommandReply], None]
Submit = Callable[[SlotName, Command], bool]


class _RequestId(msgspec.Struct, frozen=True):
    request_id: str = ""


class CommandDesk:
    """Take commands for `slots`; hand the good ones to `submit`, refuse the others by `answer`.

    `submit` says False when it cannot take more now.
    """

    def __init__(
        self, slots: Collection[SlotName], clock: Clock, submit: Submit, answer: Answer
    ) -> None:
        self._slots, self._clock, self._submit, self._answer = slots, clock, submit, answer
        self._seen: OrderedDict[str, None] = OrderedDict()

    def take(self, slot: SlotName, payload: bytes, *, retained: bool) -> None:
        """Check one message; every one of them gets exactly one reply, now or from the engine."""
        try:
            command = msgspec.json.decode(payload, type=Command)
        except msgspec.DecodeError as e:
            self._refuse(slot, _request_id(payload), f"not a command: {e}")
            return
        problem = self._problem(slot, command, retained=retained)
        if problem:
            self._refuse(slot, command.request_id, problem)
            return
        self._seen[command.request_id] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if not self._submit(slot, command):
            self._refuse(slot, command.request_id, "too busy; ask again in a minute")

    def _problem(self, slot: SlotName, command: Command, *, retained: bool) -> str | None:
        if slot not in self._slots:
            have = ", ".join(sorted(map(str, self._slots)))
            return f"slot {slot} is not configured here; this daemon has {have}"
        if retained:
            return "retained commands are refused; publish it without the retain flag"
        age_ms = self._clock.now_ms() - command.issued_ms
        if age_ms > STALE_MS:
            return f"stale: issued {age_ms / 1000:.0f} s ago, at most 60 s are accepted"
        if age_ms < -STALE_MS:
            return f"issued {-age_ms / 1000:.0f} s in the future; set the clock of the sender"
        if not command.request_id:
            return "request_id is empty; write any text that you will recognise in the reply"
        if command.request_id in self._seen:
            return "this request_id was handled before; use a new one"
        if command.command == "promote" and not command.model_id:
            return "promote needs model_id; `hyperdrift models list` shows them"
        return None

    def _refuse(self, slot: SlotName, request_id: str, why: str) -> None:
        log.warning("command.refused", slot=str(slot), request_id=request_id, why=why)
        self._answer(slot, CommandReply(request_id=request_id, accepted=False, detail=why))


def _request_id(payload: bytes) -> str:
    """Find out whom to answer, if the message says so at all."""
    try:
        return msgspec.json.decode(payload, type=_RequestId).request_id
    except msgspec.DecodeError:
        return ""
