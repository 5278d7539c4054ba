"""What happens in a run of the demo, gathered from the MQTT topics that everybody sees.

Nothing here looks into the daemon: it counts only what the daemon publishes.
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

# What is told as it is; a verdict is told gate by gate, a decision to wait not at all.
_MARKS: Final = {
    "drift": "drift",
    "win_rate": "win rate",
    "retrain_started": "retrain",
    "retrain_failed": "retrain",
    "swapped": "swap",
    "rolled_back": "rollback",
    "confirmed": "probation",
    "swap_refused": "swap",
    "feed_fault": "feed",
    "alert": "alert",
}


@dataclass(frozen=True, slots=True)
class RetrainSummary:
    """One retrain and its verdict."""

    job: str
    trigger: str
    reason: str
    model_id: str
    passed: bool
    gates: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True, slots=True)
class SwapSummary:
    """One version that a bot took over."""

    model_id: str
    previous_id: str | None
    trigger: str
    reason: str
    gates: list[dict[str, Any]]
    retrain_s: float | None
    load_ms: float
    order_to_ack_ms: float


class EventLog:
    """Listens to one slot; `changed` is set whenever something happened."""

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
        """Subscribe to everything that the slot says."""
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
        """How many bars were streamed and scored so far."""
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
        # An alert repeats, louder, what another event has just said.
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
        """A swap is told when the daemon says that it is live and the bot that it has it."""
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
    """How a run went."""

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
        """0 after what was asked for, 1 if it was not reached."""
        reached = self.ended == "swap" if self.until_swap else self.ended != "timeout"
        return 0 if reached else 1

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
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
