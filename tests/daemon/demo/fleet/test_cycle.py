"""A demo of several slots, told by the messages that a daemon publishes."""

import json
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from daemon.demo.demo import PATIENCE_BARS, Operator
from daemon.demo.fleet import fleet_screen
from daemon.demo.fleet.cycle import DemoSlot, DemoSummary, FleetLog
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

BTC, ETH, SOL = (SlotName(coin, "5m") for coin in ("BTC", "ETH", "SOL"))
GATES = [
    {"name": "test_accuracy", "passed": True, "verdict": "test accuracy 0.7"},
    {"name": "calibrated", "passed": False, "verdict": "ECE 0.2 of UP is above 0.05"},
]
IDLE: dict[str, Any] = {
    "phase": "serving", "last_bar_t": 0, "retrain": None, "win_rate": None, "trades": 0,
    "drift": {"rv_1h": 0.5},
}  # fmt: skip


class Bus:
    """Keeps the subscriptions of a fleet, and hands messages to them."""

    def __init__(self, *slots: SlotName) -> None:
        self.told: list[str] = []
        self.fleet = FleetLog(slots, self.told.append)
        self._handlers: dict[str, Any] = {}
        for log in self.fleet.logs:
            log.listen(self)  # type: ignore[arg-type]

    def subscribe(self, topic: str, handler: Any) -> None:
        self._handlers[topic] = handler

    def state(self, slot: SlotName, **fields: Any) -> None:
        topic = Topics().state(slot)
        self._handlers[topic](topic, json.dumps(IDLE | fields).encode(), True)

    def event(self, slot: SlotName, kind: str, text: str = "", **fields: Any) -> None:
        topic = Topics().event(slot)
        body = json.dumps({"kind": kind, "text": text, **fields}).encode()
        self._handlers[topic](topic, body, False)
        self.fleet.look()

    def verdict(self, slot: SlotName, trigger: str, *, passed: bool = True) -> None:
        gates = [gate for gate in GATES if gate["passed"] or not passed]
        made: dict[str, Any] = {
            "job": "j",
            "trigger": trigger,
            "reason": trigger,
            "model_id": f"{slot}-{trigger}",
        }
        self.event(slot, "verdict", "a verdict", **made, passed=passed, gates=gates, seconds=9.0)

    def swap(self, slot: SlotName, trigger: str) -> None:
        self.verdict(slot, trigger)
        model = f"{slot}-{trigger}"
        self.event(slot, "swapped", f"{model} is live", model_id=model, previous_id=None)
        ack: dict[str, Any] = {
            "status": "loaded",
            "bot_id": "paper",
            "load_ms": 5.0,
            "order_to_ack_ms": 40.0,
        }
        self.event(slot, "acknowledged", model_id=model, **ack)


def test_a_slot_alone_is_done_with_a_swap_that_has_a_cause() -> None:
    bus = Bus(BTC)
    bus.state(BTC, phase="retraining")
    bus.swap(BTC, "first")
    assert not bus.fleet.cycle_is_done()
    bus.swap(BTC, "drift")
    assert bus.fleet.cycle_is_done()


def test_several_slots_are_done_when_half_have_swapped_though_another_retrains() -> None:
    bus = Bus(BTC, ETH, SOL)
    for slot in (BTC, ETH, SOL):
        bus.state(slot)
        bus.swap(slot, "first")
    bus.swap(ETH, "drift")
    assert not bus.fleet.cycle_is_done(), "one of three is no half"
    bus.state(SOL, phase="retraining", retrain={"job": "j", "step": "judge", "percent": 55.0})
    bus.swap(BTC, "drift")
    assert bus.fleet.cycle_is_done()
    bus.verdict(SOL, "drift", passed=False)
    assert bus.fleet.order == ["ETH-5m", "BTC-5m", "SOL-5m"]


def test_no_cycle_is_done_before_every_slot_has_a_model_or_a_verdict_on_it() -> None:
    bus = Bus(BTC, ETH)
    for slot in (BTC, ETH):
        bus.state(slot)
    bus.swap(BTC, "first")
    bus.swap(BTC, "drift")
    assert not bus.fleet.cycle_is_done()
    bus.verdict(ETH, "first", passed=False)
    bus.state(ETH, phase="collecting")
    assert bus.fleet.cycle_is_done()


def test_lines_of_several_slots_name_them_and_leave_out_what_is_of_no_news() -> None:
    bus = Bus(BTC, ETH)
    bus.state(ETH)
    bus.event(ETH, "drift", "rv_1h went up")
    bus.state(ETH, phase="retraining", retrain={"job": "j", "step": "judge", "percent": 55.0})
    bus.event(ETH, "drift", "mom_1 went up")
    bus.verdict(ETH, "drift", passed=False)
    assert bus.told == [
        "    drift  ETH-5m    rv_1h went up",
        "     gate  ETH-5m    FAIL  ECE 0.2 of UP is above 0.05",
        "  verdict  ETH-5m    a verdict (9.0 s)",
    ]


def test_lines_of_a_slot_alone_name_it_nowhere_and_have_every_gate() -> None:
    bus = Bus(BTC)
    bus.verdict(BTC, "first", passed=False)
    assert bus.told == [
        "     gate  pass  test accuracy 0.7",
        "     gate  FAIL  ECE 0.2 of UP is above 0.05",
        "  verdict  a verdict (9.0 s)",
    ]


def test_the_screen_says_what_each_slot_does_and_which_place_it_has_in_the_queue() -> None:
    bus = Bus(BTC, ETH, SOL)
    bus.state(BTC, retrain={"job": "j", "step": "judge", "percent": 55.0}, phase="retraining")
    waits = {"job": "k", "step": "waiting", "percent": 0.0, "place": 2, "waiting": 6}
    bus.state(ETH, retrain=waits, phase="retraining")
    bus.state(SOL)
    line = fleet_screen.status(bus.fleet.logs)
    assert line.endswith("1 retraining, 1 serving, 1 waiting")
    console = Console(width=140)
    with console.capture() as shown:
        console.print(fleet_screen.panel(bus.fleet.logs))
    text = shown.get()
    assert "judge 55 %" in text
    assert "waits, 2 of 6" in text
    assert "drift rv_1h 50%" in text


def test_the_table_at_the_end_has_a_row_for_each_slot_with_its_place_in_the_order() -> None:
    bus = Bus(BTC, ETH)
    for slot in (BTC, ETH):
        bus.state(slot)
        bus.swap(slot, "first")
    bus.swap(ETH, "drift")
    bus.verdict(BTC, "drift", passed=False)
    models = ({"model_id": "m1", "live": True},)
    slots = tuple(DemoSlot(str(log.slot), log, models, 5, True) for log in bus.fleet.logs)
    summary = DemoSummary("swap", True, slots, tuple(bus.fleet.order), 200.0)
    btc, eth = fleet_screen.rows(summary)
    assert len(btc) == len(fleet_screen.TITLES)
    assert btc[3:] == ("passed, 9 s", "drift", "2. of 2, refused, 9 s", "", "m1")
    assert eth[5:7] == ("1. of 2, passed, 9 s", "took over in 40 ms")
    document = summary.document()
    assert document["order"] == ["ETH-5m", "BTC-5m"]
    assert [slot["slot"] for slot in document["slots"]] == ["BTC-5m", "ETH-5m"]
    assert summary.exit_code == 0
    assert DemoSummary("timeout", True, slots, (), 1.0).exit_code == 1
    assert DemoSummary("interrupted", True, slots, (), 1.0).exit_code == 130
    assert DemoSummary("interrupted", False, slots, (), 1.0).exit_code == 0


def test_an_operator_holds_up_no_first_model_and_asks_for_each_slot_once() -> None:
    bus = Bus(BTC, ETH)
    sent: list[str] = []
    bus.publish = lambda topic, _: sent.append(topic)  # type: ignore[attr-defined]
    options = SimpleNamespace(until_swap=True)
    setup = SimpleNamespace(slots=(BTC, ETH), options=options)
    screen = SimpleNamespace(tell=bus.told.append)
    parts: Any = (setup, bus.fleet, bus, SystemClock(), screen)
    operator = Operator(*parts)
    for slot in (BTC, ETH):
        bus.state(slot, last_bar_t=0)
        bus.state(slot, last_bar_t=(PATIENCE_BARS + 1) * BTC.interval_ms)
    bus.swap(BTC, "first")
    operator.consider(0)
    assert sent == [], "ETH has no model yet"
    bus.swap(ETH, "first")
    operator.consider(None)
    operator.consider(PATIENCE_BARS)
    assert sent == [], "the market has not changed, or not for long"
    operator.consider(0)
    operator.consider(0)
    assert sent == [Topics().command(BTC), Topics().command(ETH)]
    bus.swap(BTC, "drift")
    for slot in (BTC, ETH):
        bus.state(slot, last_bar_t=(2 * PATIENCE_BARS + 2) * BTC.interval_ms)
    operator.consider(0)
    assert sent[2:] == [Topics().command(ETH)], "BTC has done what it was to show"
