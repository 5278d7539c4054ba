"""What the journal keeps must rebuild the event exactly."""

import json
import math

import pytest

from daemon.runtime import event_codec
from daemon.store.journal_kinds import CHATTER, COMMAND_ANSWERED, SCORED
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import events

SLOT = SlotName("BTC", "5m")
SERVED = events.ModelServed(
    slot="BTC-5m",
    at_ms=9,
    model_id="m",
    previous_id=None,
    reason="drift",
    trained_to_ms=0,
    horizon_bars=12,
    threshold=0.005,
    up=0.4,
    down=0.4,
)
ROW = (math.nan, 0.1 + 0.2, -1e-9, *[0.0] * 14)


@pytest.mark.parametrize(
    "event",
    [
        events.BarScored(
            slot="BTC-5m", at_ms=3, t=1, close=61000.1, row=ROW, model_id="m", p=(0.1, 0.7, 0.2)
        ),
        events.BarScored(slot="BTC-5m", at_ms=3, t=1, close=61000.1, row=ROW),
        events.RetrainFinished(
            slot="BTC-5m",
            at_ms=9,
            job_id="j",
            model_id="m",
            passed=False,
            refused_by=("direction",),
        ),
        events.BotSpoke(slot="BTC-5m", at_ms=9, bot_id="b", silent_since_ms=5),
        events.BotFellSilent(slot="BTC-5m", at_ms=9, bot_id="b", since_ms=5, bars=3),
        events.CommandReceived(
            slot="BTC-5m", at_ms=9, request_id="r", command="retrain", reason="because"
        ),
    ],
)
def test_an_event_survives_the_journal_to_the_last_bit(event: events.Event) -> None:
    kind, fields = event_codec.body(event)
    again = event_codec.event(event.slot, event.at_ms, kind, json.loads(json.dumps(fields)))
    assert repr(again) == repr(event)  # repr, because nan != nan


def test_a_start_reads_scores_as_they_were_also_among_rows_that_cannot_be_read() -> None:
    bars = [
        events.BarScored(
            slot="BTC-5m", at_ms=n, t=n, close=61000.1, row=ROW[k:] * 2, model_id="m", p=p,
            shadow_id="o", shadow_p=p,
        )
        for n, k, p in ((1, 0, None), (2, 1, None), (3, 1, (0.1, 0.7, 0.2)))
    ]  # fmt: skip
    store = Store(":memory:")
    for bar in bars:
        store.append_journal(SLOT, bar.at_ms, *event_codec.body(bar))
    rows = [(4, '{"t":'), (5, "{}"), (6, '{"t":1,"close":2,"row":[0.5]}')]
    with store.database.writing() as db:
        query = "INSERT INTO journal (slot, at_ms, kind, body) VALUES ('BTC-5m', ?, ?, ?)"
        db.executemany(query, [(at_ms, SCORED, body) for at_ms, body in rows])
    last = events.BarScored(slot="BTC-5m", at_ms=6, t=1, close=2.0, row=(0.5,))
    assert repr(event_codec.read(store, SLOT, 0)) == repr([*bars, last])
    assert event_codec.read(store, SLOT, 3, after_seq=3) == [last]


def test_a_row_of_a_kind_that_this_version_does_not_know_is_passed_over() -> None:
    assert event_codec.event("BTC-5m", 1, "decision", {"text": "waiting"}) is None


def test_a_row_whose_fields_do_not_fit_is_passed_over() -> None:
    assert event_codec.event("BTC-5m", 1, "RetrainFailed", {"job_id": 7}) is None


@pytest.mark.parametrize(("reason", "rollback"), [("rollback: worse", True), ("drift", False)])
def test_an_old_row_of_a_served_model_says_in_its_reason_whether_it_was_a_rollback(
    reason: str, rollback: bool
) -> None:
    kind, fields = event_codec.body(SERVED)
    del fields["rollback"]
    again = event_codec.event(SERVED.slot, 9, kind, fields | {"reason": reason})
    assert isinstance(again, events.ModelServed)
    assert again.rollback is rollback


def test_a_row_of_a_served_model_that_says_it_itself_is_believed_whatever_its_reason() -> None:
    kind, fields = event_codec.body(SERVED)
    again = event_codec.event(SERVED.slot, 9, kind, fields | {"reason": "rollback of the fees"})
    assert isinstance(again, events.ModelServed)
    assert not again.rollback


def test_the_kinds_that_the_store_knows_by_name_are_those_of_events() -> None:
    known = {kind.__name__ for kind in events.Event.__subclasses__()}
    assert {SCORED, *CHATTER} - {COMMAND_ANSWERED} <= known
