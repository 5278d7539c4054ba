"""The readers of MQTT payloads, of a child's lines and of the journal.

What a message sets off is done too: the engine handles its event, and the journal keeps it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from benchmarks.fuzz.campaign import FuzzedDecoder
from daemon.core.clock import VenueClock
from daemon.core.subprocesses import ChildReport, read_line
from daemon.mqtt import messages as daemon_messages
from daemon.mqtt.messages import CommandReply, DaemonStatus
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.registry.signing import KeyRing, Signer, generate
from daemon.runtime import event_codec
from daemon.runtime.bots.bot_watch import BotWatch
from daemon.runtime.command_log import CommandLog
from daemon.runtime.inbox import BotPrediction, Item
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.recovery import rebuilt
from daemon.runtime.trades import TradeBook
from daemon.store.store import Store
from daemon.training.last_lines import read_challenge, read_verdict
from hyperdrift.mqtt import messages
from hyperdrift.mqtt.messages import BotPresence, SwapAck, SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from monitor import events
from monitor.engine import Engine
from monitor.policy import PolicySettings
from retrain import features

SLOT: Final = SlotName("BTC", "5m")
TOPICS: Final = Topics()
NOW_MS: Final = 1_760_000_000_000

_TRADE: Final = {
    "trade_id": "t-1", "side": "buy", "opened_ms": NOW_MS - 600_000, "closed_ms": NOW_MS,
    "entry": 61000.0, "exit": 61100.5, "size": 0.25, "fee": 1.5, "pnl": 23.6,
}  # fmt: skip
_PREDICTION: Final = {
    "t": NOW_MS, "model_id": "20260101_000000_ba55f4789d38", "p": [0.2, 0.5, 0.3],
    "features": [0.001, None, *[0.5] * 15],
}  # fmt: skip
_ACK: Final = {
    "swap_id": "s-1", "model_id": "20260101_000000_ba55f4789d38", "status": "refused",
    "error": "it is a model of another slot", "load_ms": 812.5, "bot_id": "bot-1",
}  # fmt: skip
_PRESENCE: Final = {
    "online": True, "bot_id": "bot-1", "model_id": "", "python": "3.11.7", "sklearn": "1.7.2",
}  # fmt: skip
_ORDER: Final = {
    "swap_id": "s-1", "model_id": "20260101_000000_ba55f4789d38", "manifest": "/m/LATEST.json",
    "sha256": {"a.joblib": "0" * 64}, "sklearn": "1.7.2", "reason": "drift", "issued_ms": NOW_MS,
}  # fmt: skip
_COMMAND: Final = {
    "command": "retrain", "request_id": "r-1", "reason": "stale model", "issued_ms": NOW_MS,
    "model_id": "", "slot": "BTC-5m", "by": "ann",
}  # fmt: skip
_SCORED: Final = {
    "t": NOW_MS, "close": 61000.0, "row": [0.5] * 17, "model_id": "m", "p": [0.2, 0.5, 0.3],
    "shadow_id": None, "shadow_p": None,
}  # fmt: skip
_LINES: Final[tuple[dict[str, Any], ...]] = (
    {"event": "progress", "step": "twin", "percent": 40.0},
    {"event": "gate", "name": "budget", "value": 0.5, "limit": 1.0, "passed": True},
    {"event": "note", "text": "few bars"},
    {"event": "failed", "error": "too few bars", "kind": "TooFewBars"},
    {"event": "finished", "manifest": "candidate/m.json", "model_id": "20260101_000000_ba5",
     "passed": True, "refused_by": [], "helps": None, "text": "no", "rows": 7, "champion": 0.5},
)  # fmt: skip


def message_decoders(folder: Path) -> list[FuzzedDecoder]:
    """Return the decoders; keys for the signed messages are made in `folder`."""
    private, public = folder / "key", folder / "key.pub"
    generate(private, public)
    signer, verifier = Signer.load(private), Verifier.load(public)
    keys = KeyRing([("ann", verifier)])
    signed, order = (_text(m | {"signature": signer.sign(m)}) for m in (_COMMAND, _ORDER))
    status = _text({"state": "online", "version": "0.1.0", "slots": ["BTC-5m"], "since_ms": NOW_MS})
    reply = _text({"request_id": "r-1", "accepted": True, "detail": "it runs"})
    return [
        _routed("trade", _text(_TRADE), TOPICS.trade(SLOT)),
        _routed("prediction", _text(_PREDICTION), TOPICS.prediction(SLOT)),
        _routed("command", _text(_COMMAND), TOPICS.command(SLOT)),
        _routed("signed command", signed, TOPICS.command(SLOT), keys),
        FuzzedDecoder("acknowledgement", (_text(_ACK),), _acknowledged),
        FuzzedDecoder("presence", (_text(_PRESENCE),), _seen),
        FuzzedDecoder("swap order", (order,), lambda text: _order(verifier, text)),
        FuzzedDecoder("status", (status,), _decoded(DaemonStatus)),
        FuzzedDecoder("reply", (reply,), _decoded(CommandReply)),
        FuzzedDecoder("child line", tuple(map(_text, _LINES)), _child_line, 2),
        FuzzedDecoder("journal", _journal(), _recovered, 0.5),
    ]


class _StillClock:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 1000.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"no decoder waits, and not {seconds} s")


@dataclass
class _Bus:
    """Encodes what is published, and keeps the handlers."""

    handlers: dict[str, Callable[[str, bytes, bool], None]] = field(default_factory=dict)
    published: int = 0

    def subscribe(self, topic: str, handler: Callable[[str, bytes, bool], None]) -> None:
        self.handlers[topic] = handler

    def publish(self, _: str, payload: Any) -> None:
        daemon_messages.encode(payload)
        self.published += 1


@dataclass
class _Items:
    """An inbox that has room for everything."""

    items: list[Item] = field(default_factory=list)

    def put_nowait(self, item: Item) -> bool:
        self.items.append(item)
        return True


class _Slot:
    """The parts of one slot that handle a message, new for each."""

    def __init__(self, keys: KeyRing | None = None) -> None:
        clock = _StillClock()
        self.venue, self.inbox, self.bus = VenueClock(clock), _Items(), _Bus()
        self.router = MessageRouter(
            {SLOT: cast(Any, self.inbox)},
            cast(Any, self.bus),
            TOPICS,
            clock=clock,
            venue=self.venue,
            audit=CommandLog(cast(Any, None), clock, self.venue),
            book=TradeBook(self.venue),
            command_keys=keys,
        )
        self.router.listen()

    def hear(self, topic: str, payload: bytes) -> bool:
        """Hand over a payload; return whether it came through."""
        wild = f"{TOPICS.prefix}/+/{topic.rpartition('/')[2]}"
        handler = self.bus.handlers.get(topic) or self.bus.handlers[wild]
        handler(topic, payload, False)
        if topic == TOPICS.command(SLOT):
            assert self.bus.published + len(self.inbox.items) == 1, "not one answer"
        return self.settle()

    def settle(self) -> bool:
        """Let the engine handle what is in the inbox; return whether there was anything."""
        engine = make_engine(0)
        watch = BotWatch(str(SLOT), _COMPATIBILITY, lambda: False)
        for item in self.inbox.items:
            if isinstance(item, BotPrediction):
                found = watch.predicted(item)
            elif isinstance(item, BotPresence):
                found = [watch.seen(item, NOW_MS)]
            else:
                found = [cast(events.Event, item)]
            for event in found:
                engine.handle(event)
                journalled(event)
        return bool(self.inbox.items)


_STORE: Final = Store(":memory:")
_COMPATIBILITY: Final = BotCompatibility()


def make_engine(history_bars: int) -> Engine:
    """Return an engine that has handled nothing."""
    return Engine(
        str(SLOT),
        PolicySettings(),
        interval_ms=SLOT.interval_ms,
        names=features.NAMES,
        history_bars=history_bars,
    )


def journalled(event: events.Event) -> None:
    """Write an event as the daemon does, and compare what is read back."""
    kind, fields = event_codec.body(event)
    text = msgspec.json.encode(fields)
    read = event_codec.event(event.slot, event.at_ms, kind, msgspec.json.decode(text))
    assert read is not None, f"{kind} cannot be read back"
    with _STORE.database.writing() as db:
        db.execute("DELETE FROM journal")
    _STORE.append_journal(SLOT, event.at_ms, kind, fields)


def _routed(name: str, text: bytes, topic: str, keys: KeyRing | None = None) -> FuzzedDecoder:
    return FuzzedDecoder(name, (text,), lambda payload: _Slot(keys).hear(topic, payload))


def _acknowledged(text: bytes) -> bool:
    slot = _Slot()
    slot.router.acknowledged(SLOT, messages.decode(text, SwapAck), 12.5)
    return slot.settle()


def _seen(text: bytes) -> bool:
    slot = _Slot()
    slot.router.bot_seen(SLOT, messages.decode(text, BotPresence))
    return slot.settle()


def _order(verifier: Verifier, text: bytes) -> bool:
    order = messages.decode(text, SwapOrder)
    messages.encode(order)
    return verifier.verify_payload(text)


def _decoded(kind: type[Any]) -> Callable[[bytes], bool]:
    def read(text: bytes) -> bool:
        return bool(daemon_messages.encode(daemon_messages.decode(text, kind)))

    return read


def _child_line(raw: bytes) -> bool:
    line = read_line(raw)
    if line is None:
        return False
    report = ChildReport(lambda _: None)
    report.take(line)
    if line.get("event") == "progress":
        assert 0 <= float(line["percent"]) <= 100
    daemon_messages.encode({"kind": "verdict", "gates": [line], "place": report.place})
    if report.finished:
        read_challenge(report.finished)
        read_verdict(report.finished)
    return True


def _journal() -> tuple[bytes, ...]:
    event = events.TradeClosed(
        slot=str(SLOT), at_ms=NOW_MS, trade_id="t", side="buy", opened_ms=0, closed_ms=1, pnl=1.0
    )
    kind, fields = event_codec.body(event)
    rows = ((kind, fields), ("BarScored", _SCORED))
    return tuple(
        b"%b\n%b\n%d\n%b" % (kind.encode(), str(SLOT).encode(), NOW_MS, _text(body))
        for kind, body in rows
    )


def _recovered(text: bytes) -> bool:
    """Rebuild an engine from a journal with one row, as a damaged disk may give it."""
    kind, slot, at, body = (text.split(b"\n", 3) + [b""] * 3)[:4]
    at_ms = int(at) if at.isdigit() and len(at) < 18 else NOW_MS
    with _STORE.database.writing() as db:
        db.execute("DELETE FROM journal")
        db.execute(
            "INSERT INTO journal (slot, at_ms, kind, body)"
            " VALUES (CAST(? AS TEXT), ?, CAST(? AS TEXT), CAST(? AS TEXT))",
            (slot, at_ms, kind, body),
        )
    return bool(rebuilt(_STORE, SLOT, 0, make_engine).bars) or kind != b"BarScored"


def _text(value: object) -> bytes:
    return json.dumps(value).encode()
