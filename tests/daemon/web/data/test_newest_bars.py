from typing import Any

from daemon.core.bars import Bar, Provenance
from daemon.store.store import Store
from daemon.web.data.newest_bars import NewestBars
from daemon.web.data.version_reader import Thresholds
from hyperdrift.slot_name import SlotName

SLOT, STEP, FIRST_T = SlotName("BTC", "5m"), 300_000, 1_750_000_200_000
THRESHOLDS = {"m1": Thresholds(up=0.4, down=0.4)}


def put(store: Store, number: int, **scored: Any) -> int:
    t = FIRST_T + number * STEP
    store.put_bars(SLOT, [Bar(t, 1.0, 3.0, 0.5, 2.0, 9.0, 1)], Provenance.REST)
    if scored:
        store.append_journal(SLOT, t + STEP, "BarScored", {"t": t, **scored})
    return t


def test_each_bar_has_what_the_model_that_scored_it_decided() -> None:
    with Store(":memory:") as store:
        put(store, 0)
        put(store, 1, model_id=None, p=None)
        put(store, 2, model_id="m1", p=[0.5, 0.3, 0.2])
        put(store, 3, model_id="m1", p=[0.3, 0.4, 0.3])
        put(store, 4, model_id="gone", p=[0.1, 0.1, 0.8])
        newest = put(store, 5, model_id="m1", p=[0.1, 0.1, 0.8])
        lines = NewestBars.read(store, SLOT).lines(THRESHOLDS)
    assert [line.decision for line in lines] == ["UP", "", "NEUTRAL", "DOWN", "", ""]
    assert [line.p is None for line in lines] == [False, False, False, False, True, True]
    first = lines[0]
    assert (first.t, first.open, first.high, first.low) == (newest, 1.0, 3.0, 0.5)
    assert (first.close, first.volume, first.p) == (2.0, 9.0, (0.1, 0.1, 0.8))


def test_only_the_newest_bars_are_read_and_none_is_no_trouble() -> None:
    with Store(":memory:") as store:
        assert NewestBars.read(store, SLOT).lines(THRESHOLDS) == ()
        times = [put(store, number) for number in range(30)]
        lines = NewestBars.read(store, SLOT).lines(THRESHOLDS)
    assert [line.t for line in lines] == times[:-25:-1]
