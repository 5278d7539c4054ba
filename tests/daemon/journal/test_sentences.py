"""Every kind of entry has a plain sentence of its own, and none breaks on odd fields."""

import math
import re
from typing import Any

import pytest

from daemon.journal.sentences import KINDS, QUIET, Repeats, in_words, say
from daemon.runtime import event_codec
from daemon.runtime.serving import BY_ITSELF
from daemon.store import journal_kinds
from daemon.store.journal_table import JournalEntry
from docs.generate.pages import ROOT
from hyperdrift.slot_name import SlotName
from monitor import events
from monitor.actions import Publish
from monitor.drift.drift_monitor import DriftDetected
from monitor.earning import Earned
from monitor.engine import Engine
from monitor.policy import PolicySettings

BTC = SlotName("BTC", "5m")
T0 = 1_753_963_200_000  # 2025-07-31 12:00 UTC
ODD: tuple[Any, ...] = (
    *(None, True, 0, -3, 2**70, 0.5, math.nan, math.inf, "", " ", "a: b", "\x1b[2J\n", b"x"),
    *([], [0.2, 0.3, 0.5], ["drift", "x"], [None, {}], {}, {"a": 1, "b": None}),
)
FIELDS = (
    *("text", "severity", "reason", "name", "aspect", "direction", "score", "since_t", "t"),
    *("p", "close", "model_id", "previous_id", "pnl", "notional", "side", "opened_ms"),
    *("helps", "detail", "refused_by", "passed", "error", "stopped", "bot_id", "loaded"),
    *("fault", "online", "silent_since_ms", "since_ms", "bars", "column", "theirs", "ours"),
    *("others", "command", "by", "start", "evidence", "seconds", "pairs", "mean_bp", "low_bp"),
    *("high_bp", "count", "verdict", "source", "feature", "order_to_ack_ms", "status"),
    *("accepted", "action", "removed", "scores", "entries", "names"),
)


def documented() -> set[str]:
    """Return every kind of journal entry that the reference of events names."""
    page = (ROOT / "docs/reference/events.md").read_text("utf-8")
    taken, _, rest = page.partition("## Actions that the engine gives")
    kinds = set(re.findall(r"^### (\w+)$", taken, re.MULTILINE))
    told = rest[rest.index("## Kinds that are published") :]
    return kinds | set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE))


def entry(kind: str, seq: int = 1, slot: SlotName | None = BTC, **body: Any) -> JournalEntry:
    return JournalEntry(seq, slot, T0, kind, body)


def test_every_kind_of_the_reference_has_a_sentence_of_its_own() -> None:
    kinds = documented()
    assert len(kinds) > 40
    names = {v for k, v in vars(journal_kinds).items() if k.isupper() and isinstance(v, str)}
    assert (kinds | names) - set(KINDS) == set()
    assert set(KINDS) >= QUIET


def test_an_unknown_kind_still_gives_a_line() -> None:
    line = in_words(entry("of_the_future", text="the moon is full", severity="warning"))
    assert (line.text, line.severity) == ("The moon is full.", "warning")
    assert in_words(entry("of_the_future")).text == "An entry of the kind of_the_future."


@pytest.mark.parametrize("kind", [*KINDS, "other"])
def test_any_fields_give_one_sentence(kind: str) -> None:
    for value in ODD:
        said = say(kind, dict.fromkeys(FIELDS, value), T0)
        assert said.text.strip()
        assert said.severity in {"info", "warning", "critical"}


def test_the_score_of_a_bar_is_said_with_its_probabilities() -> None:
    scored = events.BarScored(
        slot="BTC-5m", at_ms=T0, t=T0 - 300_000, close=64_123.5, row=(0.0,) * 17, p=(0.1, 0.6, 0.3)
    )
    kind, fields = event_codec.body(scored)
    assert in_words(entry(kind, **fields)).text == (
        "The bar of 2025-07-31 11:55 UTC closed at 64,123.5; the live model gave DOWN 10%, "
        "NEUTRAL 60%, UP 30%."
    )


@pytest.mark.parametrize(
    ("aspect", "words"),
    [
        ("relation", "gk_volatility's relation to the other features has changed since "),
        ("level", "The level of gk_volatility has risen since "),
        ("scale", "gk_volatility swings more than before since "),
        ("returns", "Returns swing more than before, as gk_volatility shows since "),
    ],
)
def test_a_drift_names_the_feature_and_its_evidence(aspect: str, words: str) -> None:
    found = DriftDetected("gk_volatility", T0, 2.04, "up", T0 - 3_600_000, 1.2, aspect)
    said = say("drift", {"text": str(found), **found.fields()}, T0)
    assert said == (
        f"{words}2025-07-31 11:00 UTC: the evidence is 2.0 x the alarm line.",
        "warning",
    )


def told(*given: events.Event) -> list[str]:
    """Hand events to an engine; return what its messages say."""
    engine = Engine("BTC-5m", PolicySettings(), interval_ms=300_000, names=("a",))
    messages = [action for event in given for action in engine.handle(event)]
    return [
        say(each.kind, {"text": each.text, **each.fields}, each.at_ms).text
        for each in messages
        if isinstance(each, Publish)
    ]


def test_the_life_of_a_model_reads_without_names_of_jobs() -> None:
    now: dict[str, Any] = {"slot": "BTC-5m", "at_ms": T0}
    force = events.CommandReceived(**now, request_id="1", command="retrain", reason="I want it")
    job = f"BTC-5m-{T0}-1"
    refused = events.RetrainFinished(
        **now, job_id=job, model_id="m1", passed=False, refused_by=("earns", "calibrated"),
        detail="it lost 3 bp a signal",
    )  # fmt: skip
    served = events.ModelServed(
        **now, model_id="m2", previous_id=None, reason="promoted: it is better", trained_to_ms=T0,
        horizon_bars=12, threshold=0.005, up=0.3, down=0.3,
    )  # fmt: skip
    turn = events.TurnCame(**now, job_id=job)
    assert told(force, turn, refused, served)[:6] == [
        "No new retrain for now: a retrain waits for its turn.",
        "A retrain began: I want it.",
        "No new retrain for now: a retrain is under way.",
        "The candidate m1 was refused by the gates earns and calibrated: it lost 3 bp a signal.",
        "No new retrain for now: collecting bars: the first model needs 5000.",
        "Model m2 was put live by hand: it is better.",
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (
            "earning",
            {"source": "signals", **Earned(120, -4.0, -7.1, -1.0).document()},
            (
                "The live model's signals lose money: -4.0 bp each after costs, "
                "95 % certain between -7.1 and -1.0, 120 outcomes."
            ),
        ),
        (
            "win_rate",
            {"source": "signals", "text": "signals: 40% of the last 100 won"},
            "Of the model's signals, 40% of the last 100 won.",
        ),
        (
            "ChallengerJudged",
            {"helps": None, "refused_by": ["calibrated", "overfit"], "detail": "0.07"},
            "A quick test says that a retrain would be refused by calibrated and overfit: 0.07.",
        ),
        (
            "feed_fault",
            {"feature": "rv_1h", "fault": "frozen", "since_t": T0},
            "rv_1h has not changed since 2025-07-31 12:00 UTC; look at the feed, not at the model.",
        ),
        (
            "pointer_moved",
            {"action": "promote", "by": "ann", "model_id": "m2", "previous_id": "m1"},
            "Model m2 was put live by hand by ann in place of m1.",
        ),
        (
            "CommandReceived",
            {"command": "rollback", "by": "ann", "reason": "it lost"},
            "Ann asked to go back to an earlier model: it lost.",
        ),
        ("command_answered", {"accepted": False, "detail": "x"}, "A command was declined: x."),
        ("gap", {"text": "3 bars of BTC-5m are lost"}, "3 bars of BTC-5m are lost."),
        ("alert", {"text": "look!", "severity": "critical"}, "Look!"),
    ],
)
def test_kinds_are_said_in_words(kind: str, fields: dict[str, Any], said: str) -> None:
    assert say(kind, fields, T0).text == said


def kept(*entries: JournalEntry) -> list[int]:
    repeats = Repeats()
    return [line.seq for line in map(in_words, entries) if not repeats.drops(line)]


def test_an_alert_that_repeats_the_event_before_it_is_left_out() -> None:
    assert kept(
        entry("bot_silent", 1, text="bot a is silent"),
        entry("alert", 2, text="bot a is silent", severity="warning"),
        entry("alert", 3, SlotName("ETH", "5m"), text="bot a is silent"),
    ) == [1, 3]


def test_a_live_model_is_told_once_and_by_whom() -> None:
    assert kept(
        entry("pointer_moved", 1, by=BY_ITSELF, model_id="m1"),
        entry("swapped", 2, text="m1 is live: first", model_id="m1"),
        entry("pointer_moved", 3, by="ann", model_id="m2"),
        entry("swapped", 4, text="m2 is live: promoted: x", model_id="m2"),
    ) == [2, 3]


def test_an_accepted_command_is_told_once_and_a_refused_one_with_its_answer() -> None:
    assert kept(
        entry("CommandReceived", 1, request_id="a", command="retrain"),
        entry("command_answered", 2, request_id="a", accepted=True, detail="x"),
        entry("decision", 3, text=f"wait: retrain BTC-5m-{T0}-1 is running"),
        entry("decision", 4, text=f"wait: retrain BTC-5m-{T0}-1 waits for its turn"),
        entry("CommandReceived", 5, request_id="b", command="rollback"),
        entry("command_answered", 6, request_id="b", accepted=False, detail="x"),
    ) == [1, 5, 6]
