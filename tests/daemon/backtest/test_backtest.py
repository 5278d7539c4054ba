"""A backtest is the live daemon in hindsight: same engine, same retrain, same decisions."""

import asyncio
import hashlib
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from daemon.backtest.backtest import GridBacktest
from daemon.backtest.policy_run import TRAINING_MS
from daemon.backtest.report import document, show
from daemon.backtest.slot_backtest import Span
from daemon.backtest.summaries import GridResult
from daemon.config.schema import Config, DaemonSection, FeaturesSection, RetrainSection, SlotSection
from daemon.core.bars import Bar, Funding, Provenance
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.runtime.command_log import CommandLog
from daemon.runtime.slot_runner import SlotRunner
from daemon.runtime.trades import TradeBook
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.feature_frame import Flow
from daemon.store.retrying_store import RetryingStore
from daemon.store.store import Store
from daemon.training.jobs import Jobs
from daemon.wiring import SharedParts, build_slots
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.daemon.small_retrain import interpreter
from tests.fakes import FakeClock
from tests.retrain.market import Frame
from tests.retrain.planted import HORIZON, THRESHOLD, planted

SLOT = SlotName("BTC", "5m")
FIRST, BARS = 3400, 3660
# Gates of a few days' bars are mostly noise, and what is compared here are decisions.
GATES = {
    "train_accuracy": 0.2,
    "test_accuracy": 0.2,
    "all_classes": 0.0,
    "overfit": 0.9,
    "calibrated": 0.9,
    "refit_agrees": 1.0,
    "budget_ms": 500.0,
}
POLICY = {
    "min_bars": FIRST,
    "max_retrains_per_day": 4,
    "cooldown_hours": 6,
    "min_new_bars": 144,
    "retry_bars": 144,
    "probation_hours": 8,
    "schedule_days": 1,
    "false_alarms_per_month": 100,
}


def configured(folder: Path, *coins: str) -> Config:
    folder.mkdir(exist_ok=True)
    return Config(
        daemon=DaemonSection(data_dir=str(folder)),
        slots=tuple(
            SlotSection(coin=coin, horizon_bars=HORIZON, threshold=THRESHOLD)
            for coin in coins or ("BTC",)
        ),
        policy=dict(POLICY),
        gates=dict(GATES),
        retrain=RetrainSection(python=interpreter(folder, page=False)),
    )


def market(bars: int = BARS) -> Frame:
    """Return bars with something to learn in them; towards the end they are twice as wild."""
    frame = planted(bars, seed=1, strength=1.2e-3)
    wild = slice(FIRST + 60, bars)
    for name in ("s_top", "volume"):
        frame[name][wild] *= 3
    frame["t"] = frame["t"] // SLOT.interval_ms * SLOT.interval_ms
    return frame


def bars_of(frame: Frame) -> list[Bar]:
    columns = (frame[name].tolist() for name in ("t", "open", "high", "low", "close", "volume"))
    return [Bar(int(t), *prices) for t, *prices in zip(*columns, strict=True)]


def fill(store: Store, frame: Frame, bars: int, slot: SlotName = SLOT) -> None:
    store.put_bars(slot, bars_of(frame)[:bars], Provenance.IMPORT)
    hours = frame["t"][::12].astype(int).tolist()
    rates = zip(hours, frame["funding"][::12].tolist(), strict=True)
    store.put_funding(slot.coin, [Funding(*rate) for rate in rates])
    columns = (frame[name].tolist() for name in ("t", "s_top", "s_bot", "volume"))
    store.put_flow(slot, [Flow(int(t), *seen) for t, *seen in zip(*columns, strict=True)])


class TrainedOnce:
    """Runs each job in a child of its own, but only once: the same bars and settings again give
    the same model (tests/retrain holds that), which is handed out from where it was left."""

    def __init__(self, patch: pytest.MonkeyPatch, kept: Path) -> None:
        self._retrain, self._calibrate = Jobs.retrain, Jobs.calibrate
        self._challenge, self._answers = Jobs.challenge, dict[str, Any]()
        self._kept, self._named = kept, dict[str, str]()
        self.jobs: list[str] = []
        """What was asked for: a digest of each job, those asked twice included."""
        # Methods of this object would not be bound to the one that they are put into.
        patch.setattr(Jobs, "retrain", lambda jobs, *job: self.retrain(jobs, *job))  # noqa: PLW0108
        patch.setattr(Jobs, "challenge", lambda jobs, *job: self.challenge(jobs, *job))  # noqa: PLW0108
        patch.setattr(Jobs, "calibrate", lambda jobs, *of: self.calibrate(jobs, *of))  # noqa: PLW0108

    async def retrain(self, jobs: Jobs, job_id: str, spec: Any, frame: Any, on_line: Any) -> Any:
        key = self._named[job_id] = self._asked(spec, frame)
        folder, kept = jobs._root / job_id, self._kept / key
        if not kept.exists():
            outcome = await self._retrain(jobs, job_id, spec, frame, on_line)
            shutil.copytree(folder, kept)
            (kept / "outcome").write_bytes(pickle.dumps(outcome))
            return outcome
        shutil.copytree(kept, folder)
        outcome = pickle.loads((kept / "outcome").read_bytes())
        manifest = folder / outcome.manifest.relative_to(outcome.folder.parent)
        return replace(outcome, folder=folder / "candidate", manifest=manifest)

    async def challenge(self, jobs: Jobs, job_id: str, spec: Any, frame: Any) -> Any:
        key = self._asked(spec, frame)
        if key not in self._answers:
            self._answers[key] = await self._challenge(jobs, job_id, spec, frame)
        return self._answers[key]

    async def calibrate(self, jobs: Jobs, job_id: str, rate: float) -> str:
        kept = self._kept / self._named[job_id] / f"calibration {rate}"
        if not kept.exists():
            kept.write_text(await self._calibrate(jobs, job_id, rate))
        return kept.read_text()

    def _asked(self, spec: Any, frame: Any) -> str:
        machine = {"champion", "python", "fits", "jobs", "backtest"}
        asked = {k: v for k, v in spec.items() if k not in machine}
        asked["champion"] = spec["champion"] and Path(spec["champion"]).name
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        for name in sorted(frame):
            digest.update(name.encode() + np.ascontiguousarray(frame[name]).tobytes())
        self.jobs.append(digest.hexdigest())
        return digest.hexdigest()


async def settled(keeper: SlotRunner, t: int | None, clock: FakeClock) -> None:
    """Wait until a bar was scored and all that followed is done; a retrain takes its minute."""
    async with asyncio.timeout(600):
        while True:
            now = keeper._engine.snapshot()
            if now.job_id is not None and clock.ms % SLOT.interval_ms == 0:
                clock.ms += TRAINING_MS
            under_way = now.job_id or now.swap_to or now.challenge_id
            idle = not under_way and keeper._inbox.empty()
            if idle and keeper._last_bar_t == t:
                return
            await asyncio.sleep(0.05 if under_way else 0.002)


async def live(config: Config, frame: Frame) -> list[tuple[int, str, str]]:
    """Run the daemon's own keeper, bar by bar, and return what it decided."""
    clock = FakeClock(int(frame["t"][FIRST]))
    store = RetryingStore(ThreadedStore(open_store(config.data_dir)), clock)
    fill(store.inner.store, frame, FIRST)
    bus = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:1"), clock, encode=encode)
    venue = VenueClock(clock)
    audit = CommandLog(store, clock, venue)
    topics, book = Topics("hyperdrift"), TradeBook(venue)
    parts = build_slots(SharedParts(config, clock, venue, store, bus, topics, audit, book))
    keeper, recovered = parts.runners[SLOT], asyncio.Event()
    running = asyncio.create_task(keeper.run(recovered.set))
    await recovered.wait()
    await settled(keeper, None, clock)
    for bar in bars_of(frame)[FIRST:]:
        clock.ms = bar.t + SLOT.interval_ms
        await store.call(Store.put_bars, SLOT, [bar], Provenance.REST)
        await parts.inboxes[SLOT].put(bar)
        await settled(keeper, bar.t, clock)
    running.cancel()
    told = (e for e in store.inner.store.journal(SLOT) if e.kind != "alert")
    found = [e for e in told if "text" in e.body]
    store.close()
    return [(e.at_ms // SLOT.interval_ms, e.kind, e.body["text"]) for e in found]


@pytest.mark.slow
async def test_it_decides_what_the_daemon_decides_when_fed_the_same_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TrainedOnce(monkeypatch, tmp_path / "kept")
    frame = market()
    decided = await live(configured(tmp_path / "live"), frame)
    config = configured(tmp_path / "past")
    with open_store(config.data_dir) as store:
        fill(store, frame, BARS)
    done = await GridBacktest(config, config.slots, ["drift"], quiet=True).run()
    (result,) = done.slots[0].results
    assert result.record is not None
    past = [(p.at_ms // SLOT.interval_ms, p.kind, p.text) for p in result.record.published]
    assert past == decided
    half = len(trained.jobs) // 2
    assert trained.jobs[half:] == trained.jobs[:half], "the same bars and settings"
    answers = [text for _, kind, text in past if kind == "challenge"]
    assert answers
    assert not [text for text in answers if "failed" in text]
    kinds = {kind for _, kind, _ in past}
    assert kinds >= {
        "decision",
        "retrain_started",
        "retrain_finished",
        "swapped",
        "drift",
        "challenge",
    }
    assert result.counts.retrains >= 2
    assert result.figures.bars > 200
    _look_at_the_report(done)
    more = await GridBacktest(config, config.slots, ["drift", "never"], quiet=True).run()
    again = more.slots[0].results
    assert again[0].document() | {"regret": result.document()["regret"]} | {
        "engine_s": 0
    } == result.document() | {"engine_s": 0}
    first, other = (r.document()["trained"][0] for r in again)
    assert first == other, "the first model is the same for all policies"


def _look_at_the_report(done: GridResult) -> None:
    path = done.slots[0].report
    assert path is not None
    assert path.name == "BTC-5m.html"
    page = path.read_text()
    assert "<svg" in page
    for fetched in ("<script", "<link", "<img", "src=", "url(http"):
        assert fetched not in page
    show(done)


@pytest.mark.slow
async def test_several_coins_make_a_list_and_their_first_model_is_trained_once_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, "BTC", "SOL")
    slots, frame = [SLOT, SlotName("SOL", "5m")], market(FIRST + 60)
    with open_store(config.data_dir) as store:
        for slot in slots:
            fill(store, frame, len(frame["t"]), slot)
    policies = ["never", "monthly"]
    done = await GridBacktest(config, config.slots, policies, days=0.1, quiet=True).run()
    assert [one.slot for one in done.slots] == slots
    assert [each.counts.retrains for one in done.slots for each in one.results] == [1] * 4
    kept = [path.parent for path in (tmp_path / "backtest").glob("*/verdict.json")]
    assert len(kept) == 2
    for one in kept:
        meta = next(one.glob("candidate/training_meta_*.json")).read_text()
        loads = next(gate for gate in json.loads(meta)["gates"] if gate["name"] == "loads")
        assert "a fresh interpreter with scikit-learn" in loads["verdict"], "the first is proved"
    assert not (tmp_path / "backtest" / "fits").exists()
    said = document(done)
    assert [coin["slot"] for coin in said["coins"]] == ["BTC-5m", "SOL-5m"]
    assert said["means"]["never"]["retrains"] == 1
    show(done)
    printed = capsys.readouterr().out
    assert printed.count("BTC-5m") == printed.count("SOL-5m") == 2
    assert "all policies" in printed
    assert "4 cells were tried" in printed
    assert "a round trip costs 9 basis points" in printed


def test_the_newest_days_are_run_and_the_bars_before_them_are_known() -> None:
    assert Span(0).first_bar(10_000, SLOT, 5000) == 5000
    assert Span(0, 2).first_bar(10_000, SLOT, 5000) == 10_000 - 576
    assert Span(0, 100).first_bar(10_000, SLOT, 5000) == 5000


async def test_too_few_bars_are_said_in_one_line(tmp_path: Path) -> None:
    config = configured(tmp_path)
    with open_store(config.data_dir) as store:
        fill(store, market(FIRST), FIRST)
    with pytest.raises(BadInput, match=r"BTC-5m has 3400 bars stored; more than .*min_bars = 3400"):
        await GridBacktest(config, config.slots, ["never"], quiet=True).run()


def test_a_bots_own_features_are_refused_rather_than_replaced(tmp_path: Path) -> None:
    own = msgspec.structs.replace(configured(tmp_path), features=FeaturesSection(computer="a.b:C"))
    with pytest.raises(ConfigError, match="built-in features only"):
        GridBacktest(own, own.slots, ["drift"], quiet=True)
