"""What a start knows: of the days that it replays, and of what came before and still holds."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from daemon.runtime import event_codec
from daemon.runtime.recovery import JOURNAL_DAYS, Rebuilt, rebuilt
from daemon.store.store import Store
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor import actions, events
from monitor.drift.calibration import calibrate
from monitor.engine import Engine
from monitor.policy import PolicySettings

SLOT, STEP, START = SlotName("BTC", "5m"), 300_000, 1_750_032_000_000
NAMES = tuple(f"f{i}" for i in range(4))
SETTINGS = PolicySettings(min_bars=1, min_new_bars=0, cooldown_hours=0.0)


@cache
def calibration() -> str:
    rows = np.random.default_rng(1).standard_normal((20 * 288, len(NAMES)))
    return calibrate(rows, NAMES, 288).to_json()


def fresh(history_bars: int) -> Engine:
    return Engine(str(SLOT), SETTINGS, interval_ms=STEP, names=NAMES, history_bars=history_bars)


class Slot:
    """A daemon that writes what it hears into its journal."""

    def __init__(self, store: Store) -> None:
        self.store, self.engine, self.now_ms = store, fresh(0), START

    def give(self, kind: type[events.Event], **fields: Any) -> tuple[actions.Action, ...]:
        event = kind(slot=str(SLOT), at_ms=self.now_ms, **fields)
        self.store.append_journal(SLOT, event.at_ms, *event_codec.body(event))
        return self.engine.handle(event)

    def serve(self, model_id: str, previous_id: str | None = None) -> None:
        fields: dict[str, Any] = {"horizon_bars": 12, "threshold": 0.005, "up": 0.4, "down": 0.4}
        served = partial(self.give, events.ModelServed, calibration=calibration(), **fields)
        served(model_id=model_id, previous_id=previous_id, reason="r", trained_to_ms=self.now_ms)

    def bar(self, row: tuple[float, ...] = (0.0,) * len(NAMES)) -> tuple[actions.Action, ...]:
        t, self.now_ms = self.now_ms, self.now_ms + STEP
        return self.give(events.BarScored, t=t, close=100.0, row=row, model_id="m1")

    def command(self, command: str, model_id: str = "") -> None:
        given = {"request_id": command, "command": command, "reason": "", "model_id": model_id}
        self.give(events.CommandReceived, **given)

    def restarted(self) -> Rebuilt:
        return rebuilt(self.store, SLOT, self.now_ms - JOURNAL_DAYS * DAY_MS, fresh)


@pytest.fixture
def slot() -> Iterator[Slot]:
    with Store(":memory:") as store:
        yield Slot(store)


@pytest.mark.parametrize(
    ("commands", "phase"),
    [(("pause",), "paused"), (("pause", "resume"), "serving"), ((), "serving")],
)
def test_a_start_knows_a_model_and_a_pause_that_are_older_than_what_it_replays(
    slot: Slot, commands: tuple[str, ...], phase: str
) -> None:
    slot.serve("m0")
    slot.serve("m1", "m0")
    live_since_ms = slot.now_ms
    for command in commands:
        slot.command(command)
    slot.now_ms += 6 * DAY_MS
    slot.command("dance")
    slot.now_ms += 40 * DAY_MS
    slot.bar()
    past = slot.restarted()
    now = past.engine.snapshot()
    assert (now.model_id, now.previous_id, now.live_since_ms) == ("m1", "m0", live_since_ms)
    assert now.paused == (phase == "paused")
    assert past.replayed == 1


def refuse(slot: Slot, job_id: str | None) -> None:
    slot.give(events.RetrainFinished, job_id=job_id, model_id="bad", passed=False)


def test_a_retrain_has_its_id_also_for_a_start_that_replays_only_what_came_later(
    slot: Slot,
) -> None:
    slot.serve("m1")
    slot.command("retrain")
    refuse(slot, slot.engine.snapshot().job_id)
    slot.now_ms += 50 * DAY_MS
    slot.command("retrain")
    job_id = slot.engine.snapshot().job_id
    assert job_id is not None
    assert slot.restarted().engine.snapshot().job_id == job_id
    refuse(slot, job_id)
    now = slot.restarted().engine.snapshot()
    assert now.job_id is None
    assert now.refusal is not None
    assert now.refusal.at_ms == slot.now_ms


def test_a_start_understands_the_ids_of_a_journal_that_counts_all_jobs(slot: Slot) -> None:
    slot.serve("m1")
    slot.command("retrain")
    older = f"{SLOT}-{slot.now_ms}-7"
    slot.give(events.TurnCame, job_id=older)
    assert slot.restarted().engine.snapshot().job_begun
    slot.give(
        events.RetrainFinished, job_id=f"{SLOT}-{slot.now_ms - 1}-7", model_id="x", passed=True
    )
    assert slot.restarted().engine.snapshot().job_begun, "the end of another one"
    refuse(slot, older)
    now = slot.restarted().engine.snapshot()
    assert now.job_id is None
    assert now.refusal is not None


def asked(slot: Slot) -> str:
    """Let a feature drift until a challenger is asked; return the name of the question."""
    slot.serve("m1")
    rng = np.random.default_rng(3)
    for _ in range(500):
        row = rng.standard_normal(len(NAMES))
        row[2] += 4
        for order in slot.bar(tuple(row.tolist())):
            if isinstance(order, actions.AskChallenger):
                return order.job_id
    raise AssertionError("nobody was asked")


def test_a_start_asks_a_challenger_again_though_a_swap_failed_since_it_was_asked(
    slot: Slot,
) -> None:
    job_id = asked(slot)
    slot.command("promote", "mistyped")
    assert isinstance(slot.restarted().order, actions.Promote)
    slot.give(events.SwapFailed, model_id="mistyped", error="it does not exist")
    past = slot.restarted()
    assert isinstance(past.order, actions.AskChallenger)
    assert past.order.job_id == past.engine.snapshot().challenge_id == job_id
