"""Fill the store of `benchmarks.four_intervals`, and put models live."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import fleet_setup
from benchmarks.fleet_setup import NOW_MS, STEP_MS
from daemon.core.bars import Bar, Funding, Provenance
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from hyperdrift.slot_name import DAY_MS, MINUTE_MS, SlotName

INTERVALS = ("5m", "1h", "12h", "1d")
PAST_DAYS = {"5m": 18, "1h": 20, "12h": 170, "1d": 330}
CHANGED = 20
BEGIN_MS = NOW_MS - 14 * MINUTE_MS
STORED_MS = BEGIN_MS - 2 * STEP_MS


def coin(k: int) -> str:
    return f"C{k:03}"


def slots(coins: Iterable[str]) -> list[SlotName]:
    return [SlotName(name, interval) for name in coins for interval in INTERVALS]


def markets(coins: int) -> list[Recording]:
    """Return the 5m bars of each coin, up to a day after midnight; each has prices of its own."""
    bars = (PAST_DAYS["1d"] + 1) * DAY_MS // STEP_MS
    first = NOW_MS - PAST_DAYS["1d"] * DAY_MS
    base = generate(bars, STEP_MS, 10, start_ms=first, coin=coin(0))
    return [_scaled(base, coin(k), 1 + k / 100) for k in range(coins)]


def _scaled(base: Recording, name: str, factor: float) -> Recording:
    prices = {p: np.round(getattr(base, p) * factor, 4) for p in ("open", "high", "low", "close")}
    return replace(base, coin=name, **prices)


def fill(folder: Path, tapes: Iterable[Recording]) -> None:
    """Store the past of some coins, and put a model of the full stack live for each slot."""
    data, tapes = folder / "data", list(tapes)
    with open_store(data) as store:
        store.database.read("PRAGMA synchronous = OFF")
        for tape in tapes:
            for interval, days in PAST_DAYS.items():
                whole = tape if interval == "5m" else tape.resampled(interval)
                past = whole.between(STORED_MS - days * DAY_MS, NOW_MS)
                past = past.between(0, STORED_MS - past.interval_ms + 1)
                columns = (past.t, past.open, past.high, past.low, past.close, past.volume, past.n)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                slot = SlotName(tape.coin, interval)
                store.put_bars(slot, [Bar(*row) for row in rows], Provenance.REST)
            settled = zip(tape.funding_t.tolist(), tape.funding_rate.tolist(), strict=True)
            rates = [Funding(*rate) for rate in settled if rate[0] < STORED_MS]
            store.put_funding(tape.coin, rates)
    names = slots(tape.coin for tape in tapes)
    manifest = fleet_setup.train(folder, names[0])
    registry = Registry(data / "models", own_signer(data), ring=trusted_keys(data))
    for slot in names[1:]:
        fleet_setup.give_version(registry, manifest, names[0], slot)
    with open_store(data) as store:
        for slot in names:
            if (live := registry.live(slot)) is not None:
                deployment_log.note(store, slot, live, STORED_MS - DAY_MS)
