"""Before evidence starts a retrain, a quick challenger is asked whether it would be worth it."""

from typing import Any

from monitor import events
from monitor.actions import Action, Alert, AskChallenger, Publish, StartRetrain, WithdrawJob
from monitor.policy import DAY_MS, HOUR_MS
from tests.monitor.test_engine import BAR_MS, NAMES, Slot, calibrated, kinds, only

FIGURES = "on 512 bars ... 0.4000, ... 0.4100 ... 0.4090"


def drifting(**limits: Any) -> tuple[Slot, str]:
    """A slot whose features have just drifted, and the question that this led to."""
    slot = Slot(max_age_days=0.0, min_new_bars=0, **limits)
    slot.serve("m1", calibration=calibrated())
    return slot, drift(slot, 0)


def drift(slot: Slot, column: int) -> str:
    for i in range(10 * 12):
        row = [0.1 * j + i / 1000 for j in range(len(NAMES))]
        row[column] += 5.0
        out = slot.bar(row=tuple(row))
        if asked := only(out, AskChallenger):
            assert only(out, StartRetrain) == []
            return asked[0].job_id
        if only(out, StartRetrain):
            return ""
    raise AssertionError("no drift was seen")


def answer(slot: Slot, job_id: str, helps: bool | None) -> tuple[Action, ...]:
    return slot.give(events.ChallengerJudged, job_id=job_id, helps=helps, detail=FIGURES)


def refuse(slot: Slot, job_id: str) -> tuple[Action, ...]:
    why = "NEUTRAL was expected on 78.0% of the bars and happened on 87.0%"
    given = {"helps": None, "refused_by": ("calibrated",), "detail": why}
    return slot.give(events.ChallengerJudged, job_id=job_id, **given)


def test_a_drift_waits_for_the_answer_and_a_yes_starts_the_retrain() -> None:
    slot, job_id = drifting()
    assert "would a retrain help?" in slot.engine.snapshot().waiting_for
    assert slot.engine.snapshot().challenge_id == job_id
    out = answer(slot, job_id, helps=True)
    assert [start.trigger for start in only(out, StartRetrain)] == ["drift"]
    assert "challenge" in kinds(out)


def test_a_no_is_a_decision_to_wait_with_the_figures_and_holds_for_some_time() -> None:
    slot, job_id = drifting(retry_bars=100)
    out = answer(slot, job_id, helps=False)
    assert only(out, StartRetrain) == []
    (decision,) = [a for a in only(out, Publish) if a.kind == "decision"]
    assert decision.text == f"wait: a retrain would not help: {FIGURES}"
    assert decision.fields["evidence"] == ["drift", "drift of f0"]
    assert slot.tick(HOUR_MS) == ()
    assert len(only(slot.tick(100 * BAR_MS), AskChallenger)) == 1


def test_another_drift_asks_again() -> None:
    slot, job_id = drifting()
    answer(slot, job_id, helps=False)
    assert drift(slot, 2) not in {"", job_id}


def test_a_no_stands_in_the_way_of_drift_alone() -> None:
    slot = Slot(max_age_days=2.0, min_new_bars=0, retry_bars=1_000)
    slot.serve("m1", calibration=calibrated())
    answer(slot, drift(slot, 0), helps=False)
    assert [s.trigger for s in only(slot.tick(2 * DAY_MS), StartRetrain)] == ["age"]


def old(**limits: Any) -> tuple[Slot, str]:
    """A slot whose model has just become too old, and the question that this led to."""
    slot = Slot(max_age_days=2.0, min_new_bars=0, **limits)
    slot.serve("m1")
    (asked,) = only(slot.tick(2 * DAY_MS), AskChallenger)
    return slot, asked.job_id


def test_a_model_grown_old_is_renewed_whether_or_not_newer_bars_teach_anything() -> None:
    slot, job_id = old()
    assert slot.engine.snapshot().waiting_for == (
        "wait: the model is older than 2 days; would a retrain help?"
    )
    out = answer(slot, job_id, helps=False)
    assert [start.trigger for start in only(out, StartRetrain)] == ["age"]
    (told,) = [a for a in only(out, Publish) if a.kind == "challenge"]
    assert told.text == "no gate would refuse a retrain for its accuracy or calibration"


def test_a_candidate_that_the_gates_would_refuse_is_not_trained_until_they_would_not() -> None:
    slot, job_id = old(retry_bars=100)
    out = refuse(slot, job_id)
    assert only(out, StartRetrain) == []
    (told,) = [a for a in only(out, Publish) if a.kind == "challenge"]
    assert told.text == (
        "a retrain would be refused by calibrated: "
        "NEUTRAL was expected on 78.0% of the bars and happened on 87.0%"
    )
    (decision,) = [a for a in only(out, Publish) if a.kind == "decision"]
    assert decision.text == f"wait: {told.text}"
    assert decision.fields["evidence"] == ["age", "the model is older than 2 days"]
    assert slot.tick(100 * BAR_MS - 1) == ()
    (again,) = only(slot.tick(1), AskChallenger)
    assert len(only(answer(slot, again.job_id, helps=None), StartRetrain)) == 1


def test_the_gates_stand_in_the_way_of_a_retrain_for_drift_and_for_a_fallen_win_rate_too() -> None:
    slot, job_id = drifting()
    assert only(refuse(slot, job_id), StartRetrain) == []
    slot = Slot(win_rate_trades=5, max_age_days=0.0, min_new_bars=0)
    slot.serve("m1", win_rate=0.55)
    out: tuple[Action, ...] = ()
    while not only(out, AskChallenger):
        slot.now_ms += BAR_MS
        when = {"opened_ms": slot.now_ms - 1, "closed_ms": slot.now_ms}
        trade = {"trade_id": str(slot.now_ms), "side": "buy", "pnl": -1.0, **when}
        out = slot.give(events.TradeClosed, **trade)
    (asked,) = only(out, AskChallenger)
    assert asked.reason == "trades: 0% of the last 5 won, the floor is 45%"
    assert only(refuse(slot, asked.job_id), StartRetrain) == []


def test_nobody_asks_before_a_retrain_by_a_schedule_a_forced_one_or_a_first_model() -> None:
    slot = Slot(schedule_days=1.0, max_age_days=0.0, min_new_bars=0)
    slot.serve("m1")
    assert [s.trigger for s in only(slot.tick(DAY_MS), StartRetrain)] == ["schedule"]
    slot, job_id = old()
    refuse(slot, job_id)
    assert slot.command("retrain")[0].accepted
    assert slot.engine.snapshot().job_id is not None
    assert [s.trigger for s in only(Slot().tick(), StartRetrain)] == ["first"]


def test_what_cannot_be_told_and_what_nobody_answers_leave_the_retrain_to_decide() -> None:
    slot, job_id = drifting()
    assert len(only(answer(slot, job_id, helps=None), StartRetrain)) == 1
    slot, job_id = drifting()
    slot.give(events.TurnCame, job_id=job_id)
    assert only(slot.tick(HOUR_MS - 1), StartRetrain) == []
    assert len(only(slot.tick(1), StartRetrain)) == 1


def test_a_question_that_waits_for_its_turn_is_not_overdue() -> None:
    slot, job_id = drifting()
    assert slot.tick(5 * HOUR_MS) == ()
    slot.give(events.TurnCame, job_id="another")
    assert slot.tick(5 * HOUR_MS) == ()
    slot.give(events.TurnCame, job_id=job_id)
    assert slot.tick(HOUR_MS - 1) == ()
    assert len(only(answer(slot, job_id, helps=True), StartRetrain)) == 1


def test_that_a_question_waits_too_long_is_told_once() -> None:
    slot, job_id = drifting()

    def alerts() -> int:
        return len(only(slot.give(events.TurnAwaited, job_id=job_id, detail="late"), Alert))

    assert [alerts(), alerts()] == [1, 0]
    slot, job_id = drifting()
    slot.give(events.TurnCame, job_id=job_id)
    assert alerts() == 0, "it runs already"


def test_a_pause_takes_back_a_question_that_waits_and_it_is_asked_again_after_it() -> None:
    slot, job_id = drifting()
    _, out = slot.command("pause")
    assert [taken.job_id for taken in only(out, WithdrawJob)] == [job_id]
    assert answer(slot, job_id, helps=True) == ()
    _, out = slot.command("resume")
    (again,) = only(out, AskChallenger)
    slot.give(events.TurnCame, job_id=again.job_id)
    _, out = slot.command("pause")
    assert only(out, WithdrawJob) == []


def test_a_force_does_not_wait_for_the_answer_and_a_late_answer_changes_nothing() -> None:
    slot, job_id = drifting()
    reply, out = slot.command("retrain")
    assert reply.accepted
    assert len(only(out, StartRetrain)) == 1
    assert answer(slot, job_id, helps=False) == ()
    assert slot.engine.snapshot().challenge_id is None


def test_an_answer_about_a_model_that_was_replaced_is_ignored() -> None:
    slot, job_id = drifting()
    slot.command("promote", "m0")
    slot.serve("m0", "m1", calibration=calibrated())
    assert answer(slot, job_id, helps=True) == ()


def test_the_question_can_be_switched_off() -> None:
    slot = Slot(max_age_days=0.0, min_new_bars=0, challenge=False)
    slot.serve("m1", calibration=calibrated())
    assert drift(slot, 0) == ""


def test_a_question_that_waits_is_taken_back_when_the_model_it_is_about_is_gone() -> None:
    slot, asked = drifting()
    slot.command("promote", "hand")
    assert [order.job_id for order in only(slot.serve("hand", "m1"), WithdrawJob)] == [asked]
    slot, asked = drifting()
    assert only(slot.serve("m1"), WithdrawJob) == [], "the same model again, as after a restart"
    slot.give(events.TurnCame, job_id=asked)
    assert only(slot.serve("hand", "m1"), WithdrawJob) == [], "it is soon answered"
