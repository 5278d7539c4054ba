"""An engine that was kept goes on as the journal would have it, or is not used at all."""

import os
import pickle
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.runtime import event_codec
from daemon.runtime.checkpoints.engine_keeper import EngineKeeper
from daemon.runtime.checkpoints.engine_state import StateUnreadable, engine_of, key_of, state_of
from daemon.runtime.recovery import Rebuilt, rebuilt
from daemon.store import engine_table
from daemon.store.async_store import ThreadedStore
from daemon.store.journal_pages import newest_seq
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import events
from monitor.drift.calibration import calibrate
from monitor.engine import Engine
from monitor.policy import PolicySettings
from retrain import features

SLOT, STEP, START = SlotName("BTC", "5m"), 300_000, 1_750_000_200_000
DAY = 288
SETTINGS = PolicySettings(min_new_bars=10**9, min_bars=10**9)

ROWS = np.random.default_rng(1).standard_normal((12 * 288, len(features.NAMES)))


@cache
def calibration() -> str:
    return calibrate(ROWS, features.NAMES, 288).to_json()


def fresh(history_bars: int, settings: PolicySettings = SETTINGS) -> Engine:
    names = features.NAMES
    return Engine(str(SLOT), settings, interval_ms=STEP, names=names, history_bars=history_bars)


class Slot:
    """The store of a slot and the engine of its running daemon."""

    def __init__(self, settings: PolicySettings = SETTINGS) -> None:
        self.store = Store(":memory:")
        self.threaded = ThreadedStore(self.store)
        self.engine, self.bars = fresh(0, settings), 0
        self.keeper = EngineKeeper(SLOT, self.threaded)
        self.keeper.begin(None, 0, 0)
        served = events.ModelServed(
            slot=str(SLOT), at_ms=START, model_id="new", previous_id="old", reason="r",
            trained_to_ms=START, horizon_bars=12, threshold=0.005, up=0.4, down=0.4,
            calibration=calibration(),
        )  # fmt: skip
        self.give(served)

    def give(self, event: events.Event) -> None:
        self.engine.handle(event)
        self.store.append_journal(SLOT, event.at_ms, *event_codec.body(event))

    def score(self, count: int) -> None:
        for _ in range(count):
            t, close = START + self.bars * STEP, 100.0 + self.bars % 7
            row = tuple(ROWS[self.bars % len(ROWS)].tolist())
            p = (0.5, 0.2, 0.3)
            bar = Bar(t, close, close, close, close, 1.0)
            self.store.put_bars(SLOT, [bar], Provenance.REST)
            self.give(
                events.BarScored(
                    slot=str(SLOT), at_ms=t + STEP, t=t, close=close, row=row, model_id="new", p=p,
                    shadow_id="old", shadow_p=p,
                )
            )  # fmt: skip
            self.keeper.scored(t)
            self.bars += 1

    def retrain(self) -> None:
        """Begin a retrain as an operator asks; it is stopped, begins again and fails."""
        common: Any = {"slot": str(SLOT), "at_ms": START + self.bars * STEP + 1}
        asked: Any = dict.fromkeys(("request_id", "reason", "model_id", "by"), "x")
        self.give(events.CommandReceived(**common, command="retrain", **asked))
        for stopped in (True, False):
            job_id = self.engine.snapshot().job_id or ""
            ended: Any = {**common, "job_id": job_id, "error": "it failed", "stopped": stopped}
            self.give(events.RetrainFailed(**ended))

    async def keep(self) -> None:
        await self.keeper.keep(self.engine)

    def restarted(self, settings: PolicySettings = SETTINGS) -> Rebuilt:
        return rebuilt(self.store, SLOT, 0, partial(fresh, settings=settings))


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot()
    yield made
    made.threaded.close()


async def test_a_kept_engine_goes_on_as_the_one_that_the_journal_rebuilds(slot: Slot) -> None:
    slot.score(150)
    await slot.keep()
    slot.score(70)
    kept = slot.restarted()
    slot.store.database.read("DELETE FROM engines")
    whole = slot.restarted()
    assert (kept.replayed, whole.replayed) == (70, 220)
    assert kept.engine.snapshot() == whole.engine.snapshot() == slot.engine.snapshot()
    assert list(kept.engine.gains) == list(whole.engine.gains)
    assert (kept.first_t, kept.before) == (whole.first_t, whole.before)
    assert kept.bars[-1] == whole.bars[-1]


async def test_after_a_stop_that_is_soon_over_the_newest_bars_are_known(slot: Slot) -> None:
    slot.score(100)
    await slot.keep()
    past = slot.restarted()
    assert past.replayed == 0
    assert [bar.t for bar in past.bars] == [START + n * STEP for n in range(36, 100)]


async def test_records_of_other_settings_or_older_bars_build_the_engine_anew(slot: Slot) -> None:
    slot.score(20)
    await slot.keep()
    assert slot.restarted().replayed == 0
    assert slot.restarted(replace(SETTINGS, win_rate_trades=7)).replayed == 20
    older = Bar(START - STEP, 1.0, 1.0, 1.0, 1.0, 1.0)
    slot.store.put_bars(SLOT, [older], Provenance.REST)
    past = slot.restarted()
    assert (past.replayed, past.before) == (20, 1)


async def test_nothing_is_kept_while_a_retrain_is_under_way(slot: Slot) -> None:
    slot.score(5)
    asked = events.CommandReceived(
        slot=str(SLOT), at_ms=START + 5 * STEP, request_id="r", command="retrain", reason="",
        model_id="", by="",
    )  # fmt: skip
    slot.give(asked)
    assert slot.engine.snapshot().job_id is not None
    await slot.keep()
    assert engine_table.kept(slot.store.database, SLOT) is None


async def same_under(slot: Slot, settings: PolicySettings) -> bool:
    """Return whether the kept engine goes on under other settings; then as a replayed one."""
    await slot.keep()
    kept = slot.restarted(settings)
    slot.store.database.read("DELETE FROM engines")
    whole = slot.restarted(settings)
    for at in range(3):
        assert kept.engine.snapshot() == whole.engine.snapshot(), at
        seq = newest_seq(slot.store.database)
        slot.score(30)
        for one in event_codec.read(slot.store, SLOT, 0, seq):
            assert kept.engine.handle(one) == whole.engine.handle(one)
    assert kept.engine.lasting == whole.engine.lasting
    return kept.replayed == 0


@pytest.mark.parametrize(
    ("change", "may_at"),
    [
        *(({"retry_bars": 0}, 120 + DAY), ({"retry_bars": 1000}, 160 + 1000)),
        *(
            ({"max_retrains_per_day": most}, bar + DAY)
            for most, bar in ((1, 160), (3, 80), (4, 40))
        ),
        *(({"max_retrains_per_day": most}, 251) for most in (0, 9)),
    ],
)
async def test_what_only_decides_costs_no_replay_and_decides_as_after_one(
    change: dict[str, Any], may_at: int
) -> None:
    settings = replace(
        SETTINGS, min_new_bars=0, cooldown_hours=0.0, probation_hours=1.0, retry_bars=2
    )
    slot = Slot(settings)
    for _ in range(4):
        slot.score(40)
        slot.retrain()
    slot.score(1)
    other = replace(settings, **change)
    assert await same_under(slot, other)
    may_retrain_ms = slot.restarted(other).engine.snapshot().may_retrain_ms
    assert round((may_retrain_ms - START) / STEP) == may_at
    slot.threaded.close()


@pytest.mark.parametrize(
    ("bars", "hours", "goes_on"),
    [
        *((20, 3.0, True), (20, 1.7, True), (20, 1.0, False)),  # after 100 minutes of 2 h
        *((30, 1.0, True), (30, 2.4, True), (30, 5.0, False)),  # half an hour after its end
        (30, 2.0, True),
    ],
)
async def test_another_length_of_probation_costs_a_replay_where_the_present_one_differs(
    bars: int, hours: float, goes_on: bool
) -> None:
    settings = replace(SETTINGS, probation_hours=2.0)
    slot = Slot(settings)
    slot.score(bars)
    assert await same_under(slot, replace(settings, probation_hours=hours)) is goes_on
    slot.threaded.close()


async def test_another_policy_decides_from_now_on_and_costs_no_replay(slot: Slot) -> None:
    slot.score(20)
    await slot.keep()
    slot.score(3)
    other = replace(SETTINGS, min_new_bars=7, max_age_days=1 / 288)
    past = slot.restarted(other)
    assert past.replayed == 3
    assert past.engine.settings == other
    assert past.engine.snapshot().job_id is None  # still on probation
    assert "probation" in past.engine.snapshot().waiting_for
    slot.engine.settings = other  # as a reload does
    slot.score(2)
    await slot.keep()
    past = slot.restarted(other)
    assert past.replayed == 0
    assert past.engine.snapshot() == slot.engine.snapshot()


async def test_a_damaged_state_costs_a_replay_and_nothing_else(slot: Slot) -> None:
    slot.score(20)
    await slot.keep()
    made = engine_table.kept(slot.store.database, SLOT)
    assert made is not None
    evil = zlib.compress(pickle.dumps(os.getcwd))
    for state in (b"", made.state[:-9], evil, zlib.compress(b"\x80\x05N."), b"\x00" + made.state):
        engine_table.keep(slot.store.database, SLOT, made._replace(state=state))
        assert slot.restarted().replayed == 20


@pytest.mark.parametrize("callable_", [os.system, eval, getattr, partial, key_of])
def test_a_state_names_no_other_class(callable_: object) -> None:
    with pytest.raises(StateUnreadable, match="is no part of an engine"):
        engine_of(pickle.dumps(callable_, protocol=5))


@pytest.mark.parametrize("name", ["np.random.mtrand.RandomState", "np.testing.TestCase"])
def test_a_state_reaches_no_class_through_what_the_monitor_imports(name: str) -> None:
    named = (f"\x8c{chr(len(text))}{text}" for text in ("monitor.drift.calibration", name))
    state = "".join(("\x80\x04", *named, "\x93)R.")).encode("latin-1")  # name(), as pickle has it
    with pytest.raises(StateUnreadable, match="is no part of an engine"):
        engine_of(state)


def test_a_state_gives_an_equal_engine_back() -> None:
    engine = fresh(7)
    again, order = engine_of(state_of(engine))
    assert again.snapshot() == engine.snapshot()
    assert order is None
    assert key_of(engine) == key_of(fresh(8)) == key_of(fresh(7, replace(SETTINGS, min_bars=3)))
    assert key_of(engine) != key_of(fresh(7, replace(SETTINGS, win_rate_floor=0.4)))
