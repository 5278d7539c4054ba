"""The events that the engine takes: its only input.

Every event is frozen and has its own time. So the same events give the same decisions at any
speed: live, in a backtest and on recovery.
"""

from dataclasses import dataclass
from typing import Final

CLEAN_BARS: Final = 12
"""Bars that agree in a row end a difference of features: their shortest window, an hour at 5m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to `slot` (`BTC-5m`) at `at_ms` (event time, ms UTC)."""

    slot: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BarScored(Event):
    """A bar of record closed and, where a model is live, was scored.

    `row` has the 17 features in order (NaN where undefined), `p` the champion's
    probabilities DOWN, NEUTRAL, UP, `shadow_p` those of the previous champion while
    on probation. `at_ms` is the close of the bar, `t` its open. `stored` is how many bars
    of record the store holds up to this one; 0 makes the engine count them.
    """

    t: int
    close: float
    row: tuple[float, ...]
    model_id: str | None = None
    p: tuple[float, float, float] | None = None
    shadow_id: str | None = None
    shadow_p: tuple[float, float, float] | None = None
    stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServed(Event):
    """A version became the live one (first model, swap, rollback or promotion).

    `previous_id` is the version to go back to: what was live before, after a rollback what
    was live before that.
    `trained_to_ms` is the close of the newest bar it learnt from, `up` and `down` its
    signal thresholds, `threshold` the label threshold in force (a fraction).
    `previous_threshold` is that of `previous_id` if it is another one, brought to this horizon;
    0 if it is the same, unknown, or follows volatility.
    `calibration` is what `monitor.drift.calibrate` made for it, as JSON text, or empty.
    `win_rate` is the share of its signals that won when it was judged, None if unknown;
    `round_trip_bps` the cost of a round trip that it was judged with, basis points.
    `signal_share` is the share of the bars with a signal that its rule was made for, 0 if unknown.
    `rollback` is whether it was live before and somebody went back to it: it is then trusted
    more than its successor and needs no probation.
    """

    model_id: str
    previous_id: str | None
    reason: str
    trained_to_ms: int
    horizon_bars: int
    threshold: float
    up: float
    down: float
    calibration: str = ""
    win_rate: float | None = None
    round_trip_bps: float = 9.0
    rollback: bool = False
    previous_threshold: float = 0.0
    signal_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeClosed(Event):
    """The bot closed a trade; `pnl` after fees and `notional` at its entry, in quote units.

    `notional` is 0 where it is not known.
    """

    trade_id: str
    side: str
    opened_ms: int
    closed_ms: int
    pnl: float
    notional: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCame(Event):
    """A retrain or a quick challenger that was ordered begins; until then it may wait for others.

    An answer to a quick challenger is waited for from then on.
    """

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAwaited(Event):
    """A retrain or a quick challenger has waited too long for its turn; `detail` says it all."""

    job_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingBegan(Event):
    """A retrain has trained its candidate and now judges it."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengerJudged(Event):
    """A quick challenger was compared with the live model on the bars since its training.

    `helps` is None if the comparison is not possible; `detail` has the figures, or why not.
    `refused_by` names the gates that would refuse a candidate now; then `detail` is their verdicts.
    """

    job_id: str
    helps: bool | None
    detail: str
    rows: int = 0
    champion: float | None = None
    fresh: float | None = None
    stale: float | None = None
    refused_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainFinished(Event):
    """A retrain left a candidate; `refused_by` names the gates that it did not pass.

    `detail` explains the verdict with its figures.
    """

    job_id: str
    model_id: str
    passed: bool
    refused_by: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainFailed(Event):
    """A retrain ended without a candidate; with `stopped`, because it was not let go on, or begin.

    That says nothing about the data or the model. With `cut_off` the daemon was killed or crashed
    while it ran.
    """

    job_id: str
    error: str
    stopped: bool = False
    cut_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapAcked(Event):
    """A bot answered a swap order."""

    swap_id: str
    model_id: str
    bot_id: str
    loaded: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapFailed(Event):
    """The daemon could not put a version live; the previous one still is."""

    model_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSeen(Event):
    """A bot published its presence, or its connection ended (`online` False).

    `fault` says why it cannot load a model that a retrain would save now, "" if it can.
    """

    bot_id: str
    online: bool
    sklearn: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSpoke(Event):
    """A bot published its first prediction, or the first since `silent_since_ms`."""

    bot_id: str
    silent_since_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFellSilent(Event):
    """A bot that is online published no prediction for `bars` closed bars.

    `since_ms` is the time of its last one, ms UTC.
    """

    bot_id: str
    since_ms: int
    bars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesDiffered(Event):
    """The features a bot used for the bar that opened at `t` are not those computed here.

    `column` is the first that differs, `theirs` and `ours` its values (None if undefined),
    `others` how many more columns differ.
    """

    t: int
    column: str
    theirs: float | None
    ours: float | None
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesAgreed(Event):
    """The features a bot used for the bar that opened at `t` are those computed here."""

    t: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReceived(Event):
    """An operator (`by`) asked for something; staleness and signature were checked before.

    `issued_ms` is the time on the operator's clock, 0 if unknown.
    """

    request_id: str
    command: str
    reason: str
    model_id: str = ""
    by: str = ""
    issued_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked(Event):
    """Time passed without a bar."""
