"""Compare the decision rule with signals on a fixed 5 % of the bars a side, on recorded candles.

python -m benchmarks.decisions --data BTC-5m.parquet HYPE-5m.parquet [--days 7] [--json]

Every so many days a candidate is trained and judged on all bars before, as by a retrain of a slot
that names no threshold. Both rules then speak on the probabilities of the same models: their
thresholds come from the same out-of-fold rows. Signals are followed one at a time, after costs.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.stack import windows
from daemon.backtest.performance import Answers, measure
from daemon.config.schema import LABEL_DEFAULTS
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from retrain import dataset, features, labels, pipeline
from retrain.deciding.costs import Costs
from retrain.deciding.decision import DOWN, NEUTRAL, UP, SignalThreshold, decide, signal_threshold
from retrain.deciding.earning import earns, net_returns
from retrain.deciding.expectation import Probabilities
from retrain.job import Job
from retrain.stacking.scaling import scaled_trainer
from retrain.stacking.twin import fit_twin, refit
from tests.retrain.faults import Memory

FIXED_RATE = 0.05
LEAST_BARS = 5000
RULES = ("fixed 5 %", "the rule")
SCHEDULES = {"never": 0, "monthly": 30, "weekly": 7}
"""Days after which the next model takes over; 0 keeps the first for ever."""


@dataclass(frozen=True)
class ServedCandidate:
    """What a model trained on the bars before `bar` says from there on.

    `p` (n, 3) of all bars of the recording, NaN before `bar`; `signal` thresholds by rule.
    """

    bar: int
    refused_by: tuple[str, ...]
    threshold: float
    p: Probabilities
    signal: dict[str, SignalThreshold]


def train(
    slot: SlotName, frame: dataset.Frame, bar: int, previous: float | None
) -> ServedCandidate:
    """Train and judge a candidate on the bars before `bar`, and ask it about all bars after."""
    horizon, default = LABEL_DEFAULTS[slot.interval]
    past = {name: column[:bar] for name, column in frame.items()}
    job = Job(
        slot=str(slot),
        interval=slot.interval,
        horizon_bars=horizon,
        threshold=f"{labels.DEFAULT}{default}",
        previous_threshold=previous,
        at_ms=int(past["t"][-1]) + slot.interval_ms,
        frame=past,
        fits=Memory(),
        backtest=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        judged = pipeline.run(job, Path(folder), lambda _step, _percent: None, time.perf_counter)
    rows = dataset.build(past, horizon, job.threshold, previous, lambda _step: None)
    trainer = scaled_trainer(job, rows)
    given, _ = fit_twin(rows, trainer, job.rule_settings)
    model = refit(rows, given, trainer, job.rule_settings)
    known = ~np.isnan(given).any(axis=1)
    out_of_fold = model.stack.meta.predict_proba(given[known])
    fixed = signal_threshold(out_of_fold, FIXED_RATE, FIXED_RATE)
    values = features.compute(frame)
    ahead = np.isfinite(values).all(axis=1) & (np.arange(len(values)) >= bar)
    p = np.full((len(values), 3), np.nan)
    p[ahead] = model.stack.predict(values[ahead])
    signal = dict(zip(RULES, (fixed, model.signal), strict=True))
    return ServedCandidate(bar, judged.refused_by, rows.threshold.value, p, signal)


def candidates(slot: SlotName, frame: dataset.Frame, days: float) -> Iterator[ServedCandidate]:
    """Train candidates in turn; the label threshold is kept from one that passed to the next."""
    previous = None
    every = round(days * DAY_MS / slot.interval_ms)
    for bar in range(LEAST_BARS, len(frame["t"]), every):
        made = train(slot, frame, bar, previous)
        previous = previous if made.refused_by else made.threshold
        yield made


def serving(made: list[ServedCandidate], days: float, step_ms: int) -> list[ServedCandidate]:
    """Return the candidates that go live on a schedule of that many days."""
    live = made[:1]
    for one in made[1:]:
        if days and (one.bar - live[-1].bar) * step_ms >= days * DAY_MS:
            live.append(one)
    return live


def answers(frame: dataset.Frame, live: list[ServedCandidate], rule: str) -> Answers:
    """Return what the live models say, with the thresholds of one rule."""
    n = len(frame["t"])
    p, up, down, limit = np.full((n, 3), np.nan), *(np.full(n, np.inf) for _ in range(3))
    for one, until in zip(live, [*(next_one.bar for next_one in live[1:]), n], strict=True):
        part = slice(one.bar, until)
        p[part], limit[part] = one.p[part], one.threshold
        up[part], down[part] = one.signal[rule]
    return Answers(frame["t"], np.asarray(frame["close"], dtype=np.float64), p, up, down, limit)


@dataclass(frozen=True)
class RuleLine:
    """What one rule did under one schedule; returns after costs, `pnl` of trades one at a time.

    `signals` and `signal_bp`, with a 95 % interval, are of every bar with a signal, `up` and
    `down` of each side. `trades` and `trade_bp` are of those that one position at a time takes.
    """

    slot: str
    candidates: str
    schedule: str
    models: int
    rule: str
    up: int
    down: int
    signals: int
    signal_bp: float | None
    signal_low_bp: float | None
    signal_high_bp: float | None
    signal_sum: float
    trades: int
    trade_bp: float | None
    pnl: float
    pnl_before_costs: float

    def text(self) -> str:
        low, high = self.signal_low_bp, self.signal_high_bp
        interval = "" if low is None else f" ({low:+.1f} to {high:+.1f})"
        return (
            f"| {self.slot} {self.candidates}, {self.schedule}, {self.models} models | {self.rule} "
            f"| {self.down} / {self.up} | {self.signal_bp or 0:+.1f}{interval} "
            f"| {self.signal_sum:+.1%} | {self.trades} | {self.trade_bp or 0:+.1f} "
            f"| {self.pnl_before_costs:+.1%} | {self.pnl:+.1%} |"
        )


def line(
    slot: SlotName, frame: dataset.Frame, live: list[ServedCandidate], rule: str, *names: str
) -> RuleLine:
    """Measure one rule over the bars from the first live model on."""
    horizon, _ = LABEL_DEFAULTS[slot.interval]
    cost = Costs().round_trip_bps(horizon * slot.interval_ms / HOUR_MS)
    said = answers(frame, live, rule)
    figures, _ = measure(said, horizon, cost)
    ahead = labels.future_return(said.close, horizon)
    known = np.isfinite(said.p).all(axis=1) & np.isfinite(ahead)
    decided = np.full(len(known), NEUTRAL, dtype=np.int8)
    decided[known] = decide(said.p[known], said.up[known], said.down[known])
    net = net_returns(decided, ahead, cost)
    every = earns(net[live[0].bar :], horizon)
    return RuleLine(
        str(slot),
        *names,
        len(live),
        rule,
        int((decided == UP).sum()),
        int((decided == DOWN).sum()),
        every.signals,
        every.mean_bp,
        every.low_bp,
        every.high_bp,
        float(np.nansum(net)),
        figures.signals,
        figures.earned.mean_bp,
        figures.pnl,
        figures.pnl_before_costs,
    )


def compared(slot: SlotName, frame: dataset.Frame, made: list[ServedCandidate]) -> list[RuleLine]:
    """Compare the rules for each choice of candidates and each schedule."""
    lines = []
    for which in ("passed", "all"):
        chosen = [one for one in made if which == "all" or not one.refused_by]
        for schedule, days in SCHEDULES.items() if chosen else ():
            live = serving(chosen, days, slot.interval_ms)
            lines += [line(slot, frame, live, rule, which, schedule) for rule in RULES]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="COIN-INTERVAL.parquet")
    parser.add_argument("--days", type=float, default=7.0, help="between two candidates")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    lines, refused = [], {}
    with threadpool_limits(1):
        for data in args.data:
            slot = SlotName.parse(data.stem)
            ((_, frame),) = windows(data, "", ["0-100"])
            made = list(candidates(slot, frame, args.days))
            refused[str(slot)] = {one.bar: one.refused_by for one in made}
            lines += compared(slot, frame, made)
    if args.json:
        print(
            json.dumps({"refused_by": refused, "lines": [asdict(one) for one in lines]}, indent=1)
        )
        return
    print("| candidates | rule | signals down / up | a signal, bp | their sum", end=" ")
    print("| trades | a trade, bp | P&L before costs | after |")
    print("|" + "---|" * 9)
    for one in lines:
        print(one.text())
    for name, found in refused.items():
        print(f"{name}: {sum(not by for by in found.values())} of {len(found)} candidates passed")


if __name__ == "__main__":
    main()
