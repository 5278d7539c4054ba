"""The figures of a backtest: of each policy, and of all policies over the bars of one slot.

A cell is one policy on one slot at one horizon. A grid may have hundreds, so what is kept of a
cell in memory is small; its bars, decisions and returns are in files.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.backtest.performance import Performance, Track
from daemon.backtest.policy_run import PolicyRecord
from daemon.backtest.regret import NO_REGRET, Regret
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName
from retrain.deciding.earning import SignalEarning

REFUSED: Final = 3
"""The exit code where the gates refused every candidate."""

_NOTHING: Final = Performance(
    bars=0,
    log_loss=None,
    skill=None,
    ic=None,
    signals=0,
    win_rate=None,
    pnl=0.0,
    pnl_before_costs=0.0,
    drawdown=0.0,
    earned=SignalEarning(0, 0),
)


@dataclass(frozen=True, slots=True)
class CellFailure:
    """Why a cell shows nothing, and the exit code of a command that ends with it."""

    reason: str
    exit_code: int = 1

    @classmethod
    def of(cls, error: HyperdriftError) -> "CellFailure":
        """Return an error as the failure of a cell."""
        return cls(str(error), error.exit_code)


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each kind of event happened under a policy.

    Of the `retrains`, the gates refused `refusals`; `failures` ended without a candidate.
    """

    retrains: int = 0
    refusals: int = 0
    failures: int = 0
    rollbacks: int = 0
    drift_alarms: int = 0

    @classmethod
    def of(cls, record: PolicyRecord) -> "Counts":
        """Count the events of a record."""
        return cls(
            retrains=len(record.trained),
            refusals=sum(not item["passed"] and "error" not in item for item in record.trained),
            failures=sum("error" in item for item in record.trained),
            rollbacks=len(record.at("rolled_back")),
            drift_alarms=len(record.at("drift")),
        )


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One policy's figures.

    `training_s` are the seconds that its candidates took, `engine_s` the processor seconds of all
    else; `record` has its events, None where they are only in `kept`, the file of the cell.
    """

    policy: str
    counts: Counts = Counts()
    figures: Performance = _NOTHING
    training_s: float = 0.0
    engine_s: float = 0.0
    record: PolicyRecord | None = None
    regret: Regret = NO_REGRET
    failure: CellFailure | None = None
    kept: str = ""

    def document(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "policy": self.policy,
            "failed": self.failure.reason if self.failure else None,
            **asdict(self.counts),
            **self.figures.document(),
            "regret": self.regret.document(),
            "training_s": round(self.training_s, 1),
            "engine_s": round(self.engine_s, 2),
            **self._events(),
        }

    def _events(self) -> dict[str, Any]:
        if self.record is None:
            return {"kept": self.kept or None}
        return {
            "trained": self.record.trained,
            "decisions": [
                {"at_ms": item.at_ms, "kind": item.kind, "text": item.text}
                for item in self.record.published
            ],
        }


@dataclass(frozen=True, slots=True)
class Tracks:
    """The opens of all bars in ms (n,), and what each policy that has figures did at each bar."""

    t: NDArray[np.int64]
    of_policy: Mapping[str, Track]


@dataclass(frozen=True, slots=True)
class SlotBacktest:
    """The results of one slot at one horizon, a policy each, on the same bars.

    `cost_bps` is of a round trip; `report` the page, None if there is nothing to show.
    """

    slot: SlotName
    horizon_bars: int
    results: tuple[BacktestResult, ...]
    cost_bps: float
    report: Path | None = None

    @property
    def measured(self) -> tuple[BacktestResult, ...]:
        """The results of policies that have figures."""
        return tuple(each for each in self.results if each.failure is None)

    def without_events(self) -> "SlotBacktest":
        """Return a copy whose events are only in the files of its cells."""
        return replace(self, results=tuple(replace(each, record=None) for each in self.results))


def failure_of(record: PolicyRecord) -> CellFailure | None:
    """Return why a policy never had a model, None if it had one."""
    trained = record.trained
    if any(item["passed"] for item in trained):
        return None
    judged = [item for item in trained if "error" not in item]
    if judged:
        by = ", ".join(judged[-1]["refused_by"])
        many = f"all {len(judged)} candidates" if len(judged) > 1 else "the only candidate"
        last = "the last " if len(judged) > 1 else ""
        return CellFailure(f"the gates refused {many}, {last}by {by}", REFUSED)
    if trained:
        why = f"every retrain failed, the last: {trained[-1]['error']}"
        return CellFailure(why, 2 if record.is_whole else 1)
    return CellFailure("no retrain was due on these bars, so there was no model", 2)
