import sys

import msgspec
import pytest

from daemon.notify.digest import drawn
from daemon.notify.week import Week, read_week
from daemon.runtime import event_codec
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor.events import BarScored, ModelServed

BTC = SlotName("BTC", "5m")
STEP = BTC.interval_ms
START = 1_750_000_200_000


def served(at_ms: int, model_id: str, cost_bp: float) -> ModelServed:
    return ModelServed(
        slot="BTC-5m",
        at_ms=at_ms,
        model_id=model_id,
        previous_id=None,
        reason="first",
        trained_to_ms=at_ms,
        horizon_bars=2,
        threshold=0.005,
        up=0.5,
        down=0.5,
        calibration="",
        win_rate=None,
        round_trip_bps=cost_bp,
        rollback=False,
    )


def scored(n: int, close: float, up: float, model_id: str = "m1") -> BarScored:
    return BarScored(
        slot="BTC-5m",
        at_ms=START + (n + 1) * STEP,
        t=START + n * STEP,
        close=close,
        row=(0.0,) * 17,
        model_id=model_id,
        p=(0.0, 1 - up, up),
        shadow_id=None,
        shadow_p=None,
    )


def test_a_week_sums_signals_after_costs_of_the_versions_that_were_live() -> None:
    store = Store(":memory:")
    happened = [
        served(START - 5 * STEP, "m1", 9.0),
        scored(0, 100.0, 0.9),
        scored(1, 101.0, 0.9),
        scored(2, 102.0, 0.1),
        served(START + 3 * STEP + 1, "m2", 4.0),
        scored(3, 100.0, 0.9, "m2"),
        scored(4, 99.0, 0.1, "m2"),
        scored(5, 99.0, 0.1, "m2"),
    ]
    for event in happened:
        kind, body = event_codec.body(event)
        store.append_journal(BTC, event.at_ms, kind, body)
    store.append_journal(BTC, START + 3 * STEP, "swapped", {"text": "x", "model_id": "m2"})
    week = read_week(store, BTC, START, STEP)
    assert [round(total, 6) for _, total in week.points] == [191.0, 87.0]
    assert (week.won, week.live, week.counts) == (1, ((START + 3 * STEP, "m2"),), {"swapped": 1})
    store.close()


async def test_the_picture_is_a_png_drawn_in_a_process_of_its_own() -> None:
    pytest.importorskip("matplotlib")
    before = set(sys.modules)
    points = ((START, 1.0), (START + STEP, -2.0))
    week = Week("BTC-5m", points, 1, ((START, "m1"),), {})
    assert (await drawn([week])).startswith(b"\x89PNG")
    assert not {name for name in set(sys.modules) - before if name.startswith("matplotlib")}
    assert await drawn([Week("BTC-5m", (), 0, (), {})]) == b""
    assert msgspec.json.decode(msgspec.json.encode([week]), type=tuple[Week, ...]) == (week,)
