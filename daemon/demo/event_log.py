"""Collect the events of a run of the demo from the MQTT topics.

Nothing here looks into the daemon; only published messages are counted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

Tell = Callable[[str], None]

# The events whose text is printed. A verdict is printed gate by gate; others are not printed.
_MARKS: Final = {
    "drift": "drift",
    "win_rate": "win rate",
    "retrain_started": "retrain",
    "retrain_failed": "retrain",
    "retrain_stopped": "retrain",
    "swapped": "swap",
    "rolled_back": "rollback",
    "confirmed": "probation",
    "swap_refused": "swap",
    "feed_fault": "feed",
    "alert": "alert",
}


@dataclass(frozen=True, slots=True)
class RetrainSummary:
    """One retrain and the verdict on its candidate; `seconds` is how long it took."""

    job: str
    trigger: str
    reason: str
    model_id: str
    passed: bool
    gates: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True, slots=True)
class SwapSummary:
    """One swap that a bot has acknowledged."""

    model_id: str
    previous_id: str | None
    trigger: str
    reason: str
    gates: list[dict[str, Any]]
    retrain_s: float | None
    load_ms: float
    order_to_ack_ms: float


class EventLog:
    """Collects the messages of one slot; `changed` is set after each message."""

    def __init__(self, slot: SlotName, topics: Topics, tell: Tell) -> None:
        self._slot, self._topics, self._tell = slot, topics, tell
        self.changed = asyncio.Event()
        self.state: dict[str, Any] = {}
        self.retrains: list[RetrainSummary] = []
        self.swaps: list[SwapSummary] = []
        self.replies: list[dict[str, Any]] = []
        self.predictions = self.trades = 0
        self.first_bar_t: int | None = None
        self._last_text = ""
        self._swapped: dict[str, dict[str, Any]] = {}
        self._acknowledged: dict[str, dict[str, Any]] = {}

    def listen(self, bus: MqttConnection) -> None:
        """Subscribe to the topics of the slot."""
        handlers = {
            self._topics.state(self._slot): self._on_state,
            self._topics.event(self._slot): self._on_event,
            self._topics.reply(self._slot): self.replies.append,
            self._topics.prediction(self._slot): self._on_prediction,
            self._topics.trade(self._slot): self._on_trade,
        }
        for topic, handler in handlers.items():
            bus.subscribe(topic, self._decoded(handler))

    @property
    def bars(self) -> int:
        """Bars that were streamed and scored so far."""
        last = self.state.get("last_bar_t")
        if last is None or self.first_bar_t is None:
            return 0
        return int((last - self.first_bar_t) // self._slot.interval_ms + 1)

    def _decoded(
        self, handler: Callable[[dict[str, Any]], None]
    ) -> Callable[[str, bytes, bool], None]:
        def take(_topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
            handler(msgspec.json.decode(payload))
            self.changed.set()

        return take

    def _on_state(self, state: dict[str, Any]) -> None:
        self.state = state
        if self.first_bar_t is None:
            self.first_bar_t = state["last_bar_t"]

    def _on_prediction(self, _: dict[str, Any]) -> None:
        self.predictions += 1

    def _on_trade(self, _: dict[str, Any]) -> None:
        self.trades += 1

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        match kind:
            case "verdict":
                self._on_verdict(event)
            case "swapped":
                self._swapped[event["model_id"]] = event
                self._match(event["model_id"])
            case "acknowledged" if event["status"] == "loaded":
                self._acknowledged[event["model_id"]] = event
                self._match(event["model_id"])
        # An alert may repeat the text of the event before it: print that text once.
        if kind in _MARKS and event["text"] != self._last_text:
            self._last_text = event["text"]
            self._tell(f"{_MARKS[kind]:>9}  {event['text']}")

    def _on_verdict(self, event: dict[str, Any]) -> None:
        for gate in event["gates"]:
            mark = "pass" if gate["passed"] else "FAIL"
            self._tell(f"{'gate':>9}  {mark}  {gate['verdict']}")
        self._tell(f"{'verdict':>9}  {event['text']} ({event['seconds']:.1f} s)")
        names = ("job", "trigger", "reason", "model_id", "passed", "gates", "seconds")
        self.retrains.append(RetrainSummary(*(event[name] for name in names)))

    def _match(self, model_id: str) -> None:
        """Add a swap when both the daemon's event and the bot's acknowledgement have come."""
        live, ack = self._swapped.get(model_id), self._acknowledged.get(model_id)
        if live is None or ack is None or any(s.model_id == model_id for s in self.swaps):
            return
        made = next((r for r in reversed(self.retrains) if r.model_id == model_id), None)
        swap = SwapSummary(
            model_id=model_id,
            previous_id=live["previous_id"],
            trigger=made.trigger if made else "",
            reason=live["text"],
            gates=made.gates if made else [],
            retrain_s=made.seconds if made else None,
            load_ms=ack["load_ms"],
            order_to_ack_ms=ack["order_to_ack_ms"],
        )
        self.swaps.append(swap)
        self._tell(
            f"{'bot':>9}  {ack['bot_id']} took over {model_id}: every check passed, "
            f"{swap.order_to_ack_ms:.0f} ms from order to acknowledgement"
        )


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """The result of a run of the demo; `elapsed_s` is in wall seconds."""

    ended: str
    until_swap: bool
    slot: str
    log: EventLog
    models: tuple[dict[str, Any], ...]
    checked_bars: int
    store_equal: bool
    elapsed_s: float

    @property
    def exit_code(self) -> int:
        """0 if the run reached its end, 1 if it did not."""
        reached = self.ended == "swap" if self.until_swap else self.ended != "timeout"
        return 0 if reached else 1

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "ended": self.ended,
            "slot": self.slot,
            "bars": self.log.bars,
            "predictions": self.log.predictions,
            "trades": self.log.trades,
            "retrains": [asdict(retrain) for retrain in self.log.retrains],
            "swaps": [asdict(swap) for swap in self.log.swaps],
            "models": list(self.models),
            "store": {"checked_bars": self.checked_bars, "equal_to_recording": self.store_equal},
            "elapsed_s": round(self.elapsed_s, 1),
        }
