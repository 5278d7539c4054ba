"""Run `hyperdrift top`: hear the daemon over MQTT, take keys, draw a few times a second at most."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from daemon.admin import journal_reading, remote_client, status_view
from daemon.admin.status_text import venue_ms
from daemon.admin.top import keys, top_state
from daemon.admin.top.screen import draw
from daemon.admin.top.terminal import Terminal, held
from daemon.admin.top.top_state import TopState
from daemon.config.loader import broker_address, operator_login
from daemon.config.schema import Config
from daemon.core.outside_text import decode_json
from daemon.core.tasks import running
from daemon.journal.line import JournalLine
from daemon.journal.sentences import say
from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.store.data_folder import open_store
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, HyperdriftError
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

_FASTEST_S: Final = 0.25
"""Time between two drawings at least."""
_SLOWEST_S: Final = 5.0
"""Time between two drawings at most."""
_JOURNAL_LINES: Final = 50


class LiveTop:
    """The state of the screen, and what changes it.

    Args:
        config: Names the store, for what happened before.
        bus: The connection to the broker.
        clock: The time.
    """

    def __init__(self, config: Config, bus: MqttConnection, clock: Clock) -> None:
        self._config, self._bus, self._clock = config, bus, clock
        self._topics, self._known = Topics(config.mqtt.prefix), set[str]()
        self._changed, self._most = asyncio.Event(), 0
        self._opened, self._to_read = set[str](), asyncio.Queue[SlotName]()
        self.state = TopState()

    async def run(self) -> None:
        """Show the screen until somebody leaves.

        Raises:
            BadInput: If there is no terminal.
        """
        with held(self._on_input, self._changed.set) as terminal:
            self._bus.subscribe(self._topics.status, self._safely(self._on_status))
            self._bus.subscribe(f"{self._topics.prefix}/+/event", self._safely(self._on_event))
            async with (
                running(self._look_after(), "top-connection"),
                running(self._read_journals(), "top-journals"),
            ):
                while not self.state.has_ended:
                    self._draw(terminal)
                    await self._pause()

    async def _pause(self) -> None:
        """Wait for a change, and long enough for others that come with it."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SLOWEST_S):
                await self._changed.wait()
        if not self.state.has_ended:
            await self._clock.sleep(_FASTEST_S)

    def _draw(self, terminal: Terminal) -> None:
        row = self.state.selected_row()
        now_ms = (row and venue_ms(row.slot, row.state)) or self._clock.now_ms()
        drawn = draw(self.state, *terminal.size, now_ms)
        self._most = drawn.most_scrolled
        terminal.show(drawn.lines)

    def _become(self, state: TopState) -> None:
        if state is not self.state:
            self.state = state
            self._changed.set()

    async def _look_after(self) -> None:
        """Say it while the broker is away."""
        while True:
            why = "" if self._bus.connected else "the broker is away; what is shown is old"
            if why != self.state.trouble:
                self._become(replace(self.state, trouble=why))
            await self._clock.sleep(1.0)

    def _on_input(self, given: bytes) -> None:
        for key in keys.named(given) if given else ["q"]:
            was = self.state
            new = top_state.pressed(was, key)
            if new.opened:
                new = replace(new, scrolled=min(new.scrolled, self._most if was.opened else 0))
                if not was.opened:
                    self._load(new.selected)
            self._become(new)

    # News.

    def _safely(self, take: Callable[[str, bytes], None]) -> Callable[[str, bytes, bool], None]:
        def handler(topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
            with contextlib.suppress(BadInput):  # what is no message changes nothing
                take(topic, payload)

        return handler

    def _on_status(self, _topic: str, payload: bytes) -> None:
        status = decode_json(payload, DaemonStatus)
        self._become(top_state.heard_daemon(self.state, status))
        for name in status.slots:
            slot = top_state.slot_of(name)
            if slot is not None and name not in self._known:
                self._known.add(name)
                self._bus.subscribe(self._topics.state(slot), self._safely(self._on_state))

    def _on_state(self, topic: str, payload: bytes) -> None:
        if found := self._topics.slot_of(topic):
            state = decode_json(payload, SlotState)
            now_ms = venue_ms(str(found[0]), state) or self._clock.now_ms()
            self._become(top_state.heard_slot(self.state, found[0], state, now_ms))

    def _on_event(self, topic: str, payload: bytes) -> None:
        found = self._topics.slot_of(topic)
        fields = decode_json(payload, dict[str, Any])
        kind, at_ms = fields.get("kind"), fields.get("at_ms")
        if found and isinstance(kind, str) and isinstance(at_ms, int):
            said = say(kind, fields, at_ms)
            names = {"slot": str(found[0]), "kind": kind, "text": said.text}
            line = JournalLine(seq=0, at_ms=at_ms, severity=said.severity, fields=fields, **names)
            self._become(top_state.heard_line(self.state, line))

    def _load(self, name: str) -> None:
        """Read what happened to a slot before, if the store is on this host."""
        slot = top_state.slot_of(name)
        if slot is not None and name not in self._opened:
            self._opened.add(name)
            self._to_read.put_nowait(slot)

    async def _read_journals(self) -> None:
        while True:
            slot = await self._to_read.get()
            with contextlib.suppress(HyperdriftError, OSError):
                lines = await asyncio.to_thread(_journal, self._config, slot)
                self._become(top_state.heard_line(self.state, *lines))


def _journal(config: Config, slot: SlotName) -> list[JournalLine]:
    with open_store(config.data_dir, read_only=True) as store:
        wanted = journal_reading.JournalFilter(slot=slot, limit=_JOURNAL_LINES)
        return journal_reading.newest(store, wanted).lines


async def show(config: Config, clock: Clock) -> None:
    """Show the slots of the running daemon until somebody leaves.

    Raises:
        BadInput: If there is no terminal.
        NoAnswer: If there is no broker; says why if that is known.
    """
    with status_view.explained(config, broker=True):
        connection = remote_client.connected(
            broker_address(config.mqtt), clock, operator_login(config)
        )
        async with connection as bus:
            await LiveTop(config, bus, clock).run()
