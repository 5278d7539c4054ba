"""A daemon's state made by hand, with something in every field that a metric is of."""

from daemon.mqtt.messages import BotState, FeatureMismatch, FeedState, SlotState, VenueState
from daemon.mqtt.retrain_messages import RetrainProgress
from daemon.runtime.announcements import Announcement
from daemon.web.metrics.event_tally import EventTally
from daemon.web.metrics.families import DaemonReading
from hyperdrift.slot_name import SlotName
from retrain import features
from tests.fakes import FakeClock

EARNED = {"count": 40, "mean_bp": 1.5, "low_bp": -1.0, "high_bp": 4.0, "verdict": "not shown"}
SINCE = EARNED | {"count": 90}
BOTS = (
    BotState(bot_id="a", online=True),
    BotState(bot_id="b", online=True, silent_since_ms=1),
    BotState(bot_id="c", online=False),
)
STATE = SlotState(
    phase="retraining",
    model_id="20260101_000000_abcdefabcdef",
    model_age_s=3600,
    win_rate=0.5,
    trades=10,
    drift=dict.fromkeys(features.NAMES, 0.25),
    last_bar_t=1_750_000_000_000,
    lag_ms=1500,
    retrain=RetrainProgress(job="j", step="fit", percent=40.0),
    pnl_7d=-12.5,
    earning={"signals": {"of_model": EARNED, "since_start": SINCE}},
    trouble="no funding",
    mismatch=FeatureMismatch(t=1, column="mom_1", theirs=1.0, ours=2.0, others=0, bars=1, clean=0),
    bots=BOTS,
)
EMPTY = SlotState(
    phase="collecting",
    model_id=None,
    model_age_s=None,
    win_rate=None,
    trades=0,
    drift={},
    last_bar_t=None,
    lag_ms=None,
    retrain=None,
    mismatch=None,
)
FEED = FeedState(confirmed=1, provisional=2, filled=3, revised=4, refused=5, gaps=6)
VENUE = VenueState(
    connected=True,
    reconnects=2,
    weight_left=700,
    weight_per_minute=1000,
    retries=3,
    throttled=1,
    clock_jumps=0,
    oddities={"duplicate": 7},
)


def reading(*slots: str, state: SlotState = STATE) -> DaemonReading:
    """Return the state of a daemon whose slots are all alike."""
    return DaemonReading(
        version="0.1.0",
        python="3.11.2",
        ready=True,
        uptime_s=60.0,
        broker_connected=True,
        rows_written=11,
        venue=VENUE,
        slots=dict.fromkeys(slots, state),
        feed=dict.fromkeys(slots, FEED),
    )


def told(kind: str, slot: str = "BTC-5m", **fields: object) -> Announcement:
    severity = str(fields.get("severity", "info"))
    return Announcement(slot=slot, kind=kind, at_ms=0, text="", severity=severity, fields=fields)


def busy_tally(*slots: str) -> EventTally:
    """Return a tally in which everything that is counted has happened in each slot."""
    tally = EventTally([SlotName.parse(slot) for slot in slots], FakeClock())
    for slot in slots:
        tally.take(told("retrain_started", slot, job=slot))
        fields = {"job": slot, "passed": False, "refused_by": ["direction"]}
        tally.take(told("retrain_finished", slot, **fields))
        tally.take(told("acknowledged", slot, status="loaded", order_to_ack_ms=80.0))
        tally.take(told("alert", slot, severity="critical"))
    return tally
