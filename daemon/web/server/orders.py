"""Take orders of operators: forms of the pages, and JSON of programs.

An order goes the way of a command over MQTT: it is journalled, answered by the engine, and
limited in number. It needs no broker.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from typing import Annotated, Final, Protocol, get_args

import msgspec
from aiohttp import web
from yarl import URL

from daemon.core.outside_text import decode_json
from daemon.mqtt.messages import Command, CommandName
from daemon.runtime.announcements import Announcements
from daemon.web.server.answers import BASE, json_answer
from daemon.web.server.forms import check_own_form, read_form
from daemon.web.server.reading import Reading
from daemon.web.server.sessions import Attempts
from daemon.web.server.visits import Denied, Visit, see_other, visit_of
from daemon.web.views import OrderAnswer
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

PATH: Final = BASE + "/slots/{slot}/commands"
LONGEST_REASON: Final = 500
_LONGEST_NAME: Final = 40
_EACH, _IN_ALL = 10, 20
ANSWER_S: Final = 10.0
_FORM: Final = "/slots/{slot}/{command:" + "|".join(get_args(CommandName)) + "}"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a program asks for.

    A signed order has the fields of a command over MQTT; one that is not needs the first two.

    Attributes:
        command: What to do.
        reason: Why, for the journal: one line.
        model_id: The version to promote or to roll back to.
        by: Who asks, for the journal.
        request_id: Names a signed order.
        signature: Signature of a signed order, which a daemon with `mqtt.command_keys` demands.
    """

    command: CommandName
    reason: Annotated[str, msgspec.Meta(max_length=LONGEST_REASON)] = ""
    model_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    by: Annotated[str, msgspec.Meta(max_length=_LONGEST_NAME)] = ""
    request_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    signature: str = ""


class CommandSink(Protocol):
    """Where commands are given."""

    def order(self, slot: SlotName, command: Command, by: str) -> None:
        """Take a command of somebody who is known."""
        ...

    def order_signed(self, slot: SlotName, message: bytes) -> None:
        """Take a command whose signature says who asks."""
        ...


class Orders:
    """The handlers of orders.

    Args:
        reading: Knows the slots.
        commands: Takes the commands.
        announcements: Brings the answers.
        clock: Real time.
    """

    def __init__(
        self, reading: Reading, commands: CommandSink, announcements: Announcements, clock: Clock
    ) -> None:
        self._reading, self._commands, self._clock = reading, commands, clock
        self._announcements, self._limit = announcements, Attempts(clock, _EACH, _IN_ALL)

    def routes(self) -> list[web.RouteDef]:
        """Return the paths of orders."""
        return [web.post(_FORM, self._take_form), web.post(PATH, self._take_json)]

    async def _take_form(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        check_own_form(request, form)
        slot, visit = self._reading.named(request.match_info["slot"]), visit_of(request)
        asked = Order(
            command=request.match_info["command"],  # type: ignore[arg-type] # the path has no other
            reason=form.get("reason", ""),
            model_id=form.get("model_id", "").strip(),
            by=form.get("by", ""),
        )
        answer = await self._give(slot, asked, visit)
        said = {True: "accepted", False: "declined", None: "taken"}[answer.accepted]
        if visit.session is not None:
            visit.session.notice = f"{asked.command} {said}: {answer.detail}"
        return see_other(URL("/slots") / str(slot))

    async def _take_json(self, request: web.Request) -> web.StreamResponse:
        visit = visit_of(request)
        if not visit.has_token:
            raise Denied(401, "an order takes the token", "send `Authorization: Bearer <token>`")
        if request.content_type != "application/json":
            raise Denied(415, "this is no JSON", "send application/json")
        slot, body = self._reading.named(request.match_info["slot"]), await request.read()
        asked: Order = decode_json(body, Order)
        if asked.signature:
            self._count(visit)
            answer = await self._answered(
                asked.request_id, lambda: self._commands.order_signed(slot, body)
            )
        else:
            answer = await self._give(slot, asked, visit)
        return json_answer(answer, 202 if answer.accepted is None else 200)

    async def _give(self, slot: SlotName, asked: Order, visit: Visit) -> OrderAnswer:
        reason = _one_line("reason", asked.reason, LONGEST_REASON)
        if not reason:
            raise Denied(400, "there is no reason", "write why, for the journal")
        if asked.model_id:
            await self._reading.version_of(slot, asked.model_id)
        who, name = f"web ({visit.address})", _one_line("name", asked.by, _LONGEST_NAME)
        self._count(visit)
        command = Command(
            command=asked.command,
            request_id=f"web-{secrets.token_hex(8)}",
            reason=reason,
            issued_ms=self._clock.now_ms(),
            model_id=asked.model_id,
        )
        by = f"{name}, {who}" if name else who
        return await self._answered(
            command.request_id, lambda: self._commands.order(slot, command, by)
        )

    async def _answered(self, request_id: str, give: Callable[[], None]) -> OrderAnswer:
        answer = self._announcements.answer_to(request_id)
        try:
            give()
            async with asyncio.timeout(ANSWER_S):
                reply = await answer
        except TimeoutError:
            later = "the slot has not answered yet; the journal will show what became of it"
            return OrderAnswer(request_id=request_id, accepted=None, detail=later)
        finally:
            answer.cancel()
        return OrderAnswer(request_id=request_id, accepted=reply.accepted, detail=reply.detail)

    def _count(self, visit: Visit) -> None:
        if not self._limit.has_room(visit.address):
            raise Denied(429, "too many orders in a minute", "wait a minute, then try again")
        self._limit.count(visit.address)


def _one_line(what: str, text: str, longest: int) -> str:
    """Return a text without spaces around it.

    Raises:
        Denied: If it is too long, or has characters that are not shown.
    """
    text = text.strip(" ")
    if len(text) > longest:
        raise Denied(400, f"the {what} is too long", f"write at most {longest} characters")
    if any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in text):
        raise Denied(400, f"the {what} has control characters", "write one line of plain text")
    return text
