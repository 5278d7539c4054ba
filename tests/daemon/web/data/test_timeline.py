from collections.abc import Iterator
from typing import Any

import pytest

from daemon.store.store import Store
from daemon.web.data.timeline import History, trained_because, why_live
from daemon.web.views import GateLine
from hyperdrift.slot_name import SlotName

SLOT, AT_MS = SlotName("BTC", "5m"), 1_754_049_600_000
LEVEL: dict[str, Any] = {
    "name": "rv_1h",
    "aspect": "level",
    "direction": "up",
    "score": 1.52,
    "since_t": AT_MS,
}


def gate(name: str, value: float | None = 0.5, *, passed: bool = True) -> GateLine:
    return GateLine(name=name, passed=passed, value=value, limit=1.0, sentence="", why="")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as opened:
        yield opened


def tell(store: Store, kind: str, text: str = "", **fields: Any) -> int:
    return store.append_journal(SLOT, AT_MS, kind, {"text": text, **fields})


def live(
    store: Store, model_id: str, reason: str, previous: str | None = "m0", kind: str = "swapped"
) -> None:
    fields = {"model_id": model_id, "previous_id": previous}
    tell(store, kind, f"{model_id} is live: {reason}", **fields)


@pytest.mark.parametrize(
    ("reason", "previous", "kind", "says"),
    [
        (
            "there was no model and there were enough bars",
            None,
            "swapped",
            (
                "It went live on 2025-08-01 12:00 UTC because there was no model and there were "
                "enough bars."
            ),
        ),
        (
            "drift of rv_1h, mom_1",
            "m0",
            "swapped",
            (
                "It replaced m0 on 2025-08-01 12:00 UTC because the level of rv_1h has risen "
                "since 2025-08-01 12:00 UTC (the evidence is 1.5 x the alarm line), and mom_1 "
                "drifted too."
            ),
        ),
        (
            "drift of gone",
            "m0",
            "swapped",
            "It replaced m0 on 2025-08-01 12:00 UTC because of drift of gone.",
        ),
        (
            "promoted: I know better",
            "m0",
            "swapped",
            "An operator put it live by hand on 2025-08-01 12:00 UTC: I know better.",
        ),
        (
            "rollback: worse than the previous model",
            None,
            "rolled_back",
            "It is live again since 2025-08-01 12:00 UTC: worse than the previous model.",
        ),
    ],
)
def test_why_a_version_is_live_is_one_sentence_whatever_put_it_there(
    store: Store, reason: str, previous: str | None, kind: str, says: str
) -> None:
    tell(store, "drift", **LEVEL)
    live(store, "m1", reason, previous, kind)
    assert why_live(History.read(store, SLOT), "m1", ()) == says


@pytest.mark.parametrize(
    ("gates", "says"),
    [
        ((gate("a"), gate("b")), "; it passed 2 gates."),
        ((gate("a"), gate("b", passed=False)), "; it passed 1 gate of 2."),
        (
            (gate("a"), gate("beats_champion", -0.0011)),
            "; it passed 2 gates, and its log loss was 0.11% better.",
        ),
        (
            (gate("beats_champion", 0.002),),
            "; it passed 1 gate, and its log loss was 0.20% worse.",
        ),
        ((gate("beats_champion", None),), "; it passed 1 gate."),
    ],
)
def test_the_sentence_says_what_the_gates_said(
    store: Store, gates: tuple[GateLine, ...], says: str
) -> None:
    live(store, "m1", "an operator asked")
    assert why_live(History.read(store, SLOT), "m1", gates).endswith("an operator asked" + says)


def test_what_the_journal_does_not_know_is_not_made_up(store: Store) -> None:
    live(store, "m1", "because")
    history = History.read(store, SLOT)
    assert why_live(history, None, ()) == why_live(history, "m2", ()) == ""
    assert trained_because(store, SLOT, "m1") == trained_because(store, SLOT, "m2") == ""


def test_the_newest_time_that_it_went_live_counts(store: Store) -> None:
    live(store, "m1", "first")
    live(store, "m2", "second")
    live(store, "m1", "rollback: third", kind="rolled_back")
    assert why_live(History.read(store, SLOT), "m1", ()).endswith("third.")


def test_every_mark_leads_to_its_entry(store: Store) -> None:
    seqs = [
        tell(store, "retrain_finished", "x", model_id="m1", passed=False, refused_by=["overfit"]),
        tell(store, "retrain_finished", "x", model_id="m2", passed=True),
        tell(store, "swapped", "m2 is live: x", model_id="m2"),
        tell(store, "drift", **LEVEL),
        tell(store, "alert", "no bars come", severity="critical"),
        tell(store, "rolled_back", "m1 is live: x", model_id="m1"),
    ]
    tell(store, "decision", "wait: x")
    marks = History.read(store, SLOT).timeline()
    assert [mark.seq for mark in marks] == seqs
    assert [mark.kind for mark in marks] == [
        *("refused", "trained", "live", "drift", "alarm", "rolled_back")
    ]
    assert "overfit" in marks[0].text


def test_a_flood_of_alerts_pushes_no_version_off_the_timeline(store: Store) -> None:
    live(store, "m1", "first", None)
    for number in range(300):
        tell(store, "alert", f"again {number}")
    marks = History.read(store, SLOT).timeline()
    assert len(marks) == 101
    assert (marks[0].kind, marks[-1].text) == ("live", "Again 299.")


def test_why_a_version_was_trained_is_what_started_its_retrain(store: Store) -> None:
    tell(store, "drift", **LEVEL)
    tell(store, "retrain_started", "retrain j1 started: drift of rv_1h", job="j1")
    tell(store, "retrain_finished", "x", model_id="m1", passed=False, job="j1")
    tell(store, "retrain_started", "retrain j2 started: an operator asked", job="j2")
    tell(store, "retrain_finished", "x", model_id="m2", passed=True, job="j2")
    assert trained_because(store, SLOT, "m1").startswith(
        "It was trained because the level of rv_1h has risen since"
    )
    assert trained_because(store, SLOT, "m2") == "It was trained because an operator asked."


def test_entries_of_another_hand_or_an_older_version_do_not_break_the_page(store: Store) -> None:
    for kind in ("swapped", "rolled_back", "retrain_finished", "drift", "alert"):
        for body in ({}, {"text": 5, "model_id": ["m"], "name": None, "job": {}, "passed": "yes"}):
            store.append_journal(SLOT, AT_MS, kind, body)
    history = History.read(store, SLOT)
    assert len(history.timeline()) == 10
    assert why_live(history, "m1", ()) == trained_because(store, SLOT, "m1") == ""
