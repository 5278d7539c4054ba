"""Watch the live model: its features, its signals, the bot's trades, its predecessor.

This module turns every bar and every trade into findings; the engine decides what follows.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from monitor import events
from monitor.challenge import Challenge
from monitor.drift.drift_monitor import Calibration, DriftMonitor
from monitor.earning import Earnings, Source
from monitor.errors import BadObservation, BadReference
from monitor.outbox import Finding
from monitor.outcomes import SignalBook, decision
from monitor.policy import DAY_MS, PolicySettings
from monitor.probation import Probation, end_of
from monitor.speaking import SpeakingRate
from monitor.winrate import WinRate, WinRateFell

# So many trades in a row on one side are no chance.
_SIDED_TRADES = 50
_PNL_TRADES = 20
# A price without a change for this many bars means an outage or a market without trades.
FLAT_BARS = 12
_GAINS: Final = 500


class SignalGain(NamedTuple):
    """What a signal returned after costs, a fraction, and when that was known, ms UTC.

    `total` is the sum of all returns up to this one since the engine was built.
    """

    at_ms: int
    gain: float
    total: float


@dataclass(slots=True)
class TradeAlerts:
    """Alerts about the bot's trades under one model, beside their win rate.

    A model that only buys, or only sells, has learnt a trend. A week of losses is a loss whatever
    the win rate is. Neither starts a retrain; each is reported once.
    """

    sides: deque[str] = field(default_factory=lambda: deque(maxlen=_SIDED_TRADES))
    trades: int = 0
    told: set[str] = field(default_factory=set)

    def trade(self, side: str, pnl_7d: float) -> list[Finding]:
        """Take a closed trade; return the findings.

        Args:
            side: Side of the trade.
            pnl_7d: P&L of seven days with this trade, in quote units.
        """
        self.trades += 1
        self.sides.append(side)
        found = []
        if len(self.sides) == _SIDED_TRADES and len(set(self.sides)) == 1:
            text = f"all of the last {_SIDED_TRADES} trades were {side}s; both sides should trade"
            found.append(
                Finding("win_rate", text, {"cause": "one_sided", "side": side}, alert=True)
            )
        if self.trades >= _PNL_TRADES and pnl_7d < 0:
            text = f"the trades of seven days lost {-pnl_7d:.2f}"
            found.append(Finding("win_rate", text, {"cause": "pnl", "pnl_7d": pnl_7d}, alert=True))
        news = [one for one in found if one.fields["cause"] not in self.told]
        self.told.update(str(one.fields["cause"]) for one in news)
        return news


@dataclass(slots=True)
class Champion:
    """The live model and everything that is watched about it.

    `fell` says how its win rate fell, `drifted` names the features that did since it learnt,
    `refused_by` the bots that refused it, `challenge` whether a retrain would help. After a
    rollback `may_fall_back` is False: only an operator rolls back again. `loaded_by` is the bot
    that loaded it first, so no refusal of another bot speaks against it.
    """

    served: events.ModelServed
    signals: SignalBook
    speaking: SpeakingRate
    drift: DriftMonitor | None
    may_fall_back: bool
    probation: Probation | None
    fell: str = ""
    drifted: list[str] = field(default_factory=list)
    refused_by: set[str] = field(default_factory=set)
    loaded_by: str | None = None
    challenge: Challenge = field(default_factory=Challenge)
    trade_alerts: TradeAlerts = field(default_factory=TradeAlerts)

    @property
    def model_id(self) -> str:
        """Version of the live model."""
        return self.served.model_id

    @property
    def on_probation(self) -> bool:
        """Whether its predecessor still scores beside it."""
        return self.probation is not None

    @property
    def was_on_probation(self) -> bool:
        """Whether it is or was on probation: it has a predecessor, and is not one itself."""
        return self.previous_id is not None and self.may_fall_back

    @property
    def previous_id(self) -> str | None:
        """The version to roll back to, None if there is none."""
        return self.served.previous_id


class Watch:
    """Watches one slot.

    Args:
        settings: The limits of the slot.
        interval_ms: Length of one bar.
        names: Names of the features.

    Attributes:
        champion: The live model, None before the first.
        trades: The record of the bot's trades under it.
        signals: The record of its own signals.
        trades_before: Trades since it went live that were opened before.
        earnings: What signals and trades earn, of the live model and since the start.
        gains: What the newest signals returned, of whatever model was live, oldest first.
    """

    def __init__(self, settings: PolicySettings, interval_ms: int, names: tuple[str, ...]) -> None:
        self._settings, self._interval_ms, self._names = settings, interval_ms, names
        self.champion: Champion | None = None
        self._close, self._still, self.trades_before = 0.0, 0, 0
        self.trades, self.signals = self._record(), self._record()
        self.earnings = Earnings()
        self.gains: deque[SignalGain] = deque(maxlen=_GAINS)

    def figures(self, now_ms: int) -> dict[str, Any]:
        """Return the part of a snapshot that is about the live model.

        Args:
            now_ms: Event time, ms UTC.
        """
        champion = self.champion
        record = self.trades if self.trades.trades else self.signals
        figures = {
            "win_rate": record.rate,
            "trades": record.trades,
            "win_rate_of": "trades" if record is self.trades else "signals",
            "win_rate_count": record.recent,
            "pnl_7d": self.trades.pnl(now_ms),
            "trades_before": self.trades_before,
            "earning": self.earnings.document(),
        }
        if champion is None:
            return figures
        probation, drift = champion.probation, champion.drift
        return figures | {
            "model_id": champion.model_id,
            "previous_id": champion.previous_id,
            "live_since_ms": champion.served.at_ms,
            "live_reason": champion.served.reason,
            "model_age_s": max(0, now_ms - champion.served.trained_to_ms) // 1000,
            "drift": drift.scores() if drift else {},
            "drifted": tuple(champion.drifted),
            "speaking": champion.speaking.document(),
            "challenge_id": champion.challenge.job_id or None,
            "probation_ends_ms": probation.ends_ms if probation else None,
            "probation": probation.estimate() if probation else None,
        }

    def adopt(self, settings: PolicySettings, now_ms: int) -> bool:
        """Go on under other settings; return whether the probation of now is as under them.

        Args:
            settings: The limits of the slot.
            now_ms: Event time, ms UTC.
        """
        before, hours = self._settings.probation_hours, settings.probation_hours
        self._settings, champion = settings, self.champion
        if hours == before or champion is None or not champion.was_on_probation:
            return True
        ends_ms = end_of(champion.served.at_ms, hours)
        if champion.probation is None:  # it ended; under a longer one it might go on
            return hours < before or ends_ms <= now_ms
        champion.probation.ends_ms = ends_ms
        return now_ms < ends_ms

    def begin(self, served: events.ModelServed, *, back: bool) -> list[Finding]:
        """Begin to watch a model that went live; return findings about faults of its calibration.

        Args:
            served: The event.
            back: Whether this is a rollback, which needs no probation.
        """
        horizon_ms = served.horizon_bars * self._interval_ms
        probation = None
        if served.previous_id is not None and not back:
            probation = Probation(
                served.previous_id,
                began_ms=served.at_ms,
                hours=self._settings.probation_hours,
                horizon_ms=horizon_ms,
                threshold=served.threshold,
                shadow_threshold=served.previous_threshold,
            )
        drift, found = self._drift_monitor(served.calibration)
        signals = SignalBook(horizon_ms=horizon_ms, up=served.up, down=served.down)
        speaking = SpeakingRate(served.signal_share, bars_per_day=DAY_MS // self._interval_ms)
        self.champion = Champion(served, signals, speaking, drift, not back, probation)
        self.trades_before = 0
        self.trades.reset(served.win_rate)
        self.signals.reset(served.win_rate)
        self.earnings.begin()
        return found

    def bar(self, event: events.BarScored) -> list[Finding]:
        """Take a bar that is newer than the last one; return the findings.

        Args:
            event: The bar. Probabilities of any other model than the live one are ignored.
        """
        champion = self.champion
        self._still = self._still + 1 if event.close == self._close else 0
        self._close = event.close
        if champion is None:
            return []
        found: list[Finding] = []
        p = event.p if event.model_id == champion.model_id else None
        outcome = champion.signals.observe(event.t, event.close, p)
        if outcome is not None:
            fallen = self.signals.update(event.at_ms, outcome.won, outcome.gain)
            found += _win_rate_findings(champion, "signals", fallen)
            gain = outcome.gain - champion.served.round_trip_bps / 1e4
            total = gain + (self.gains[-1].total if self.gains else 0.0)
            self.gains.append(SignalGain(event.at_ms, gain, total))
            found += self._earned("signals", gain, of_model=True)
        if p is not None:
            found += _speaking_findings(champion, p)
        if champion.probation is not None:
            ours = event.shadow_id == champion.probation.shadow_id
            shadow = event.shadow_p if ours else None
            champion.probation.observe(event.t, event.close, p, shadow)
        return found + _drift_findings(champion, event, flat=self._still >= FLAT_BARS)

    def trade(self, event: events.TradeClosed) -> list[Finding]:
        """Take a closed trade; return the findings.

        Args:
            event: The trade. One that was opened under another model only counts as P&L.
        """
        champion = self.champion
        closed_ms = min(event.closed_ms, event.at_ms)  # a trade file may be read much later
        if champion is None or event.opened_ms < champion.served.at_ms:
            self.trades.book(closed_ms, event.pnl)
            self.trades_before += 1
            return self._earned_by_trade(event, of_model=False)
        fallen = self.trades.update(closed_ms, event.pnl > 0, event.pnl)
        found = _win_rate_findings(champion, "trades", fallen)
        found += champion.trade_alerts.trade(event.side, self.trades.pnl(event.at_ms))
        return found + self._earned_by_trade(event, of_model=True)

    def _earned_by_trade(self, event: events.TradeClosed, *, of_model: bool) -> list[Finding]:
        if event.notional <= 0:
            return []
        span = {"opened_ms": event.opened_ms, "closed_ms": min(event.closed_ms, event.at_ms)}
        gain, value = event.pnl / event.notional, event.notional
        return self._earned("trades", gain, of_model=of_model, value=value, **span)

    def _earned(self, source: Source, gain: float, **of: Any) -> list[Finding]:
        """Take a return after costs; return a finding when the model surely earns, or loses."""
        news = self.earnings.update(source, gain, **of)
        if news is None:
            return []
        fields = {"source": source, **news.document()}
        return [Finding("earning", f"{source}: {news}", fields, alert=news.verdict == "loses")]

    def _drift_monitor(self, text: str) -> tuple[DriftMonitor | None, list[Finding]]:
        if not text:
            return None, []
        try:
            calibration = Calibration.from_json(text)
            calibration.expect(self._names)
        except BadReference as e:  # a model whose drift is not watched is better than none
            return None, [Finding("feed_fault", f"drift is not watched: {e}", {}, alert=True)]
        return DriftMonitor.from_calibration(calibration), []

    def _record(self) -> WinRate:
        return WinRate(
            None, floor=self._settings.win_rate_floor, floor_trades=self._settings.win_rate_trades
        )


def _win_rate_findings(
    champion: Champion, source: str, fallen: tuple[WinRateFell, ...]
) -> list[Finding]:
    found = []
    for fell in fallen:
        text = f"{source}: {fell.text}"
        if fell.kind != "streak":  # a streak alone starts no retrain
            champion.fell = champion.fell or text
        fields = {"cause": fell.kind, "source": source, "rate": fell.rate, "trades": fell.trades}
        found.append(Finding("win_rate", text, fields, alert=True))
    return found


def _speaking_findings(champion: Champion, p: tuple[float, float, float]) -> list[Finding]:
    served, speaking = champion.served, champion.speaking
    text = speaking.update(signal=decision(p, served.up, served.down) != 0)
    return [Finding("speaks_often", text, speaking.document(), alert=True)] if text else []


def _drift_findings(champion: Champion, event: events.BarScored, *, flat: bool) -> list[Finding]:
    if champion.drift is None:
        return []
    found = []
    for alarm in champion.drift.update(event.t, event.row, flat=flat):
        champion.drifted.append(alarm.name)
        found.append(Finding("drift", str(alarm), alarm.fields()))
    for fault in champion.drift.faults():
        fields = {"feature": fault.name, "fault": fault.kind, "since_t": fault.since_t}
        found.append(Finding("feed_fault", str(fault), fields, alert=True))
    return found


def check_bar(event: events.BarScored, width: int) -> None:
    """Refuse impossible numbers.

    Args:
        event: The bar.
        width: How many features a row has.

    Raises:
        BadObservation: If the close, the probabilities or the length of the row are impossible.
    """
    if not (math.isfinite(event.close) and event.close > 0):
        raise BadObservation("close", event.close, "a positive price")
    if len(event.row) != width:
        raise BadObservation("row", len(event.row), f"{width} features")
    for p in (event.p, event.shadow_p):
        if p is not None and not (0 <= p[0] <= 1 and 0 <= p[1] <= 1 and 0 <= p[2] <= 1):
            raise BadObservation("p", p, "three probabilities")
