"""Views of an ordinary day, made in code: four slots, one of which needs its owner."""

import math
import random

from daemon.journal.line import JournalLine
from daemon.mqtt.messages import BotState, FeedState, SlotState, VenueState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress
from daemon.web.views import (
    BarLine,
    DriftBar,
    EquityPoint,
    FeedLine,
    FeedView,
    GateLine,
    JournalView,
    Overview,
    Problem,
    SignIn,
    SlotSummary,
    SlotView,
    TimelineMark,
    Urgency,
    VersionLine,
    VersionView,
    View,
    WinShare,
)
from hyperdrift.features import FEATURE_NAMES

NOW_MS = 1_754_049_785_000  # 2025-08-01 12:03:05
HOUR_MS = 3_600_000
OLD, NEW, REFUSED = (
    "20250731_060000_0f3a9c2b7d41",
    "20250801_090500_0f3a9c2b7d41",
    "20250730_180000_0f3a9c2b7d41",
)
VENUE = VenueState(
    connected=True,
    reconnects=3,
    weight_left=1130,
    weight_per_minute=1200,
    retries=2,
    throttled=1,
    clock_jumps=0,
    oddities={"duplicate": 12, "late": 2},
)


def equity(count: int = 300, seed: int = 1, mean: float = 0.9) -> tuple[EquityPoint, ...]:
    """Return a random walk of signals over ten days."""
    chance, total, points = random.Random(seed), 0.0, []
    for i in range(count):
        total += chance.gauss(mean, 14)
        points.append(EquityPoint(t=NOW_MS - (count - i) * 240 * HOUR_MS // count, total_bp=total))
    return tuple(points)


def feed_state(gaps: int = 0) -> FeedState:
    return FeedState(
        confirmed=4321, provisional=17, filled=2, revised=5, refused=0, gaps=gaps, record_t=NOW_MS
    )


def slot_state(phase: str = "probation") -> SlotState:
    return SlotState(
        phase=phase,
        model_id=NEW,
        model_age_s=11_300,
        win_rate=0.54,
        trades=132,
        drift=dict.fromkeys(FEATURE_NAMES, 0.1),
        last_bar_t=NOW_MS - 485_000,
        lag_ms=840,
        retrain=RetrainProgress(job="7", step="fitting the twin", percent=41.0)
        if phase == "retraining"
        else None,
        challenge=ChallengeProgress(job="8", reason="drift of mom_1", place=3, waiting=12)
        if phase == "serving"
        else None,
        pnl_7d=1234.5,
        waiting_for="Waits: no drift, win rate 54 % above the floor, cooling down until 15:05.",
        mismatch=None,
        labels="UP and DOWN are moves of more than 0.5 % within 12 bars, the default of 5m.",
    )


def summary(
    slot: str = "BTC-5m",
    urgency: Urgency = "ok",
    phase: str = "probation",
    needs: str = "",
    *,
    seed: int = 1,
) -> SlotSummary:
    return SlotSummary(
        slot=slot,
        urgency=urgency,
        headline=(
            "On probation since 09:05: the new model is watched beside the one before it, "
            "until 3 Aug 09:05 at the latest."
        ),
        needs=needs,
        earning="+0.9 bp a signal after costs, 95 % -0.4 to +2.2 on 132: not shown yet.",
        win_rate=WinShare(value=0.54, low=0.45, high=0.62, count=132, of="signals"),
        top_drift=DriftBar(feature="gk_volatility", evidence=0.42),
        equity=equity(60, seed),
        state=slot_state(phase),
    )


def slots() -> tuple[SlotSummary, ...]:
    return (
        summary(
            "HYPE-5m",
            "act",
            "paused",
            "The bot paper-1 refuses the live version: it has no onnxruntime. Run "
            "`pip install onnxruntime` beside it.",
            seed=2,
        ),
        summary("SOL-1h", "look", "serving", seed=3),
        summary("ETH-5m", "busy", "retraining", seed=4),
        summary("BTC-5m", seed=1),
    )


def overview(found: tuple[SlotSummary, ...] | None = None) -> Overview:
    return Overview(
        now_ms=NOW_MS,
        version="0.1.0",
        since_ms=NOW_MS - 75 * HOUR_MS,
        doing="",
        urgency="act",
        headline="It lives. One of four slots needs you; three models are serving.",
        needs="",
        venue=VENUE,
        broker_connected=True,
        slots=slots() if found is None else found,
    )


def many_slots(count: int = 200) -> Overview:
    kinds: tuple[Urgency, ...] = ("act", "look", "busy", "ok")
    names = sorted(
        (kinds[min(3, i % 23)], f"{'ABCDEFGHIJ'[i % 10]}{'OIL'[i % 3]}{i}-5m") for i in range(count)
    )
    phases = {"act": "paused", "look": "serving", "busy": "retraining", "ok": "serving"}
    return overview(
        tuple(
            summary(
                name,
                kind,
                phases[kind],
                "No bar for 20 minutes: `hyperdrift doctor`." if kind == "act" else "",
                seed=i,
            )
            for i, (kind, name) in enumerate(names)
        )
    )


def marks() -> tuple[TimelineMark, ...]:
    at = NOW_MS - 230 * HOUR_MS
    return (
        TimelineMark(at_ms=at, kind="trained", text="The first model was trained.", model_id=OLD),
        TimelineMark(at_ms=at + HOUR_MS, kind="live", text="The first model.", model_id=OLD, seq=5),
        TimelineMark(
            at_ms=NOW_MS - 42 * HOUR_MS,
            kind="refused",
            text="Refused by beats_champion: its log loss is 1.4 % worse.",
            model_id=REFUSED,
            seq=900,
        ),
        TimelineMark(
            at_ms=NOW_MS - 30 * HOUR_MS, kind="alarm", text="No bar for 12 minutes.", seq=1000
        ),
        TimelineMark(
            at_ms=NOW_MS - 4 * HOUR_MS,
            kind="drift",
            text="gk_volatility changed: evidence 2.0 times the alarm line.",
            seq=1100,
        ),
        TimelineMark(
            at_ms=NOW_MS - 3 * HOUR_MS, kind="trained", text="Trained on drift.", model_id=NEW
        ),
        TimelineMark(
            at_ms=NOW_MS - 3 * HOUR_MS + 60_000,
            kind="live",
            text="It passed 14 gates.",
            model_id=NEW,
            seq=1120,
        ),
    )


def version_line(model_id: str = NEW, *, passed: bool = True, live: bool = False) -> VersionLine:
    return VersionLine(
        model_id=model_id,
        trained_at_utc="2025-08-01T09:05:00Z",
        live=live,
        previous=not live and passed,
        passed=passed,
        promoted_by=None,
        refused_by=() if passed else ("beats_champion",),
        test_accuracy=0.761,
        signal_share=0.031,
        win_rate=0.552,
        mean_return_bp=1.7,
        skill=0.0142,
        problem="",
    )


def journal_lines(count: int = 20) -> tuple[JournalLine, ...]:
    kinds = (
        ("RetrainFinished", "A candidate passed 14 gates and goes live.", "info"),
        ("DriftDetected", "gk_volatility changed: evidence 2.0 times the alarm line.", "warning"),
        ("alarm", "No bar for 12 minutes: the venue does not answer.", "critical"),
        ("decision", "Waits: cooling down until 15:05.", "info"),
    )
    return tuple(
        JournalLine(
            seq=1120 - i,
            at_ms=NOW_MS - i * 11 * 60_000,
            slot="BTC-5m" if i % 5 else "",
            kind=kinds[i % 4][0],
            text=kinds[i % 4][1],
            severity=kinds[i % 4][2],
            fields={"job_id": "7", "rows": 4321, "detail": [0.12345678, None, True]},
        )
        for i in range(count)
    )


def slot_view(urgency: Urgency = "ok", phase: str = "probation") -> SlotView:
    evidence = [math.exp(-i / 3) * 1.4 for i in range(len(FEATURE_NAMES))]
    return SlotView(
        summary=summary(urgency=urgency, phase=phase),
        equity=equity(),
        drift=tuple(
            DriftBar(feature=name, evidence=value)
            for name, value in zip(FEATURE_NAMES, evidence, strict=True)
        ),
        timeline=marks(),
        retrain=slot_state(phase).retrain,
        challenge=slot_state(phase).challenge,
        next_retrain="The next one may start at 15:05; drift, a win rate below 45 % or an age of "
        "7 days would cause it.",
        why_live=f"It replaced {OLD} on 1 Aug 09:05 because gk_volatility changed (evidence 2.0 x "
        "the alarm line); it passed 14 gates and its log loss was 0.11 % better.",
        versions=(
            version_line(live=True),
            version_line(OLD),
            version_line(REFUSED, passed=False),
        ),
        bots=(
            BotState(bot_id="paper-1", online=True, model_id=NEW),
            BotState(bot_id="live-1", online=True, model_id=OLD, silent_since_ms=NOW_MS - HOUR_MS),
            BotState(bot_id="old", online=False, waiting_for="onnxruntime is missing"),
        ),
        bars=tuple(
            BarLine(
                t=NOW_MS - 185_000 - i * 300_000,
                open=114_000.0,
                high=114_200.0,
                low=113_900.0,
                close=114_100.5 - i,
                volume=12.34567,
                p=None if i == 5 else (0.08, 0.81, 0.11),
                decision="" if i == 5 else ("UP" if i % 7 == 0 else "NEUTRAL"),
            )
            for i in range(24)
        ),
        feed=feed_state(),
        journal=journal_lines(),
    )


def gate(name: str, *, passed: bool = True) -> GateLine:
    return GateLine(
        name=name,
        passed=passed,
        value=0.0142,
        limit=0.01,
        sentence=f"{name.replace('_', ' ')} 0.0142 is {'within' if passed else 'beyond'} 0.01",
        why="a newer model is not a better one until it shows",
    )


def version_view(*, passed: bool = True) -> VersionView:
    names = ("train_accuracy", "test_accuracy", "all_classes", "overfit", "beats_prior", "loads")
    return VersionView(
        slot="BTC-5m",
        line=version_line(NEW if passed else REFUSED, passed=passed, live=passed),
        gates=(*map(gate, names), gate("beats_champion", passed=passed)),
        labels="UP and DOWN are moves of more than 0.5 % within 12 bars, the default of 5m.",
        trained_to_ms=NOW_MS - 3 * HOUR_MS,
        cause="It was trained because gk_volatility changed (evidence 2.0 x the alarm line).",
        has_report=True,
        scores={"test": {"skill": 0.0142, "decisions": {"shares": [0.02, 0.96, 0.02]}}},
        settings={"seed": 0, "horizon_bars": 12, "threshold": 0.005},
        forms={"joblib": f"meta_classifier_{NEW}.joblib", "onnx": f"model_{NEW}.onnx"},
        libraries={"scikit-learn": "1.9.1", "numpy": "2.4.0"},
    )


def feed_view(count: int = 4) -> FeedView:
    found = (slots() if count == 4 else many_slots(count).slots)[:count]
    return FeedView(
        now_ms=NOW_MS,
        venue=VENUE,
        slots=tuple(
            FeedLine(
                slot=one.slot,
                last_bar_t=NOW_MS - 485_000,
                lag_ms=900 + 13 * i,
                trouble="No bar for 20 minutes: `hyperdrift doctor`." if i == 2 else "",
                feed=feed_state(i % 7),
            )
            for i, one in enumerate(found)
        ),
    )


def journal_view(count: int = 100) -> JournalView:
    return JournalView(
        lines=journal_lines(count),
        kinds=("DriftDetected", "RetrainFinished", "alarm", "decision"),
        slots=("BTC-5m", "ETH-5m"),
        older=1020,
    )


def all_views() -> dict[str, View]:
    """Return one view of each page, by the page's name."""
    return {
        "overview": overview(),
        "slot": slot_view(),
        "version": version_view(),
        "feed": feed_view(),
        "journal": journal_view(),
        "sign-in": SignIn(to="/slots/BTC-5m", problem="this token is wrong"),
        "error": Problem(
            status=404,
            error="there is no slot 'BTC-6m'",
            what_to_do="did you mean BTC-5m?",
        ),
    }
