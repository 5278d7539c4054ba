"""What the pages show and the API answers, as frozen structs.

A page and the API answer of the same name are made from one struct, so they never differ.
Times are integers, ms UTC. Shares are fractions, 0 to 1. Amounts after costs are basis points.
"""

from typing import Any, Literal

import msgspec

from daemon.journal.line import JournalLine
from daemon.mqtt.messages import BotState, FeedState, SlotState, VenueState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress

Urgency = Literal["ok", "busy", "look", "act"]
"""How much a slot needs its owner: nothing, nothing while it works, a look, an act."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of what is shown."""


class JournalView(View, frozen=True, kw_only=True):
    """A page of the journal, newest entry first.

    Attributes:
        lines: The entries.
        kinds: Every kind that can be filtered by.
        slots: Every slot that can be filtered by.
        older: `seq` to ask for entries before; null if there are none.
    """

    lines: tuple[JournalLine, ...]
    kinds: tuple[str, ...]
    slots: tuple[str, ...]
    older: int | None = None


class EquityPoint(View, frozen=True, kw_only=True):
    """The sum of signals after costs, up to one signal.

    Attributes:
        t: When the outcome of the signal was known.
        total_bp: The sum of all returns up to this one, after costs, basis points.
    """

    t: int
    total_bp: float


class WinShare(View, frozen=True, kw_only=True):
    """The share of signals that won, with its 95 % interval.

    Attributes:
        value: The share; null without signals.
        low: Lower bound; null with fewer than 30.
        high: Upper bound; null with fewer than 30.
        count: How many signals or trades it is of.
        of: `trades` of the bot or `signals` of the model.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    of: Literal["trades", "signals"]


class DriftBar(View, frozen=True, kw_only=True):
    """The evidence for a change of one feature; the alarm line is at 1."""

    feature: str
    evidence: float


class TimelineMark(View, frozen=True, kw_only=True):
    """Something that happened to the versions of a slot.

    Attributes:
        at_ms: When.
        kind: `trained`, `refused`, `live`, `rolled_back`, `drift` or `alarm`.
        text: What happened, in one sentence.
        model_id: The version that it concerns; empty if none.
        seq: The entry of the journal that says so.
    """

    at_ms: int
    kind: Literal["trained", "refused", "live", "rolled_back", "drift", "alarm"]
    text: str
    model_id: str = ""
    seq: int = 0


class SlotSummary(View, frozen=True, kw_only=True):
    """One slot on the first page.

    Attributes:
        slot: Its name.
        urgency: How much it needs its owner.
        headline: What it does and why, in one sentence.
        needs: What the owner has to do; empty if nothing.
        earning: Whether it earns, in one sentence.
        win_rate: The share of signals or trades that won.
        top_drift: The feature with the most evidence; null before a reference.
        equity: The newest points, at most 60, for a small picture.
        state: The slot's state, as it is published.
    """

    slot: str
    urgency: Urgency
    headline: str
    needs: str
    earning: str
    win_rate: WinShare
    top_drift: DriftBar | None
    equity: tuple[EquityPoint, ...]
    state: SlotState


class Overview(View, frozen=True, kw_only=True):
    """The first page.

    Attributes:
        now_ms: The time of the venue.
        version: The version of hyperdrift.
        since_ms: When the daemon started.
        doing: How far a start is; empty once the daemon is ready.
        urgency: The greatest of the slots and of the daemon.
        headline: Whether the daemon lives and what matters most, in one sentence.
        needs: What needs the owner and concerns all slots; empty if nothing.
        venue: The connections to the venue; null before there is a feed.
        broker_connected: Whether the broker is there.
        slots: The slots, the most urgent first.
    """

    now_ms: int
    version: str
    since_ms: int
    doing: str
    urgency: Urgency
    headline: str
    needs: str
    venue: VenueState | None
    broker_connected: bool
    slots: tuple[SlotSummary, ...]


class VersionLine(View, frozen=True, kw_only=True):
    """One version in the list of a slot; see `daemon.registry.version_info.VersionInfo`."""

    model_id: str
    trained_at_utc: str
    live: bool
    previous: bool
    passed: bool
    promoted_by: str | None
    refused_by: tuple[str, ...]
    test_accuracy: float | None
    signal_share: float | None
    win_rate: float | None
    mean_return_bp: float | None
    skill: float | None
    problem: str


class BarLine(View, frozen=True, kw_only=True):
    """One of the newest bars and what the live model said of it.

    Attributes:
        t: Open time.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Amount traded, in coins.
        p: Probabilities DOWN, NEUTRAL, UP; null if it was not scored.
        decision: `DOWN`, `NEUTRAL` or `UP`; empty if it was not scored.
    """

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    p: tuple[float, float, float] | None
    decision: str


class SlotView(View, frozen=True, kw_only=True):
    """The page of one slot.

    Attributes:
        summary: As on the first page.
        equity: The sum of the live signals after costs, at most 500 points.
        drift: Every feature, the most evidence first.
        timeline: What happened to the versions, oldest first.
        retrain: How far a retrain is; null if none runs.
        challenge: The quick challenger that waits or runs; null if none does.
        next_retrain: When the next one may start and what would cause it, in words.
        why_live: Why the live version is live, in one sentence.
        versions: The versions that are kept, newest first.
        bots: The bots that were heard of.
        bars: The newest bars, newest first, at most 24.
        feed: Counts of the slot's bars; null before there is a feed.
        journal: The newest entries, at most 20, without the scores of bars.
    """

    summary: SlotSummary
    equity: tuple[EquityPoint, ...]
    drift: tuple[DriftBar, ...]
    timeline: tuple[TimelineMark, ...]
    retrain: RetrainProgress | None
    challenge: ChallengeProgress | None = None
    next_retrain: str
    why_live: str
    versions: tuple[VersionLine, ...]
    bots: tuple[BotState, ...]
    bars: tuple[BarLine, ...]
    feed: FeedState | None
    journal: tuple[JournalLine, ...]


class GateLine(View, frozen=True, kw_only=True):
    """The verdict of one gate.

    Attributes:
        name: The gate.
        passed: Whether the version passed it.
        value: What was measured.
        limit: What it was held against.
        sentence: The verdict in words.
        why: Why the gate exists.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str
    why: str


class VersionView(View, frozen=True, kw_only=True):
    """The page of one version.

    Attributes:
        slot: The slot.
        line: As in the list of the slot.
        gates: Every gate.
        labels: What its labels are and why, in words.
        trained_to_ms: The close of the newest bar that it learnt from.
        cause: Why it was trained, in one sentence; empty if the journal does not say.
        has_report: Whether its report can be shown.
        scores: The figures of the test block, as in `training_meta`.
        settings: What it was trained with.
        forms: Form -> file.
        libraries: Library -> version.
    """

    slot: str
    line: VersionLine
    gates: tuple[GateLine, ...]
    labels: str
    trained_to_ms: int
    cause: str
    has_report: bool
    scores: dict[str, Any]
    settings: dict[str, Any]
    forms: dict[str, str]
    libraries: dict[str, str]


class FeedLine(View, frozen=True, kw_only=True):
    """One slot on the page of the feed; `trouble` is empty if all is well."""

    slot: str
    last_bar_t: int | None
    lag_ms: int | None
    trouble: str
    feed: FeedState


class FeedView(View, frozen=True, kw_only=True):
    """The page of the feed."""

    now_ms: int
    venue: VenueState | None
    slots: tuple[FeedLine, ...]


class Problem(View, frozen=True, kw_only=True):
    """Why something is not shown or not done: an error page, or the API's answer.

    Attributes:
        status: The status of HTTP, such as 404.
        error: What is wrong, in one sentence.
        what_to_do: What helps, in one sentence.
    """

    status: int
    error: str
    what_to_do: str


class SignIn(View, frozen=True, kw_only=True):
    """The page on which an operator signs in.

    Attributes:
        to: Path of the page that is shown afterwards.
        problem: Why the last attempt failed; empty before the first one.
    """

    to: str = "/"
    problem: str = ""


class OrderAnswer(View, frozen=True, kw_only=True):
    """What became of an order.

    Attributes:
        request_id: Its id, as in the journal.
        accepted: Whether it is carried out; null if the slot has not answered in time.
        detail: What happens now, or why not.
    """

    request_id: str
    accepted: bool | None
    detail: str
