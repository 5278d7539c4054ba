"""Time the engine on 50,000 bars of one slot, and a start with 180 days of journal.

python -m benchmarks.engine [--json]

The bars are made up, with 17 autocorrelated features and the probabilities of a live model and of
its predecessor. Drift is watched with a real calibration, and no retrain is under way. The journal
is a SQLite file on disk, written as the daemon writes it. Only the parts of a start that grow with
the journal are timed: reading the tail and rebuilding the engine. All times are CPU seconds, so
that other load does not count.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

from daemon.core.bars import Bar, Provenance
from daemon.runtime import event_codec
from daemon.runtime.recovery import JOURNAL_DAYS, rebuilt
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import events
from monitor.drift.calibration import calibrate
from monitor.engine import Engine
from monitor.policy import DAY_MS, PolicySettings
from retrain import features

SLOT = SlotName("BTC", "5m")
BAR_MS = SLOT.interval_ms
DAY_BARS = DAY_MS // BAR_MS
START_MS = 20_000 * DAY_MS
BARS, STORED_DAYS, REFERENCE_DAYS = 50_000, 180, 90
BUDGET_BARS_S, BUDGET_START_S = 10.0, 5.0
SERVED = events.ModelServed(
    slot=str(SLOT),
    at_ms=START_MS,
    model_id="new",
    previous_id="old",
    reason="deployed",
    trained_to_ms=START_MS,
    horizon_bars=12,
    threshold=0.005,
    up=0.4,
    down=0.4,
    win_rate=0.55,
)


def market(bars: int, seed: int) -> np.ndarray:
    """Return rows of features with a memory of some hours, shape (bars, 17)."""
    noise = np.random.default_rng(seed).standard_normal((bars, len(features.NAMES)))
    rows: np.ndarray = lfilter([0.3], [1, -0.95], noise, axis=0)
    return rows


def scored(bars: int, seed: int) -> Iterator[events.BarScored]:
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(0.001 * rng.standard_normal(bars)))
    chances = rng.dirichlet((2.0, 8.0, 2.0), size=(bars, 2)).tolist()
    for i, row in enumerate(market(bars, seed).tolist()):
        t = START_MS + i * BAR_MS
        p, shadow_p = map(tuple, chances[i])
        yield events.BarScored(
            slot=str(SLOT),
            at_ms=t + BAR_MS,
            t=t,
            close=float(closes[i]),
            row=tuple(row),
            model_id="new",
            p=p,
            shadow_id="old",
            shadow_p=shadow_p,
        )


def begin(history_bars: int) -> Engine:
    settings = PolicySettings(min_new_bars=10**9, probation_hours=10**6)
    return Engine(
        str(SLOT),
        settings,
        interval_ms=BAR_MS,
        names=features.NAMES,
        history_bars=history_bars,
    )


def handled(served: events.ModelServed) -> float:
    engine = begin(0)
    engine.handle(served)
    bars = list(scored(BARS, 2))
    began = time.process_time()
    for bar in bars:
        engine.handle(bar)
    return time.process_time() - began


def started(served: events.ModelServed, folder: Path) -> float:
    """Return the CPU seconds of a start whose model went live when the journal is read from."""
    news: list[events.Event] = list(scored(STORED_DAYS * DAY_BARS, 3))
    cut = (STORED_DAYS - JOURNAL_DAYS) * DAY_BARS
    since_ms = news[cut].at_ms
    news.insert(cut, dataclasses.replace(served, at_ms=since_ms))
    with Store(folder / "store.sqlite") as store:
        with store.database.writing() as db:
            db.executemany(
                "INSERT INTO journal (slot, at_ms, kind, body) VALUES (?, ?, ?, ?)",
                [
                    (str(SLOT), e.at_ms, k, json.dumps(b))
                    for e in news
                    for k, b in [event_codec.body(e)]
                ],
            )
        bars = (e for e in news if isinstance(e, events.BarScored))
        flat = [Bar(e.t, e.close, e.close, e.close, e.close, 1.0) for e in bars]
        store.put_bars(SLOT, flat, Provenance.REST)
        began = time.process_time()
        past = rebuilt(store, SLOT, since_ms, begin)
        took = time.process_time() - began
    if past.replayed != JOURNAL_DAYS * DAY_BARS or past.engine.snapshot().model_id != "new":
        raise SystemExit("the journal was not read back as it was written")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.process_time()
    calibration = calibrate(market(REFERENCE_DAYS * DAY_BARS, 1), features.NAMES, DAY_BARS)
    found: dict[str, Any] = {"calibrate_s": round(time.process_time() - began, 2)}
    served = dataclasses.replace(SERVED, calibration=calibration.to_json())
    found |= {"bars": BARS, "handled_cpu_s": round(handled(served), 2)}
    with tempfile.TemporaryDirectory() as folder:
        found["stored_days"], found["start_cpu_s"] = (
            STORED_DAYS,
            round(started(served, Path(folder)), 2),
        )
    found["within_budget"] = (
        found["handled_cpu_s"] <= BUDGET_BARS_S and found["start_cpu_s"] <= BUDGET_START_S
    )
    print(json.dumps(found) if options.json else found)


if __name__ == "__main__":
    main()
