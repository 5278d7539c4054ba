"""Collect the events of a run of the demo from the MQTT topics.

Nothing here looks into the daemon; only published messages are counted.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

Tell = Callable[[str], None]

# The events whose text is printed. A verdict is printed gate by gate; others are not printed.
_MARKS: Final = {
    "drift": "drift",
    "market_drift": "market",
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
    """Collects the messages of one slot; `changed` is set after each message.

    Args:
        slot: The slot.
        topics: Names the topics.
        tell: Prints a line.
        changed: Set after each message; None makes an event of its own.
        several: Whether the lines of other slots stand beside. They name the slot, and leave
            out the gates that passed and the drift that comes while a retrain is under way.
    """

    def __init__(
        self,
        slot: SlotName,
        topics: Topics,
        tell: Tell,
        *,
        changed: asyncio.Event | None = None,
        several: bool = False,
    ) -> None:
        self.slot, self._topics, self._tell, self._several = slot, topics, tell, several
        self.changed = changed or asyncio.Event()
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
            self._topics.state(self.slot): self._on_state,
            self._topics.event(self.slot): self._on_event,
            self._topics.reply(self.slot): self.replies.append,
            self._topics.prediction(self.slot): self._on_prediction,
            self._topics.trade(self.slot): self._on_trade,
        }
        for topic, handler in handlers.items():
            bus.subscribe(topic, self._decoded(handler))

    @property
    def bars(self) -> int:
        """Bars that were streamed and scored so far."""
        last = self.state.get("last_bar_t")
        if last is None or self.first_bar_t is None:
            return 0
        return int((last - self.first_bar_t) // self.slot.interval_ms + 1)

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
        is_known = self._several and kind == "drift" and bool(self.state.get("retrain"))
        if kind in _MARKS and not is_known and event["text"] != self._last_text:
            self._last_text = event["text"]
            if kind == "market_drift":  # it names its slots
                self._tell(f"{_MARKS[kind]:>9}  {event['text']}")
            else:
                self._say(_MARKS[kind], event["text"])

    def _on_verdict(self, event: dict[str, Any]) -> None:
        for gate in event["gates"]:
            if not (self._several and gate["passed"]):
                mark = "pass" if gate["passed"] else "FAIL"
                self._say("gate", f"{mark}  {gate['verdict']}")
        self._say("verdict", f"{event['text']} ({event['seconds']:.1f} s)")
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
        self._say(
            "bot",
            f"{ack['bot_id']} took over {model_id}: every check passed, "
            f"{swap.order_to_ack_ms:.0f} ms from order to acknowledgement",
        )

    def _say(self, mark: str, text: str) -> None:
        whose = f"{self.slot!s:<9} " if self._several else ""
        self._tell(f"{mark:>9}  {whose}{text}")
