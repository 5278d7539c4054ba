"""Prepare the data of `benchmarks.endurance`: markets, scores, old versions."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from daemon.core.bars import Bar, Funding, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.runtime import event_codec
from daemon.runtime.recovery import JOURNAL_DAYS
from daemon.service.retention import SCORES_BARS, SCORES_DAYS
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from daemon.training.training import KEEP_VERSIONS
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.events import BarScored
from retrain import features
from tests.ports import free_port

SLOTS = tuple(SlotName(*s) for s in (("BTC", "5m"), ("ETH", "5m"), ("SOL", "5m"), ("DOGE", "1h")))
START_MS = 1_748_736_000_000
HISTORY_DAYS = {"5m": 60, "1h": 260}
REGIME_DAY = 10


def markets(days: int) -> Iterator[Recording]:
    for number, slot in enumerate(SLOTS):
        per_day = DAY_MS // slot.interval_ms
        past = HISTORY_DAYS[slot.interval]
        yield generate(
            (past + days + 2) * per_day,
            slot.interval_ms,
            10 + number,
            start_ms=START_MS - past * DAY_MS,
            change_at=(past + REGIME_DAY) * per_day,
            coin=slot.coin,
        )


def fill_store(folder: Path, recordings: list[Recording]) -> None:
    """Store bars, and scores of all days that the daemon keeps."""
    with open_store(folder) as store:
        for slot, rec in zip(SLOTS, recordings, strict=True):
            past = rec.t < START_MS
            columns = (rec.t, rec.open, rec.high, rec.low, rec.close, rec.volume)
            rows = zip(*(column[past].tolist() for column in columns), strict=True)
            store.put_bars(slot, [Bar(*row) for row in rows], Provenance.IMPORT)
            known = rec.funding_t < START_MS
            rates = zip(
                rec.funding_t[known].tolist(), rec.funding_rate[known].tolist(), strict=True
            )
            store.put_funding(rec.coin, [Funding(*rate) for rate in rates])
        _write_scores(store)


def _write_scores(store: Store) -> None:
    rows = []
    for slot in SLOTS:
        frame = store.frame(slot)
        known = features.compute(frame)
        step, bars = slot.interval_ms, len(frame["t"])
        days = max(SCORES_DAYS, SCORES_BARS * step // DAY_MS) + 2
        for back in range(days * DAY_MS // step, 0, -1):
            t, at = START_MS - back * step, -back % bars
            # A start reads these rows, so they must not name a model that the folder never had.
            read = back * step < (JOURNAL_DAYS + 1) * DAY_MS
            scored = BarScored(
                slot=str(slot),
                at_ms=t + step,
                t=t,
                close=float(frame["close"][at]),
                row=tuple(known[at].tolist()),
                model_id=None if read else "20250501_000000_ba55f4789d38",
                p=None if read else (0.0712345678901234, 0.8512345678901234, 0.0775308642197532),
            )
            kind, body = event_codec.body(scored)
            rows.append((str(slot), scored.at_ms, kind, json.dumps(body)))
    rows.sort(key=lambda row: row[1])
    with store.database.writing() as db:
        db.executemany("INSERT INTO journal (slot, at_ms, kind, body) VALUES (?, ?, ?, ?)", rows)


def fill_models(folder: Path, config: Path) -> None:
    """Train one model as an operator does, and store it as thirty old versions of each slot."""
    command = ("-m", "daemon.cli", "retrain", "--coin", SLOTS[0].coin, "--force", "--deploy")
    options = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}}
    whole = (sys.executable, *command, "--config", str(config))
    done = subprocess.run(whole, capture_output=True, text=True, check=False, **options)
    models = folder / "data" / "models"
    found = sorted((models / str(SLOTS[0])).glob("manifest_*.json"))
    if not found:
        raise SystemExit(f"no first model: {done.stdout[-500:]}{done.stderr[-500:]}")
    model_id = found[-1].stem.removeprefix("manifest_")
    files = [p for p in found[-1].parent.iterdir() if model_id in p.name]
    for slot in SLOTS:
        (models / str(slot)).mkdir(exist_ok=True)
        for number in range(KEEP_VERSIONS):
            old = f"20250{1 + number // 28}{1 + number % 28:02}_000000_{model_id.split('_')[2]}"
            for path in files:
                copy = models / str(slot) / path.name.replace(model_id, old)
                shutil.copy(path, copy)
                if path.name.startswith("manifest_"):
                    copy.write_text(path.read_text().replace(model_id, old))


def write_config(folder: Path, speed: float, exchange: ReplayExchange | None = None) -> Path:
    slots = "".join(
        f'[[slots]]\ncoin = "{s.coin}"\ninterval = "{s.interval}"\nthreshold = "auto"\n'
        f"history_days = {HISTORY_DAYS[s.interval]}\n"
        for s in SLOTS
    )
    urls = f'rest_url = "{exchange.url}"\nws_url = "{exchange.ws_url}"\n' if exchange else ""
    path = folder / "hyperdrift.toml"
    path.write_text(
        f'[daemon]\ndata_dir = "{folder / "data"}"\n{slots}'
        f"[hyperliquid]\n{urls}speed = {speed}\n[mqtt]\nport = {free_port()}\nanonymous = true\n"
        "[policy]\nschedule_days = 3\ncooldown_hours = 24\nmin_new_bars = 24\n"
        "max_retrains_per_day = 1\nprobation_hours = 24\nretry_bars = 288\n"
    )
    return path


def port_of(config: Path) -> int:
    return int(config.read_text().split("[mqtt]\nport = ")[1].split()[0])
