"""Decide when a retrain is worth its cost, in words that a person can check.

A retrain can do harm: on real coins a fixed schedule was worse than none about half the time.
So only evidence starts a retrain. Limits in event time keep lasting evidence from starting one
retrain after another.
"""

from dataclasses import dataclass, field

from monitor.drift.feed_health import utc

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_RARE_BARS_PER_DAY = 24
_FAR_DAYS = 3650
_ASKED = ("drift", "win_rate", "age")
# Of `retry_bars`: to eight days at 5m.
_DOUBLINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The limits of one slot; all times are event time.

    Attributes:
        cooldown_hours: No automatic retrain sooner than this after the last one began.
        max_retrains_per_day: Automatic retrains stop at this many begun within 24 h; at 0 only the
            first model is trained without an operator.
        min_new_bars: Bars that the live model has not learnt from, before another is trained.
        min_bars: Bars stored before the first model is trained.
        max_age_days: A model whose newest training bar is older is renewed; 0 never.
        schedule_days: Retrain this long after the last one began, whatever the evidence; 0 never.
        on_drift: Whether drift of the features starts a retrain.
        challenge: Whether a quick challenger is asked before a retrain for drift, win rate or age:
            would it help against the drift, and would the gates refuse it.
        on_win_rate: Whether a fallen win rate starts a retrain.
        false_alarms_per_month: What the drift monitor is calibrated to, over all features.
        win_rate_floor: Below this share over `win_rate_trades` trades a model is renewed.
        win_rate_trades: Trades that the floor is judged on.
        retry_bars: Bars to wait after a retrain that failed or was refused. Beside a live model
            each further refusal in a row doubles it, up to eight times.
        probation_hours: How long the previous model scores beside a new one.
    """

    cooldown_hours: float = 12.0
    max_retrains_per_day: int = 2
    min_new_bars: int = 288
    min_bars: int = 5000
    max_age_days: float = 7.0
    schedule_days: float = 0.0
    on_drift: bool = True
    challenge: bool = True
    on_win_rate: bool = True
    false_alarms_per_month: float = 1.0
    win_rate_floor: float = 0.45
    win_rate_trades: int = 100
    retry_bars: int = 288
    probation_hours: float = 48.0


def default_settings(interval_ms: int) -> PolicySettings:
    """Return limits for an interval: 288 bars are a day at 5m and most of a year at 1d.

    Args:
        interval_ms: Length of one bar.
    """
    per_day = max(1, DAY_MS // interval_ms)
    if per_day >= _RARE_BARS_PER_DAY:
        return PolicySettings(min_new_bars=per_day, retry_bars=per_day)
    return PolicySettings(
        min_new_bars=14 * per_day, retry_bars=7 * per_day, min_bars=1000, max_age_days=30.0
    )


def lasting(settings: PolicySettings) -> tuple[float, ...]:
    """Return the settings that an engine's records are made with: those of the win rate.

    What was told of a fall, and the evidence for it, follow from each past trade. How long a
    probation lasts matters to the present one only; all others only `decide` reads.

    Args:
        settings: The limits.
    """
    return settings.win_rate_floor, settings.win_rate_trades


@dataclass(slots=True, kw_only=True)  # not frozen: one is made of every event, for half the time
class Situation:
    """What is known at `now_ms`; nobody changes it.

    `trained_to_ms` is None without a live model, `began_ms` holds when the recent
    retrains began, oldest first, `unsuccessful_ms` when the last one failed or was refused,
    `refusals` how many in a row were refused.
    `drifted` names features, `fell` says in words how the win rate fell, `unservable` why the
    bot could not load a new model, `unhelpful` why a retrain for drift would not help, `refusal`
    why the gates would refuse one.
    """

    now_ms: int
    interval_ms: int
    bars: int
    trained_to_ms: int | None = None
    began_ms: tuple[int, ...] = ()
    unsuccessful_ms: int | None = None
    refusals: int = 0
    drifted: tuple[str, ...] = ()
    unhelpful: str = ""
    refusal: str = ""
    fell: str = ""
    paused: bool = False
    unservable: str = ""
    under_way: str = ""
    on_probation: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Retrain now: `trigger` is first, drift, win_rate, age or schedule."""

    trigger: str
    reason: str

    @property
    def is_asked(self) -> bool:
        """Whether a quick challenger is asked first: not before a schedule or a first model."""
        return self.trigger in _ASKED


@dataclass(frozen=True, slots=True)
class Wait:
    """Do not retrain; the reason is published once and holds until something changes."""

    reason: str
    evidence: tuple[str, ...] = field(default=())


def decide(settings: PolicySettings, now: Situation) -> Start | Wait:
    """Decide whether to retrain; the caller acts.

    Args:
        settings: The limits.
        now: The situation to judge.
    """
    if now.under_way:
        return Wait(now.under_way)
    wanted = _evidence(settings, now)
    if wanted is None:
        drift = ("drift", _drift(now)) if now.unhelpful else ()
        return Wait(now.unhelpful or _idle(settings, now), drift)
    hindrance = _hindrance(settings, now, wanted.trigger)
    if not hindrance:
        return wanted
    due = _scheduled(settings, now)  # which no refusal puts off for longer
    if due is not None and not _hindrance(settings, now, due.trigger):
        return due
    return Wait(hindrance, (wanted.trigger, wanted.reason))


def earliest_ms(settings: PolicySettings, now: Situation) -> int:
    """Return when the limits let the policy start another retrain, ms UTC, whatever the evidence.

    Args:
        settings: The limits.
        now: The situation to judge.
    """
    limits = [now.now_ms]
    if now.unsuccessful_ms is not None:
        scheduled = settings.schedule_days > 0
        bars = _retry_bars(settings, now, scheduled=scheduled)
        limits.append(now.unsuccessful_ms + bars * now.interval_ms)
    if now.trained_to_ms is not None:  # a first model waits for nothing else
        limits.append(now.trained_to_ms + settings.min_new_bars * now.interval_ms)
        if now.began_ms:
            limits.append(now.began_ms[-1] + round(settings.cooldown_hours * HOUR_MS))
        if 0 < settings.max_retrains_per_day <= len(now.began_ms):
            limits.append(now.began_ms[-settings.max_retrains_per_day] + DAY_MS)
    return max(limits)


def causes(settings: PolicySettings, *, has_model: bool) -> tuple[str, ...]:
    """Return what would start a retrain, in words; empty if only an operator would.

    Args:
        settings: The limits.
        has_model: Whether a model is live.
    """
    if not has_model:
        return (f"{settings.min_bars} stored bars",)
    if settings.max_retrains_per_day == 0:
        return ()
    known = (
        ("drift of a feature", settings.on_drift),
        ("a fallen win rate", settings.on_win_rate),
        (f"a model older than {settings.max_age_days:g} days", settings.max_age_days > 0),
        (f"{settings.schedule_days:g} days since the last retrain", settings.schedule_days > 0),
    )
    return tuple(cause for cause, applies in known if applies)


def collecting(settings: PolicySettings, now: Situation) -> str:
    """Return how many bars a first model has, their pace and until when; "" if it has enough."""
    missing = settings.min_bars - now.bars
    if now.trained_to_ms is not None or now.under_way or missing <= 0:
        return ""
    left_ms, pace = missing * now.interval_ms, DAY_MS / now.interval_ms
    is_near = left_ms < _FAR_DAYS * DAY_MS
    enough = f"on {utc(now.now_ms + left_ms)}" if is_near else f"in more than {_FAR_DAYS} days"
    return (
        f"{now.bars} are stored and {pace:.3g} come a day, so there will be enough {enough},"
        " or sooner if you `hyperdrift import` older ones"
    )


def _evidence(settings: PolicySettings, now: Situation) -> Start | None:
    """Return the strongest reason to retrain, before any limit."""
    if now.trained_to_ms is None:
        enough = now.bars >= settings.min_bars
        return Start("first", "there was no model and there were enough bars") if enough else None
    if now.drifted and settings.on_drift and not now.unhelpful:
        return Start("drift", _drift(now))
    if now.fell and settings.on_win_rate:
        return Start("win_rate", now.fell)
    if 0 < settings.max_age_days * DAY_MS <= now.now_ms - now.trained_to_ms:
        return Start("age", f"the model is older than {settings.max_age_days:g} days")
    return _scheduled(settings, now)


def _scheduled(settings: PolicySettings, now: Situation) -> Start | None:
    """Return the retrain that is due by the schedule, beside a live model."""
    if now.trained_to_ms is None:
        return None
    last = now.began_ms[-1] if now.began_ms else now.trained_to_ms
    if 0 < settings.schedule_days * DAY_MS <= now.now_ms - last:
        return Start("schedule", f"{settings.schedule_days:g} days since the last retrain")
    return None


def _retry_bars(settings: PolicySettings, now: Situation, *, scheduled: bool) -> int:
    """Return how many bars to wait after a retrain that did not succeed.

    What refused one candidate refuses the next day's too: the judged weeks are nearly the same.
    Without a model, or by a schedule, it is asked again as soon as the limit lets it.
    """
    if now.trained_to_ms is None or scheduled:
        return settings.retry_bars
    return settings.retry_bars << min(_DOUBLINGS, max(0, now.refusals - 1))


def _hindrance(settings: PolicySettings, now: Situation, trigger: str) -> str:
    """Return why a retrain must wait despite the evidence, "" if it may start."""
    if now.paused:
        return "paused by an operator"
    if now.unservable:
        return now.unservable
    bars = _retry_bars(settings, now, scheduled=trigger == "schedule")
    if (
        now.unsuccessful_ms is not None
        and now.now_ms - now.unsuccessful_ms < bars * now.interval_ms
    ):
        last = (
            f"{now.refusals} retrains in a row were refused" if bars > settings.retry_bars else ""
        )
        last = last or "the last retrain did not succeed"
        return f"{last}; the next may start {bars} bars on"
    if trigger == "first":
        return ""
    if now.on_probation:
        return "the live model is still on probation"
    if now.began_ms and now.now_ms - now.began_ms[-1] < settings.cooldown_hours * HOUR_MS:
        return f"cooling down for {settings.cooldown_hours:g} h after the last retrain"
    if sum(now.now_ms - began < DAY_MS for began in now.began_ms) >= settings.max_retrains_per_day:
        return f"already {settings.max_retrains_per_day} retrains within 24 h"
    new_bars = (now.now_ms - (now.trained_to_ms or 0)) // now.interval_ms
    if new_bars < settings.min_new_bars:
        return f"fewer than {settings.min_new_bars} bars are new to the live model"
    return now.refusal if trigger in _ASKED else ""


def _drift(now: Situation) -> str:
    return "drift of " + ", ".join(now.drifted)


def _idle(settings: PolicySettings, now: Situation) -> str:
    if now.trained_to_ms is None:
        return f"collecting bars: the first model needs {settings.min_bars}"
    return "no evidence against the live model"
