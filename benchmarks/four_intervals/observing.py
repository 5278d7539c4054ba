"""See what the daemon of `benchmarks.four_intervals` asks, stores, says and leaves."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet_setup import STEP_MS
from benchmarks.four_intervals.setup import slots
from daemon.core.bars import Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.protocol import ExchangeAnswer
from daemon.hyperliquid import wire
from daemon.store.data_folder import open_store
from hyperdrift.slot_name import MINUTE_MS, SlotName

Event = dict[str, Any]


class Seen:
    """Everything that is seen from outside: requests, subscriptions, messages, log lines."""

    def __init__(self, folder: Path, exchange: ReplayExchange) -> None:
        self.folder, self.exchange = folder, exchange
        self.weight: Counter[int] = Counter()  # by minute of the venue
        self.asked: Counter[str] = Counter()
        self.kept: dict[str, bytes] = {}
        self.told: Counter[str] = Counter()
        answer = exchange._venue.answer  # noqa: SLF001

        def counted(body: bytes, now_ms: int) -> ExchangeAnswer:
            given = answer(body, now_ms)
            kind = json.loads(body)["type"]
            rows = given.body.count(b'"t":')
            weight = {"exchangeStatus": 2, "candleSnapshot": 20 + rows // 60}.get(kind, 20)
            self.weight[now_ms // MINUTE_MS] += weight
            self.asked[kind] += 1
            return given

        exchange._venue.answer = counted  # type: ignore[method-assign]  # noqa: SLF001

    def hear(self, topic: str, payload: bytes, _retained: bool) -> None:
        if topic.endswith("/event"):
            self.told[json.loads(payload)["kind"]] += 1
        elif payload:
            self.kept[topic] = payload
        else:
            self.kept.pop(topic, None)

    def subscriptions(self) -> set[tuple[str, str]]:
        clients = self.exchange._clients  # noqa: SLF001
        return {(one.coin, getattr(one, "interval", "")) for c in clients for one in c.held}

    def topics(self, coins: Iterable[str]) -> list[str]:
        of = set(map(str, slots(coins)))
        return sorted(t for t in self.kept if of & set(t.split("/")))

    def log(self) -> list[Event]:
        lines = (self.folder / "daemon.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str) -> int:
        return sum(line["event"] == event for line in self.log())

    def warnings(self) -> Counter[str]:
        return Counter(k["event"] for k in self.log() if k.get("level") not in {"info", "debug"})


async def until(true: Callable[[], object], within_s: float) -> float:
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > within_s:
            print(f"waited {within_s} s in vain", file=sys.stderr)
            break
        await asyncio.sleep(0.1)
    return round(time.monotonic() - began, 1)


def differing(seen: Seen, names: Iterable[SlotName], since_ms: int) -> tuple[int, list[str]]:
    """Compare the bars that closed since then; return how many, and those that differ."""
    many, wrong, now_ms = 0, [], seen.exchange.now_ms() - 90_000
    with open_store(seen.folder / "data", read_only=True) as store:
        for slot in names:
            series = seen.exchange._venue.series(*slot)  # noqa: SLF001
            assert series is not None
            body = series.snapshot(since_ms - slot.interval_ms, now_ms, seen.exchange.now_ms())
            frames = wire.decode_candles(body, slot).frames
            held = {k.bar.t: k for k in store.held(slot, since_ms - slot.interval_ms, now_ms)}
            for bar in (frame.bar for frame in frames):
                if not since_ms < bar.t + slot.interval_ms <= now_ms:
                    continue
                many += 1
                own = held.get(bar.t)
                if own is None or own.bar != bar or own.provenance is not Provenance.REST:
                    wrong.append(f"{slot} {bar.t}: {own}")
    return many, wrong


def unscored(seen: Seen, names: Iterable[SlotName], since_ms: int) -> list[str]:
    """Return the closed bars that no model answered."""
    lacking, now_ms = [], seen.exchange.now_ms() - 90_000
    with open_store(seen.folder / "data", read_only=True) as store:
        for slot in names:
            step = slot.interval_ms
            first = -(-since_ms // step) * step - step
            due = set(range(first, now_ms - step, step))
            entries = store.journal(slot, kinds=["BarScored"])
            scored = {e.body["t"] for e in entries if e.body.get("p") is not None}
            lacking += [f"{slot} {t}" for t in sorted(due - scored)]
    return lacking


def rounds(folder: Path, anchor: tuple[float, int], speed: float) -> Event:
    """Return the figures of each close, and those of single decisions, in ms."""
    inside = json.loads((folder / "stopwatches.json").read_text())
    last: dict[int, list[float]] = {}
    took = [(ended - began) * 1000 for _, began, ended in inside["decided"]]

    def of(at: float) -> tuple[list[float], float]:
        venue_ms = anchor[1] + (at - anchor[0]) * 1000 * speed
        close = int(venue_ms // STEP_MS * STEP_MS)
        return last.setdefault(close, [0, 0.0, 0.0]), (venue_ms - close) / 1000

    for _, at in inside["handed"]:
        row, after_s = of(at)
        row[1] = max(row[1], after_s)
    for _, began, ended in inside["decided"]:
        row, after_s = of(began)
        row[0] += 1
        row[2] = max(row[2], after_s / speed + ended - began)
    named = {
        time.strftime("%H:%M", time.gmtime(close / 1000)): (
            int(many),
            round(handed, 1),
            round(decided - handed / speed, 2),
        )
        for close, (many, handed, decided) in sorted(last.items())
    }
    quantiles = [round(float(np.quantile(took, q)), 1) for q in (0.5, 0.99)]
    return {"rounds": named, "decision_ms": quantiles}
