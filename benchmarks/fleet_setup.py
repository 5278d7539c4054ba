"""Prepare the data of `benchmarks.fleet`: a filled store, a live model for each slot, settings."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from daemon.core.bars import Funding
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.runtime import event_codec
from daemon.runtime.serving import model_served
from daemon.service.retention import SCORES_DAYS
from daemon.store.bar_table import COLUMNS
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from hyperdrift.loaded_model import load_version
from hyperdrift.manifest import Manifest, manifest_name
from hyperdrift.slot_name import DAY_MS, HOUR_MS, MINUTE_MS, SlotName
from hyperdrift.version_files import read_manifest
from monitor.events import BarScored, ModelServed
from retrain import features
from tests.ports import free_port
from tests.system.fleet_models import copy_version

STEP_MS = 5 * MINUTE_MS
# The newest stored bar closes at the last midnight, because a start believes the host's clock
# until the venue has answered. Other processes of one run have the same.
NOW_MS = int(os.environ.setdefault("FLEET_NOW_MS", str(time.time_ns() // 10**6 // DAY_MS * DAY_MS)))
LIVE_BARS = 300
_LIVE_DAYS = 30
_TRAINING_DAYS = 60
_SEED = 10


def slots(count: int) -> list[SlotName]:
    return [SlotName(f"C{k:03}", "5m") for k in range(count)]


def market(days: int) -> Recording:
    """Return the bars of one coin, up to some hours after `NOW_MS`."""
    bars = days * DAY_MS // STEP_MS
    first = NOW_MS - bars * STEP_MS
    return generate(bars + LIVE_BARS, STEP_MS, _SEED, start_ms=first, coin=slots(1)[0].coin)


def recordings(count: int) -> list[Recording]:
    """Return what the exchange plays: the days that the venue serves, and the hours to come."""
    whole = market(18)
    return [replace(whole, coin=slot.coin) for slot in slots(count)]


def write_config(
    folder: Path, names: Sequence[SlotName], speed: float, urls: dict[str, str]
) -> Path:
    each = "".join(
        f'[[slots]]\ncoin = "{s.coin}"\ninterval = "{s.interval}"\nthreshold = "auto"\n'
        for s in names
    )
    venue = "".join(f'{name}_url = "{url}"\n' for name, url in urls.items())
    path = folder / "hyperdrift.toml"
    path.write_text(
        f'[daemon]\ndata_dir = "{folder / "data"}"\n{each}'
        f"[hyperliquid]\n{venue}speed = {speed}\n[mqtt]\nport = {free_port()}\nanonymous = true\n"
        f'[web]\nlisten = "127.0.0.1:{free_port()}"\n'
        # No model is to change while it is measured.
        "[policy]\nmax_age_days = 0\non_drift = false\non_win_rate = false\n"
    )
    return path


def fill(folder: Path, names: Sequence[SlotName], days: int) -> None:
    """Fill the data folder as a fleet leaves it that has run for `days` days."""
    data, tape = folder / "data", market(days)
    with open_store(data) as store:
        _put_bars(store, names[0], tape)
    manifest = train(folder, names[0])
    registry = Registry(data / "models", own_signer(data), ring=trusted_keys(data))
    for slot in names[1:]:
        give_version(registry, manifest, names[0], slot)
    with open_store(data) as store:
        store.database.read("PRAGMA synchronous = OFF")
        _copy_bars(store, names)
        _put_journal(store, registry, names, days)
        for slot in names:
            if (live := registry.live(slot)) is not None:
                deployment_log.note(store, slot, live, NOW_MS - _LIVE_DAYS * DAY_MS)


def _put_bars(store: Store, slot: SlotName, tape: Recording) -> None:
    columns = (tape.t, tape.open, tape.high, tape.low, tape.close, tape.volume, tape.n)
    past = tape.t < NOW_MS
    rows = zip(*(column[past].tolist() for column in columns), strict=True)
    with store.database.writing() as db:
        db.executemany(
            f"INSERT INTO bars ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'rest', 0, 0)",
            ((*slot, *row) for row in rows),
        )
    settled = zip(tape.funding_t.tolist(), tape.funding_rate.tolist(), strict=True)
    rates = [Funding(*rate) for rate in settled if rate[0] < NOW_MS]
    # A backfill asks for rates from some hours before the first bar.
    past = [Funding(rates[0].time - hours * HOUR_MS, 0.0) for hours in range(1, 12)]
    store.put_funding(slot.coin, [*past, *rates])


def _copy_bars(store: Store, names: Sequence[SlotName]) -> None:
    of = COLUMNS.removeprefix("coin, ")
    with store.database.writing() as db:
        for slot in names[1:]:
            db.execute(
                f"INSERT INTO bars ({COLUMNS}) SELECT ?, {of} FROM bars WHERE coin = ?",
                (slot.coin, names[0].coin),
            )
            db.execute(
                "INSERT INTO funding SELECT ?, time, rate FROM funding WHERE coin = ?",
                (slot.coin, names[0].coin),
            )


def train(folder: Path, slot: SlotName) -> Manifest:
    """Train one model as an operator does, and put it live."""
    config = folder / "first.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{folder / "data"}"\n[[slots]]\ncoin = "{slot.coin}"\n'
        f'interval = "{slot.interval}"\nthreshold = "auto"\nhistory_days = {_TRAINING_DAYS}\n'
    )
    command = ("-m", "daemon.cli", "retrain", "--coin", slot.coin, "--force", "--config")
    done = subprocess.run(
        (sys.executable, *command, str(config)),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    models = folder / "data" / "models" / str(slot)
    found = sorted(models.glob(manifest_name("*")))
    if not found:
        raise SystemExit(f"no model: {done.stdout[-500:]}{done.stderr[-500:]}")
    registry = Registry(models.parent, own_signer(folder / "data"))
    manifest = read_manifest(found[-1])
    _put_live(registry, slot, manifest.model_id)
    return manifest


def give_version(registry: Registry, manifest: Manifest, first: SlotName, slot: SlotName) -> None:
    """Give a slot the version of the first one, signed as its own, and put it live."""
    _put_live(registry, slot, copy_version(registry, first, manifest, slot))


def _put_live(registry: Registry, slot: SlotName, model_id: str) -> None:
    registry.deploy(slot, model_id, reason="first", by="bench", at_ms=NOW_MS, promoted_by="bench")


def _put_journal(store: Store, registry: Registry, names: Sequence[SlotName], days: int) -> None:
    """Journal the scores that a daemon keeps, of all slots bar by bar, as it writes them."""
    first = names[0]
    rows = [
        (event.at_ms, kind, json.dumps(body))
        for event in _events(store, registry, first, min(days, SCORES_DAYS))
        for kind, body in [event_codec.body(event)]
    ]
    with store.database.writing() as db:
        db.execute("CREATE TEMP TABLE one (id INTEGER PRIMARY KEY, at_ms, kind, body)")
        db.executemany("INSERT INTO one (at_ms, kind, body) VALUES (?, ?, ?)", rows)
        db.execute("CREATE TEMP TABLE whose (id INTEGER PRIMARY KEY, slot)")
        db.executemany("INSERT INTO whose (slot) VALUES (?)", [(str(slot),) for slot in names])
        db.execute(
            "INSERT INTO journal (slot, at_ms, kind, body) SELECT whose.slot, one.at_ms, one.kind,"
            " one.body FROM one CROSS JOIN whose ORDER BY one.id, whose.id"
        )


def _events(
    store: Store, registry: Registry, slot: SlotName, days: int
) -> Iterator[BarScored | ModelServed]:
    live = registry.live(slot)
    assert live is not None
    frame = store.frame(slot)
    known = features.compute(frame)
    since = max(0, len(known) - days * DAY_MS // STEP_MS)
    finite = np.isfinite(known).all(axis=1)
    p = np.zeros((len(known), 3))
    p[finite] = load_version(registry.pointer(slot), "onnx").predict(known[finite])
    live_ms, is_live = max(NOW_MS - _LIVE_DAYS * DAY_MS, int(frame["t"][since])), False
    for at in range(since, len(known)):
        t = int(frame["t"][at])
        if t >= live_ms and not is_live:
            is_live = True
            now: dict[str, Any] = {"slot": str(slot), "at_ms": t}
            yield model_served(live, registry.folder(slot), previous_id=None, reason="first", **now)
        yield BarScored(
            slot=str(slot),
            at_ms=t + STEP_MS,
            t=t,
            close=float(frame["close"][at]),
            row=tuple(known[at].tolist()),
            model_id=live.model_id if is_live else None,
            p=(float(p[at, 0]), float(p[at, 1]), float(p[at, 2])) if finite[at] else None,
        )
