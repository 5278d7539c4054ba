"""A slot with a past: an engine, its journal in a real store, and its versions in a registry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.mqtt.retrain_messages import RetrainProgress
from daemon.registry.registry import Registry
from daemon.runtime import event_codec
from daemon.runtime.recovery import rebuilt
from daemon.runtime.slot_publisher import slot_state
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from daemon.web.data.read_model import Views
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import GATES
from monitor import actions, events
from monitor.drift.calibration import calibrate
from monitor.engine import Engine
from monitor.policy import PolicySettings
from monitor.watch import SignalGain
from retrain import features
from tests.daemon.versions import write_version
from tests.fakes import FakeClock

SLOT, STEP = SlotName("BTC", "5m"), 300_000
START_T = 1_750_000_200_000
SETTINGS = PolicySettings(challenge=False, cooldown_hours=0, min_new_bars=1, min_bars=3)


@cache
def _calibration() -> str:
    rows = np.random.default_rng(1).standard_normal((20 * 288, len(features.NAMES)))
    with pytest.MonkeyPatch.context() as quick:
        # So rough a threshold is enough for a change of four standard deviations.
        quick.setattr("monitor.drift.calibration._RUNS", 60)
        return calibrate(rows, features.NAMES, 288).to_json()


def _engine(history_bars: int) -> Engine:
    return Engine(
        str(SLOT), SETTINGS, interval_ms=STEP, names=features.NAMES, history_bars=history_bars
    )


def certificate(better_by: float | None = None) -> dict[str, Any]:
    """Return one that passed, with the log loss against the version before."""
    gates = [
        {"name": name, "passed": True, "value": 0.5, "limit": 0.4, "verdict": "fine", "why": "so"}
        for name in sorted(GATES)
    ]
    for gate in gates:
        if gate["name"] == "beats_champion":
            gate["value"] = None if better_by is None else -better_by
    decided = {"shares": [0.04, 0.9, 0.06], "win_rate": 0.55, "expectancy": 0.0012}
    test = {"skill": 0.03, "argmax": {"accuracy": 0.71}, "decisions": decided}
    versions = {"python": "3.12.1", "onnxruntime": "1.2"}
    settings = {"horizon_bars": 12}
    return {"passed": True, "gates": gates, "scores": {"test": test}, "settings": settings} | {
        "versions": versions
    }


@dataclass
class Past:
    """One slot that lives by hand: each event is handled and journalled as the daemon does."""

    folder: Path
    store: Store = field(default_factory=lambda: Store(":memory:"))
    engine: Engine = field(default_factory=lambda: _engine(0))
    now_ms: int = START_T
    close: float = 100.0
    progress: RetrainProgress | None = None
    trouble: str = ""
    broker: str = ""
    status: DaemonStatus = field(
        default_factory=lambda: DaemonStatus(state="online", version="0.1.0", since_ms=START_T)
    )
    published: SlotState | None = None

    def __post_init__(self) -> None:
        self.registry, self.threaded = Registry(self.folder), ThreadedStore(self.store)
        self._rng = np.random.default_rng(7)

    # What the pages need of a runner.

    @property
    def gains(self) -> Sequence[SignalGain]:
        return self.engine.gains

    @property
    def shown(self) -> SlotState:
        if self.published is None:
            t = self.engine.snapshot().last_bar_t
            self.published = slot_state(
                self.engine.snapshot(),
                last_bar_t=t,
                lag_ms=None if t is None else 400,
                retrain=self.progress,
                trouble=self.trouble,
                labels="12 bars ahead, threshold 0.005",
            )
        return self.published

    # What happens to it.

    def give(self, kind: type[events.Event], **fields: Any) -> tuple[actions.Action, ...]:
        event = kind(**{"slot": str(SLOT), "at_ms": self.now_ms, **fields})
        orders = self.engine.handle(event)
        self.store.append_journal(SLOT, event.at_ms, *event_codec.body(event))
        for order in orders:
            if isinstance(order, actions.Publish):
                body = {"text": order.text, **order.fields}
                self.store.append_journal(SLOT, order.at_ms, order.kind, body)
            elif isinstance(order, actions.Alert):
                body = {"text": order.text, "severity": order.severity}
                self.store.append_journal(SLOT, order.at_ms, "alert", body)
            elif isinstance(order, actions.StartRetrain):
                self.give(events.TurnCame, job_id=order.job_id)
        self.published = None
        return orders

    def bars(self, count: int, *, shift: float = 0.0) -> None:
        """Let bars close; `shift` moves the first feature by so many standard deviations."""
        model_id = self.engine.snapshot().model_id
        for _ in range(count):
            t, self.now_ms = self.now_ms, self.now_ms + STEP
            self.close *= math.exp(self._rng.normal(0, 0.004))
            bar = Bar(t, self.close, self.close, self.close, self.close, 1.0, 1)
            self.store.put_bars(SLOT, [bar], Provenance.REST)
            row = self._rng.standard_normal(len(features.NAMES))
            row[0] += shift
            scored = {} if model_id is None else {"model_id": model_id, "p": self._shares()}
            self.give(events.BarScored, t=t, close=self.close, row=tuple(map(float, row)), **scored)

    def _shares(self) -> tuple[float, float, float]:
        down, neutral, up = self._rng.dirichlet((1, 1, 1))
        return (float(down), float(neutral), float(up))

    def retrain(self, number: int, better_by: float | None = None) -> str:
        """Let the retrain that was ordered end with version `number`, and put it live."""
        model_id = self.adopt(number, certificate(better_by))
        ended = self.end_retrain(model_id, passed=True)
        (order,) = (one for one in ended if isinstance(one, actions.Deploy))
        self.serve(model_id, self.engine.snapshot().model_id, order.reason)
        return model_id

    def adopt(self, number: int, meta: dict[str, Any]) -> str:
        manifest = write_version(self.folder / "made" / str(number), number, meta=meta)
        return self.registry.adopt(SLOT, manifest)

    def end_retrain(self, model_id: str, **fields: Any) -> tuple[actions.Action, ...]:
        job_id = self.engine.snapshot().job_id
        return self.give(events.RetrainFinished, job_id=job_id, model_id=model_id, **fields)

    def serve(self, model_id: str, previous_id: str | None, reason: str, **fields: Any) -> None:
        self.registry.deploy(SLOT, model_id, reason=reason, by="hyperdrift", at_ms=self.now_ms)
        self.give(
            events.ModelServed,
            model_id=model_id,
            previous_id=previous_id,
            reason=reason,
            trained_to_ms=self.now_ms,
            horizon_bars=12,
            threshold=0.005,
            up=0.4,
            down=0.4,
            calibration=_calibration(),
            **fields,
        )

    def until_drift(self) -> None:
        """Let the first feature change until a retrain is ordered for it."""
        while self.engine.snapshot().job_id is None:
            self.bars(6, shift=4.0)

    def command(self, name: str, reason: str) -> None:
        """Let an operator ask for something."""
        asked = {"request_id": "r", "command": name, "reason": reason}
        self.give(events.CommandReceived, **asked)

    def retrain_off(self) -> None:
        """Let the first retrain fail, and pause the slot."""
        self.bars(3)
        self.command("pause", "a holiday")
        job_id = self.engine.snapshot().job_id
        self.give(events.RetrainFailed, job_id=job_id, error="stopped", stopped=True)

    def online(self, **fields: Any) -> DaemonStatus:
        """Return the status of the daemon with other fields."""
        return msgspec.structs.replace(self.status, **fields)

    def restarted(self) -> "Past":
        """Return the slot as the next start rebuilds it."""
        engine = rebuilt(self.store, SLOT, 0, _engine).engine
        rest = {"now_ms": self.now_ms, "close": self.close}
        return Past(self.folder, store=self.store, engine=engine, **rest)  # type: ignore[arg-type]

    def views(self) -> Views:
        return Views(
            {SLOT: self},
            status=lambda: self.status,
            broker=lambda: self.broker,
            clock=FakeClock(),
            now_ms=lambda: self.now_ms,
            store=self.threaded,
            registry=self.registry,
        )


def replaced(folder: Path) -> Past:
    """Return a slot whose first model was replaced because of drift."""
    past = Past(folder)
    past.bars(3)
    past.retrain(0)
    past.bars(300)
    past.until_drift()
    past.bars(20)
    past.retrain(1, better_by=0.0011)
    past.bars(300)
    return past
