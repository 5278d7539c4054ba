"""The engine decides; these tests are the promises it makes in any order of events."""

import copy
import json
import pickle
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor import events
from monitor.actions import (
    Action,
    Alert,
    AskChallenger,
    Deploy,
    HurryRetrain,
    Promote,
    Publish,
    Reply,
    Rollback,
    StartRetrain,
    WithdrawJob,
)
from monitor.bots import KNOWN_BOTS
from monitor.drift.calibration import calibrate
from monitor.engine import Engine
from monitor.errors import BadObservation
from monitor.policy import DAY_MS, HOUR_MS, PolicySettings

SLOT = "BTC-5m"
BAR_MS = 300_000
START_MS = 1_750_032_000_000
Kind = TypeVar("Kind", bound=Action)
NAMES = tuple(f"f{i}" for i in range(4))


@cache
def calibrated() -> str:
    rows = np.random.default_rng(1).standard_normal((20 * 288, len(NAMES)))
    return calibrate(rows, NAMES, 288).to_json()


@pytest.fixture(scope="module")
def calibration() -> str:
    return calibrated()


class Slot:
    """An engine with a daemon that answers when told to."""

    def __init__(self, *, history_bars: int = 6000, **limits: Any) -> None:
        self.settings = PolicySettings(**limits)
        self.engine = Engine(
            SLOT, self.settings, interval_ms=BAR_MS, names=NAMES, history_bars=history_bars
        )
        self.now_ms = START_MS
        self.journal: list[events.Event] = []

    def give(self, event_type: type[events.Event], **fields: Any) -> tuple[Action, ...]:
        given: dict[str, Any] = {"slot": SLOT, "at_ms": self.now_ms, **fields}
        event = event_type(**given)
        self.journal.append(event)
        return self.engine.handle(event)

    def tick(self, after_ms: int = 0) -> tuple[Action, ...]:
        self.now_ms += after_ms
        return self.give(events.Ticked)

    def bar(self, **fields: Any) -> tuple[Action, ...]:
        t = self.now_ms
        self.now_ms += BAR_MS
        given = {"t": t, "close": 100.0, "row": (0.0,) * len(NAMES), **fields}
        return self.give(events.BarScored, **given)

    def serve(self, model_id: str, previous_id: str | None = None, **fields: Any):
        given = {
            "reason": "deployed",
            "trained_to_ms": self.now_ms,
            "horizon_bars": 12,
            "threshold": 0.005,
            "up": 0.4,
            "down": 0.4,
            **fields,
        }
        return self.give(events.ModelServed, model_id=model_id, previous_id=previous_id, **given)

    def command(self, command: str, model_id: str = "") -> tuple[Reply, tuple[Action, ...]]:
        given = {"request_id": "r1", "command": command, "reason": "", "model_id": model_id}
        out = self.give(events.CommandReceived, **given)
        (reply,) = only(out, Reply)
        return reply, out

    def train(self, model_id: str, *, passed: bool = True, **fields: Any):
        job_id = self.engine.snapshot().job_id
        return self.give(
            events.RetrainFinished, job_id=job_id, model_id=model_id, passed=passed, **fields
        )


def only(out: Iterable[Action], kind: type[Kind]) -> list[Kind]:
    return [action for action in out if isinstance(action, kind)]


def kinds(out: Iterable[Action]) -> list[str]:
    return [action.kind for action in only(out, Publish)]


def serving(**limits: Any) -> Slot:
    slot = Slot(**limits)
    slot.tick()
    slot.train("m1")
    slot.serve("m1")
    return slot


def on_probation(**limits: Any) -> Slot:
    slot = serving(**limits)
    slot.command("retrain")
    slot.train("m2")
    slot.serve("m2", "m1")
    return slot


def test_the_first_model_is_trained_at_the_first_event_once_there_are_enough_bars() -> None:
    (start,) = only(Slot(history_bars=5000).tick(), StartRetrain)
    assert start.trigger == "first"
    few = Slot(history_bars=4998)
    assert only(few.bar(), StartRetrain) == []
    assert len(only(few.bar(), StartRetrain)) == 1


def test_the_stored_count_of_a_bar_replaces_the_engines_own() -> None:
    slot = Slot(history_bars=0)
    assert len(only(slot.bar(stored=5000), StartRetrain)) == 1


def test_a_candidate_goes_live_only_when_it_passed() -> None:
    slot = Slot()
    slot.tick()
    out = slot.train("bad", passed=False, refused_by=("overfit", "direction"), detail="0.9 to 0.5")
    assert only(out, Deploy) == []
    (told,) = [a for a in only(out, Publish) if a.kind == "retrain_finished"]
    assert told.text == "candidate bad refused by overfit, direction: 0.9 to 0.5"
    assert slot.engine.snapshot().phase == "collecting"


def test_what_refused_the_last_candidate_is_known_and_when_the_next_may_begin() -> None:
    slot = Slot()
    slot.tick()
    assert slot.engine.snapshot().refusal is None
    slot.train("bad", passed=False, refused_by=("overfit", "direction"))
    refusal = slot.engine.snapshot().refusal
    assert refusal is not None
    assert (refusal.model_id, refusal.refused_by) == ("bad", ("overfit", "direction"))
    retry_ms = slot.engine.settings.retry_bars * 300_000
    assert refusal.next_ms == refusal.at_ms + retry_ms
    assert refusal.in_a_row == 1
    slot.command("retrain")
    slot.train("good")
    assert slot.engine.snapshot().refusal is None


def test_when_the_next_retrain_may_begin_and_what_would_cause_it_is_known_without_a_refusal() -> (
    None
):
    slot = on_probation(probation_hours=40, min_new_bars=1, max_age_days=0)
    now = slot.engine.snapshot()
    assert now.may_retrain_ms == START_MS + 40 * HOUR_MS  # a cooldown of 12 hours ends before
    assert now.causes == ("drift of a feature", "a fallen win rate")
    assert now.live_since_ms == START_MS
    assert Slot().engine.snapshot().causes == ("5000 stored bars",)


def test_the_newest_returns_of_signals_add_up_to_what_the_model_is_said_to_earn() -> None:
    slot, rng = serving(), np.random.default_rng(3)
    for close in np.cumprod(1 + rng.normal(0, 0.002, 1000)) * 100:
        slot.bar(close=float(close), p=tuple(rng.dirichlet((1, 1, 1))), model_id="m1")
    earned = slot.engine.snapshot().earning["signals"]["of_model"]
    gains = slot.engine.gains
    assert len(gains) == earned["count"] > 60
    assert [gain.at_ms for gain in gains] == sorted({gain.at_ms for gain in gains})
    assert 1e4 * sum(gain.gain for gain in gains) / len(gains) == pytest.approx(
        earned["mean_bp"], abs=0.005
    )


def test_the_phases_follow_a_whole_cycle() -> None:
    slot = Slot(history_bars=10)
    seen = [slot.engine.phase.value]
    slot.tick()
    slot.command("retrain")
    seen.append(slot.engine.phase.value)
    slot.give(events.JudgingBegan, job_id=slot.engine.snapshot().job_id)
    seen.append(slot.engine.phase.value)
    (deploy,) = only(slot.train("m1"), Deploy)
    assert deploy.model_id == "m1"
    seen.append(slot.engine.phase.value)
    assert kinds(slot.serve("m1"))[0] == "swapped"
    seen.append(slot.engine.phase.value)
    slot.command("retrain")
    slot.train("m2")
    slot.serve("m2", "m1")
    seen.append(slot.engine.phase.value)
    assert "confirmed" in kinds(slot.tick(48 * HOUR_MS))
    seen.append(slot.engine.phase.value)
    slot.command("pause")
    seen.append(slot.engine.phase.value)
    assert seen == [
        "collecting",
        "retraining",
        "judging",
        "swapping",
        "serving",
        "probation",
        "serving",
        "paused",
    ]


def test_a_refused_first_model_is_tried_again_after_retry_bars_and_not_before() -> None:
    slot = Slot(retry_bars=10)
    slot.tick()
    slot.train("bad", passed=False)
    assert [only(slot.bar(), StartRetrain) for _ in range(9)] == [[]] * 9
    assert len(only(slot.bar(), StartRetrain)) == 1


@pytest.mark.parametrize("forced", [True, False])
def test_a_retrain_that_a_stop_ended_begins_again_at_once_and_no_limit_counts_it(
    forced: bool,
) -> None:
    slot = Slot(max_retrains_per_day=1)
    if forced:
        slot.command("retrain")
    else:
        slot.bar()  # there are bars enough for a first model
    job = slot.engine.snapshot().job_id
    slot.now_ms += HOUR_MS
    out = slot.give(events.RetrainFailed, job_id=job, error="told to stop", stopped=True)
    (again,) = only(out, StartRetrain)
    assert again.job_id != job
    assert again.trigger == ("command" if forced else "first")
    assert "retrain_stopped" in kinds(out)
    assert only(out, Alert) == []


def died(slot: Slot) -> tuple[Action, ...]:
    """Let the daemon die in the middle of a retrain, and start again."""
    job = slot.engine.snapshot().job_id
    slot.give(events.TurnCame, job_id=job)
    slot.now_ms += BAR_MS
    return slot.give(events.RetrainFailed, job_id=job, error="it died", cut_off=True)


def test_a_first_model_that_died_with_the_daemon_is_tried_again_at_once_a_few_times() -> None:
    slot = Slot(retry_bars=10)
    slot.tick()
    for _ in range(3):
        out = died(slot)
        assert len(only(out, StartRetrain)) == 1
        assert [alert.severity for alert in only(out, Alert)] == ["warning"]
    for _ in range(2):  # it seems to kill the daemon, so it waits from now on
        assert only(died(slot), StartRetrain) == []
        assert [only(slot.bar(), StartRetrain) for _ in range(9)] == [[]] * 9
        assert len(only(slot.bar(), StartRetrain)) == 1
    slot.train("bad", passed=False)
    for _ in range(10):
        slot.bar()
    assert len(only(died(slot), StartRetrain)) == 1, "one that ended shows that it can"


def test_a_retrain_beside_a_live_model_that_died_with_the_daemon_waits_as_any_that_failed() -> None:
    limits = {"cooldown_hours": 0.0, "min_new_bars": 0, "max_retrains_per_day": 9}
    slot = serving(max_age_days=0.5, retry_bars=10, challenge=False, **limits)
    assert len(only(slot.tick(13 * HOUR_MS), StartRetrain)) == 1
    assert only(died(slot), StartRetrain) == []
    assert len(only(slot.tick(10 * BAR_MS), StartRetrain)) == 1


def test_a_failed_retrain_alerts_and_leaves_the_live_model() -> None:
    slot = serving()
    slot.command("retrain")
    job_id = slot.engine.snapshot().job_id
    out = slot.give(events.RetrainFailed, job_id=job_id, error="killed")
    assert "retrain_failed" in kinds(out)
    assert [alert.severity for alert in only(out, Alert)] == ["warning"]
    assert slot.engine.snapshot().model_id == "m1"
    assert slot.engine.phase == "serving"


def test_news_of_another_job_is_ignored() -> None:
    slot = serving()
    slot.command("retrain")
    for event in (events.RetrainFinished, events.RetrainFailed, events.JudgingBegan):
        extra: dict[str, Any] = {}
        if event is events.RetrainFinished:
            extra = {"model_id": "x", "passed": True}
        elif event is events.RetrainFailed:
            extra = {"error": "x"}
        assert slot.give(event, job_id="other", **extra) == ()
    assert slot.engine.phase == "retraining"


def test_two_retrains_of_one_millisecond_have_two_ids_and_late_news_of_one_ends_no_other() -> None:
    slot = Slot()
    slot.tick()
    first = slot.engine.snapshot().job_id
    slot.give(events.RetrainFailed, job_id=first, error="told to stop", stopped=True)
    second = slot.engine.snapshot().job_id
    assert second is not None
    assert second != first
    slot.give(events.RetrainFailed, job_id=first, error="x")
    assert slot.engine.snapshot().job_id == second


def test_a_second_force_joins_the_running_retrain_and_is_told_so() -> None:
    slot = serving()
    first, out = slot.command("retrain")
    second, again = slot.command("retrain")
    assert first.accepted
    assert second.accepted
    assert "joined" in second.detail
    assert len(only(out, StartRetrain)) == 1
    assert only(again, StartRetrain) == []


def test_a_retrain_is_said_to_have_started_when_its_turn_has_come_and_once() -> None:
    slot = Slot()
    assert "retrain_started" not in kinds(slot.tick())
    job_id = slot.engine.snapshot().job_id
    assert (slot.engine.phase, slot.engine.snapshot().job_begun) == ("retraining", False)
    slot.tick(HOUR_MS)
    assert slot.engine.snapshot().waiting_for == f"wait: retrain {job_id} waits for its turn"
    out = slot.give(events.TurnCame, job_id=job_id)
    assert kinds(out)[0] == "retrain_started"
    assert slot.engine.snapshot().job_begun
    assert slot.engine.snapshot().waiting_for == f"wait: retrain {job_id} is under way"
    assert kinds(slot.give(events.TurnCame, job_id=job_id)) == []


def test_a_wait_that_is_too_long_is_told_once_also_if_a_restart_comes_between() -> None:
    slot = Slot()
    (order,) = only(slot.tick(), StartRetrain)
    assert order.since_ms == order.at_ms
    late = {"detail": "it has waited an hour: add workers"}
    out = slot.give(events.TurnAwaited, job_id=order.job_id, **late)
    assert [alert.text for alert in only(out, Alert)] == [late["detail"]]
    (told,) = [told for told in only(out, Publish) if told.kind == "retrain_late"]
    assert (told.text, told.fields) == (late["detail"], {"job": order.job_id})
    stop = {"error": "the daemon was stopped meanwhile", "stopped": True}
    slot.now_ms += HOUR_MS
    (again,) = only(slot.give(events.RetrainFailed, job_id=order.job_id, **stop), StartRetrain)
    assert (again.at_ms, again.since_ms) == (order.at_ms + HOUR_MS, order.at_ms)
    assert only(slot.give(events.TurnAwaited, job_id=again.job_id, **late), Alert) == []
    slot.give(events.TurnCame, job_id=again.job_id)
    (after,) = only(slot.give(events.RetrainFailed, job_id=again.job_id, **stop), StartRetrain)
    assert after.since_ms == after.at_ms, "a new wait"
    assert len(only(slot.give(events.TurnAwaited, job_id=after.job_id, **late), Alert)) == 1


def test_a_force_joins_the_retrain_that_waits_and_hurries_it() -> None:
    slot = Slot()
    slot.tick()
    job_id = slot.engine.snapshot().job_id
    reply, out = slot.command("retrain")
    assert reply.detail == f"joined retrain {job_id}, which waits and is now one of the next"
    assert [hurried.job_id for hurried in only(out, HurryRetrain)] == [job_id]
    slot.give(events.TurnCame, job_id=job_id)
    reply, out = slot.command("retrain")
    assert "already running" in reply.detail
    assert only(out, HurryRetrain) == []


def test_a_pause_takes_back_a_retrain_that_waits_unless_it_is_forced_or_has_begun() -> None:
    slot = Slot()
    slot.tick()
    job_id = slot.engine.snapshot().job_id
    _, out = slot.command("pause")
    assert [taken.job_id for taken in only(out, WithdrawJob)] == [job_id]
    out = slot.give(events.RetrainFailed, job_id=job_id, error="it was paused", stopped=True)
    assert (only(out, StartRetrain), slot.engine.phase) == ([], "paused")
    _, out = slot.command("resume")
    assert len(only(out, StartRetrain)) == 1, "no limit counts a retrain that never began"
    slot.give(events.TurnCame, job_id=slot.engine.snapshot().job_id)
    assert only(slot.command("pause")[1], WithdrawJob) == []
    slot = Slot()
    slot.command("retrain")
    assert only(slot.command("pause")[1], WithdrawJob) == []


def test_a_force_skips_cooldown_and_evidence_but_not_the_gates() -> None:
    slot = serving()
    _, out = slot.command("retrain")
    assert [start.trigger for start in only(out, StartRetrain)] == ["command"]
    assert only(slot.train("bad", passed=False), Deploy) == []


def test_pause_holds_an_automatic_candidate_back_until_resume() -> None:
    slot = Slot()
    slot.tick()
    reply, out = slot.command("pause")
    assert reply.accepted
    assert "paused" in kinds(out)
    assert only(slot.train("m1"), Deploy) == []
    _, out = slot.command("resume")
    assert "resumed" in kinds(out)
    assert [deploy.model_id for deploy in only(out, Deploy)] == ["m1"]


def test_a_forced_retrain_and_its_swap_go_through_a_pause() -> None:
    slot = serving()
    slot.command("pause")
    slot.command("retrain")
    assert len(only(slot.train("m2"), Deploy)) == 1


def test_an_automatic_candidate_judged_against_a_replaced_model_is_dropped() -> None:
    slot = serving(max_age_days=1.0, challenge=False)
    assert len(only(slot.tick(2 * DAY_MS), StartRetrain)) == 1
    slot.command("promote", "hand")
    slot.serve("hand", "m1")
    out = slot.train("m2")
    assert only(out, Deploy) == []
    assert any("another live model" in a.text for a in only(out, Publish))


def test_a_retrain_that_waits_to_replace_another_model_is_taken_back_unless_it_is_forced() -> None:
    slot = serving(max_age_days=1.0, challenge=False)
    (start,) = only(slot.tick(2 * DAY_MS), StartRetrain)
    slot.command("promote", "hand")
    taken = only(slot.serve("hand", "m1"), WithdrawJob)
    assert [order.job_id for order in taken] == [start.job_id]
    out = slot.give(events.RetrainFailed, job_id=start.job_id, error="taken back", stopped=True)
    assert only(out, StartRetrain) == [], "the new model is on probation"
    slot.command("retrain")
    slot.command("rollback")
    assert only(slot.serve("m1", rollback=True), WithdrawJob) == []


def test_a_candidate_that_passes_during_a_rollback_waits_for_it() -> None:
    slot = on_probation()
    slot.command("retrain")
    slot.command("rollback")
    assert only(slot.train("m3"), Deploy) == []
    assert len(only(slot.serve("m1", "m0", rollback=True), Deploy)) == 1


def test_rollback_names_the_previous_version_or_says_there_is_none() -> None:
    slot = serving()
    reply, out = slot.command("rollback")
    assert not reply.accepted
    assert "`hyperdrift models promote`" in reply.detail
    assert only(out, Rollback) == []
    slot = on_probation()
    assert slot.command("rollback", "m2")[0].detail == "m2 is live already"
    reply, out = slot.command("rollback")
    assert reply.accepted
    assert [order.to_model_id for order in only(out, Rollback)] == ["m1"]
    busy, _ = slot.command("rollback")
    assert not busy.accepted
    assert "rolled_back" in kinds(slot.serve("m1", None, reason="operator"))
    assert slot.engine.phase == "serving"


def test_a_model_whose_reason_begins_with_rollback_is_on_probation_all_the_same() -> None:
    slot = serving()
    out = slot.serve("m2", "m1", reason="rollback of the fees makes the old labels wrong")
    assert kinds(out)[0] == "swapped"
    assert slot.engine.phase == "probation"


def test_a_version_that_was_gone_back_to_is_on_no_probation_whatever_the_reason_says() -> None:
    slot = serving()
    out = slot.serve("m0", "m1", reason="losses", rollback=True)
    assert kinds(out)[0] == "rolled_back"
    assert slot.engine.phase == "serving"


def test_promote_wants_a_version_that_is_not_live_already() -> None:
    slot = serving()
    assert not slot.command("promote")[0].accepted
    assert not slot.command("promote", "m1")[0].accepted
    reply, out = slot.command("promote", "m0")
    assert reply.accepted
    assert [order.model_id for order in only(out, Promote)] == ["m0"]
    assert not slot.command("promote", "m3")[0].accepted


def test_an_unknown_command_is_answered() -> None:
    reply, out = serving().command("dance")
    assert not reply.accepted
    assert "'dance'" in reply.detail
    assert len(only(out, Reply)) == 1


def ack(slot: Slot, model_id: str, *, loaded: bool, bot_id: str = "bot") -> tuple[Action, ...]:
    given = {"swap_id": "s", "model_id": model_id, "bot_id": bot_id, "error": "digest"}
    return slot.give(events.SwapAcked, loaded=loaded, **given)


def test_a_bot_that_refuses_the_live_model_sends_us_back_once() -> None:
    slot = on_probation()
    out = ack(slot, "m2", loaded=False)
    assert "swap_refused" in kinds(out)
    assert [order.to_model_id for order in only(out, Rollback)] == ["m1"]
    assert only(ack(slot, "m2", loaded=False, bot_id="other"), Rollback) == []
    slot.serve("m1", "m2", rollback=True)
    out = ack(slot, "m1", loaded=False)
    assert only(out, Rollback) == []  # no ping-pong between two versions
    assert only(out, Alert)


def test_no_refusal_takes_back_a_model_that_a_bot_has_loaded() -> None:
    slot = on_probation()
    ack(slot, "m2", loaded=True, bot_id="good")
    for bot_id in ("bad", "good"):
        out = ack(slot, "m2", loaded=False, bot_id=bot_id)
        assert only(out, Rollback) == []
        (alert,) = only(out, Alert)
        assert f"bot {bot_id} refused m2" in alert.text
        assert "it stays live, bot good has loaded it" in alert.text
    assert ack(slot, "m2", loaded=False, bot_id="bad") == ()
    slot.serve("m3", "m2")
    assert only(ack(slot, "m3", loaded=False, bot_id="bad"), Rollback), "m3 is another model"


def test_answers_that_come_before_the_model_is_said_to_be_live_are_all_kept() -> None:
    slot = on_probation()
    slot.give(events.CommandReceived, request_id="1", command="promote", reason="", model_id="m3")
    for bot_id, loaded in (("good", True), ("bad", False)):
        assert ack(slot, "m3", loaded=loaded, bot_id=bot_id) == ()
    out = slot.serve("m3", "m2")
    assert "swap_refused" in kinds(out)
    assert only(out, Rollback) == []


def test_a_refusal_of_a_model_that_is_no_longer_live_is_ignored() -> None:
    slot = on_probation()
    assert ack(slot, "m1", loaded=False) == ()
    assert ack(slot, "m2", loaded=True) == ()


@pytest.mark.parametrize("loader", ["bot", "other"])
def test_a_refusal_after_an_acknowledgement_is_told_and_not_obeyed(loader: str) -> None:
    slot = on_probation()
    assert ack(slot, "m2", loaded=True, bot_id=loader) == ()
    out = ack(slot, "m2", loaded=False)
    assert only(out, Rollback) == []
    (told,) = only(out, Alert)
    assert told.text.endswith(f"it stays live, bot {loader} has loaded it: mend the bot")


def test_a_refusal_by_a_name_that_no_known_bot_has_is_told_and_not_obeyed() -> None:
    slot = on_probation()
    slot.give(events.BotSeen, bot_id="bot", online=True, sklearn="1.9.1", fault="")
    out = ack(slot, "m2", loaded=False, bot_id="mallory")
    assert only(out, Rollback) == []
    (told,) = only(out, Alert)
    assert told.text.endswith("it stays live, it is none of the bots that are known: bot")
    assert len(only(ack(slot, "m2", loaded=False), Rollback)) == 1


def test_a_refusal_that_overtakes_the_news_of_the_swap_still_counts() -> None:
    slot = serving()
    slot.command("retrain")
    slot.train("m2")
    assert only(ack(slot, "m2", loaded=False), Rollback) == []
    assert len(only(slot.serve("m2", "m1"), Rollback)) == 1


def test_a_swap_that_failed_leaves_the_old_model_and_alerts() -> None:
    slot = serving()
    slot.command("retrain")
    slot.train("m2")
    out = slot.give(events.SwapFailed, model_id="m2", error="disk full")
    assert "swap_refused" in kinds(out)
    assert only(out, Alert)
    assert slot.engine.snapshot().model_id == "m1"
    assert slot.engine.phase == "serving"
    assert slot.give(events.SwapFailed, model_id="m2", error="late") == ()


def test_the_same_model_served_again_after_a_restart_keeps_its_probation() -> None:
    slot = on_probation()
    slot.now_ms += HOUR_MS
    ends = slot.engine.snapshot().probation_ends_ms
    assert "swapped" not in kinds(slot.serve("m2", "m1"))
    assert slot.engine.snapshot().probation_ends_ms == ends


def test_a_model_that_is_clearly_worse_than_its_shadow_is_rolled_back() -> None:
    slot = on_probation()
    out: list[Action] = []
    for _ in range(48 * 12):
        sure, wrong = (0.02, 0.96, 0.02), (0.49, 0.02, 0.49)
        out += slot.bar(model_id="m2", p=wrong, shadow_id="m1", shadow_p=sure)
        if only(out, Rollback):
            break
    (order,) = only(out, Rollback)
    assert order.to_model_id == "m1"
    assert "worse than the previous model" in order.reason
    assert slot.now_ms - START_MS < 24 * HOUR_MS


def test_drift_starts_a_retrain_after_the_cooldown_and_says_why_it_waits(calibration) -> None:
    slot = serving(min_new_bars=1)
    slot.serve("m1b", calibration=calibration)
    rng = np.random.default_rng(3)
    out: list[Action] = []
    for _ in range(15 * 12):
        row = rng.standard_normal(4)
        row[2] += 4
        out += slot.bar(row=tuple(row.tolist()))
        for asked in only(out[-3:], AskChallenger):
            out += slot.give(events.TurnCame, job_id=asked.job_id)
    told = [action for action in only(out, Publish) if action.kind == "drift"]
    assert [action.fields["name"] for action in told] == ["f2"]
    (start,) = only(out, StartRetrain)
    assert (start.trigger, start.reason) == ("drift", "drift of f2")
    waits = [a.text for a in only(out, Publish) if a.kind == "decision" and not a.fields["start"]]
    assert waits[0] == "wait: cooling down for 12 h after the last retrain"
    assert start.at_ms - START_MS >= 12 * HOUR_MS
    assert slot.engine.snapshot().drift["f2"] >= 1
    json.dumps(told[0].fields)


def test_a_silent_feed_is_a_fault_and_no_reason_to_retrain(calibration) -> None:
    slot = serving(min_new_bars=1, cooldown_hours=0.0)
    slot.serve("m1b", calibration=calibration)
    out = [action for _ in range(300) for action in slot.bar(row=(float("nan"),) * 4)]
    assert kinds(out) == ["feed_fault"]
    assert only(out, StartRetrain) == []


def test_a_calibration_that_cannot_be_read_does_not_keep_a_model_from_serving(calibration) -> None:
    slot = serving()
    out = slot.serve("m1b", calibration="{}")
    assert "drift is not watched" in only(out, Alert)[0].text
    assert slot.engine.snapshot().model_id == "m1b"
    other = json.loads(calibration)
    other["reference"]["names"][0] = "another"
    assert only(slot.serve("m1c", calibration=json.dumps(other)), Alert)
    slot.bar()


def test_signals_are_judged_at_their_horizon_one_at_a_time() -> None:
    slot = serving()
    up = (0.1, 0.3, 0.6)
    for i in range(25):
        slot.bar(model_id="m1", p=up, close=100.0 + i)
    snapshot = slot.engine.snapshot()
    assert (snapshot.trades, snapshot.win_rate) == (2, 1.0)


def test_a_fallen_win_rate_starts_a_retrain() -> None:
    slot = serving(cooldown_hours=0.0, min_new_bars=0, challenge=False)
    slot.serve("m1b", win_rate=0.55)
    out: list[Action] = []
    for i in range(120):
        slot.now_ms += BAR_MS
        out += slot.give(
            events.TradeClosed,
            trade_id=str(i),
            side="buy",
            opened_ms=slot.now_ms - 1,
            closed_ms=slot.now_ms,
            pnl=-1.0,
        )
    causes = [str(a.fields["cause"]) for a in only(out, Publish) if a.kind == "win_rate"]
    assert sorted(causes) == ["cusum", "floor", "one_sided", "pnl", "streak"]
    assert [start.trigger for start in only(out, StartRetrain)] == ["win_rate"]
    assert slot.engine.snapshot().pnl_7d == -120


@pytest.mark.parametrize("win_rate", [0.0, 1.0])
def test_a_model_whose_few_signals_all_won_or_all_lost_is_watched_like_any_other(
    win_rate: float,
) -> None:
    slot = serving()
    assert "swapped" in kinds(slot.serve("m2", "m1", win_rate=win_rate))
    assert slot.engine.snapshot().model_id == "m2"


def test_a_trade_that_another_model_opened_counts_as_pnl_only() -> None:
    slot = serving()
    opened_ms = slot.now_ms - 1
    given = {"trade_id": "1", "side": "buy", "opened_ms": opened_ms, "closed_ms": slot.now_ms}
    slot.give(events.TradeClosed, pnl=-5.0, **given)
    assert (slot.engine.snapshot().trades, slot.engine.snapshot().pnl_7d) == (0, -5.0)
    assert slot.engine.snapshot().trades_before == 1
    slot.serve("m1b", win_rate=0.55)
    assert slot.engine.snapshot().trades_before == 0


def test_a_decision_to_wait_is_told_when_its_reason_changes_and_not_at_each_bar() -> None:
    slot = serving()
    assert [kinds(slot.bar()) for _ in range(50)] == [[]] * 50


def test_an_event_of_another_slot_and_an_impossible_number_are_refused() -> None:
    slot = serving()
    with pytest.raises(BadObservation, match="slot must be 'BTC-5m'"):
        slot.give(events.Ticked, slot="ETH-5m")
    for wrong in ({"close": float("nan")}, {"row": (1.0,)}, {"p": (0.5, 0.5, float("nan"))}):
        with pytest.raises(BadObservation):
            slot.bar(**wrong)


def test_a_repeated_or_late_bar_changes_nothing() -> None:
    slot = serving()
    slot.bar()
    before = slot.engine.snapshot()
    slot.give(events.BarScored, t=START_MS, close=1.0, row=(9.0,) * 4)
    assert slot.engine.snapshot() == before


def test_the_same_events_rebuild_the_same_engine_and_it_survives_pickling(calibration) -> None:
    slot = on_probation()
    slot.serve("m3", "m2", calibration=calibration)
    rng = np.random.default_rng(4)
    for _ in range(400):
        row, p = rng.standard_normal(4), rng.dirichlet((1, 1, 1)).tolist()
        slot.bar(row=tuple(row), close=float(100 + row[0]), model_id="m3", p=tuple(p))
    again = Engine(SLOT, slot.settings, interval_ms=BAR_MS, names=NAMES, history_bars=6000)
    for event in slot.journal:
        again.handle(event)
    assert again.snapshot() == slot.engine.snapshot()
    kept, restored = copy.deepcopy(again), pickle.loads(pickle.dumps(again))
    tick = events.Ticked(slot=SLOT, at_ms=slot.now_ms + 60 * DAY_MS)
    assert kept.handle(tick) == restored.handle(tick) == slot.engine.handle(tick) != ()


def compare(slot: Slot, *, agree: bool) -> tuple[Action, ...]:
    """Let a bar pass on which the bot's features were compared with ours."""
    t = slot.now_ms
    slot.now_ms += BAR_MS
    if agree:
        return slot.give(events.FeaturesAgreed, t=t)
    return slot.give(events.FeaturesDiffered, t=t, column="mom_1", theirs=0.1, ours=0.2)


def test_a_bot_that_could_not_load_the_model_is_told_of_once_before_anything_is_trained() -> None:
    slot, fault = Slot(), "bot b has scikit-learn 1.7.0: set retrain.python to its interpreter"
    out = slot.give(events.BotSeen, bot_id="b", online=True, sklearn="1.7.0", fault=fault)
    assert [alert.text for alert in only(out, Alert)] == [fault]
    assert only(out, StartRetrain) == []
    (decision,) = [a for a in only(out, Publish) if a.kind == "decision"]
    assert (decision.text, decision.fields["start"]) == (f"wait: {fault}", False)
    assert slot.tick(HOUR_MS) == ()
    reply, out = slot.command("retrain")
    assert (reply.accepted, reply.detail) == (False, fault)
    assert only(out, StartRetrain) == []
    out = slot.give(events.BotSeen, bot_id="b", online=True, sklearn="1.9.1")
    assert len(only(out, StartRetrain)) == 1


def fall_silent(slot: Slot) -> tuple[Action, ...]:
    return slot.give(events.BotFellSilent, bot_id="b", since_ms=START_MS, bars=3)


def test_a_bot_that_falls_silent_is_told_of_once_with_since_when_and_what_to_do() -> None:
    slot = serving()
    assert slot.give(events.BotSpoke, bot_id="b") == ()
    out = fall_silent(slot)
    (alert,) = only(out, Alert)
    assert alert.severity == "warning"
    assert "bot b is online and has published no prediction since 2025-06-16 00:00" in alert.text
    assert "restart it" in alert.text
    assert kinds(out) == ["bot_silent"]
    assert fall_silent(slot) == ()
    assert slot.engine.snapshot().speakers == {"b": START_MS}
    assert slot.give(events.BotSpoke, bot_id="other") == ()
    assert slot.engine.snapshot().speakers == {"b": START_MS, "other": None}


def test_a_bot_that_predicts_again_is_told_of_without_an_alert() -> None:
    slot = serving()
    fall_silent(slot)
    out = slot.give(events.BotSpoke, bot_id="b", silent_since_ms=START_MS)
    assert kinds(out) == ["bot_speaks"]
    assert only(out, Alert) == []
    assert slot.engine.snapshot().speakers == {"b": None}
    assert kinds(fall_silent(slot)) == ["bot_silent"]


def test_a_bot_that_left_counts_for_a_day() -> None:
    slot = Slot()
    slot.give(events.BotSeen, bot_id="b", online=True, fault="too old")
    slot.give(events.BotSeen, bot_id="b", online=False, fault="too old")
    assert only(slot.tick(DAY_MS - 1), StartRetrain) == []
    assert len(only(slot.tick(1), StartRetrain)) == 1


def test_a_bot_that_left_counts_for_a_day_however_often_a_start_hears_that_it_is_gone() -> None:
    slot, gone = Slot(), {"bot_id": "b", "online": False, "fault": "too old"}
    slot.give(events.BotSeen, bot_id="b", online=True, fault="too old")
    slot.give(events.BotSeen, **gone)
    slot.now_ms += DAY_MS
    assert len(only(slot.give(events.BotSeen, **gone), StartRetrain)) == 1
    slot = Slot()
    slot.give(events.BotSeen, **gone)
    slot.now_ms += HOUR_MS
    slot.give(events.BotSeen, bot_id="b", online=True, fault="too old")
    slot.now_ms += DAY_MS
    assert only(slot.give(events.BotSeen, **gone), StartRetrain) == [], "it left just now"


def test_of_more_bots_than_anybody_runs_those_that_were_heard_of_last_are_known() -> None:
    slot = Slot()
    slot.give(events.BotSeen, bot_id="b", online=True, fault="too old")
    for n in range(KNOWN_BOTS - 1):
        slot.give(events.BotSeen, bot_id=f"forged-{n}", online=True)
    slot.give(events.BotSeen, bot_id="b", online=True, fault="too old")
    for n in range(KNOWN_BOTS - 1):
        assert only(slot.give(events.BotSeen, bot_id=f"new-{n}", online=True), StartRetrain) == []
    assert len(only(slot.give(events.BotSeen, bot_id="last", online=True), StartRetrain)) == 1


def test_a_candidate_waits_while_the_bots_features_are_not_ours_and_then_goes_live() -> None:
    slot = serving(max_age_days=0.0)
    slot.command("retrain")
    out = compare(slot, agree=False)
    (alert,) = only(out, Alert)
    assert "mom_1" in alert.text
    assert "0.1 at the bot and 0.2 here" in alert.text
    assert only(compare(slot, agree=False), Alert) == []
    assert only(slot.train("m2"), Deploy) == []
    assert "candidate m2 waits: the bot's features" in slot.engine.snapshot().waiting_for
    for _ in range(11):
        assert only(compare(slot, agree=True), Deploy) == []
    assert only(compare(slot, agree=False), Alert) == [], "the same episode"
    for _ in range(11):
        assert only(compare(slot, agree=True), Deploy) == []
    out = compare(slot, agree=True)
    assert [deploy.model_id for deploy in only(out, Deploy)] == ["m2"]
    (told,) = [a for a in only(out, Publish) if a.kind == "features_agree"]
    assert told.fields == {"bars": 3, "column": "mom_1"}
    assert slot.engine.snapshot().mismatch is None


def test_a_mismatch_of_a_bot_that_went_for_good_ends_after_a_day_without_features() -> None:
    slot = serving(max_age_days=0.0)
    slot.command("retrain")
    compare(slot, agree=False)
    slot.train("m2")
    compare(slot, agree=True)
    for _ in range(287):
        assert only(slot.bar(), Deploy) == []
    out = slot.bar()
    assert [deploy.model_id for deploy in only(out, Deploy)] == ["m2"]
    (told,) = [a for a in only(out, Publish) if a.kind == "features_unknown"]
    assert "no bot has published features for 288 bars" in told.text
    assert only(compare(slot, agree=False), Alert) != [], "who comes back is told of anew"


@pytest.mark.parametrize("forced", [True, False])
def test_a_candidate_that_waits_and_is_promoted_by_hand_waits_no_more(forced: bool) -> None:
    slot = serving(max_age_days=1.0, challenge=False)
    slot.tick(2 * DAY_MS)
    if forced:
        slot.command("retrain")
    compare(slot, agree=False)
    assert only(slot.train("m2"), Deploy) == []
    reply, out = slot.command("promote", "m2")
    assert reply.accepted
    out += slot.serve("m2", "m1")
    assert not any("m2 is not deployed" in told.text for told in only(out, Publish))
    assert "candidate m2 waits" not in slot.engine.snapshot().waiting_for
    for _ in range(12):
        assert only(compare(slot, agree=True), Deploy) == []


def test_an_operator_may_promote_and_go_back_while_the_features_differ() -> None:
    slot = on_probation()
    compare(slot, agree=False)
    assert len(only(slot.command("rollback")[1], Rollback)) == 1


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens, in whatever order, the promises hold."""

    def __init__(self) -> None:
        super().__init__()
        self.slot = Slot(
            cooldown_hours=1.0, min_new_bars=0, max_age_days=0.2, retry_bars=3, win_rate_trades=5
        )
        self.job_id: str | None = None
        self.asked: str | None = None
        self.withdrawn: str | None = None
        self.helps: bool | None = None
        self.refused = False
        self.passed: set[str] = set()
        self.swap_to: str | None = None
        self.live: str | None = None
        self.known: list[str] = []
        self.fault = ""

    def obey(self, out: tuple[Action, ...], *, replies: int = 0) -> None:
        assert len(only(out, Reply)) == replies
        for action in out:
            if isinstance(action, StartRetrain):
                self.take_retrain(action)
            elif isinstance(action, AskChallenger):
                assert self.job_id is None, "a question while the retrain runs"
                self.asked, self.helps, self.refused = action.job_id, None, False
            elif isinstance(action, WithdrawJob):
                assert action.job_id in {self.job_id, self.asked}, "taken back, but not ordered"
                self.withdrawn = action.job_id
            elif isinstance(action, HurryRetrain):
                assert action.job_id == self.job_id
            elif isinstance(action, Deploy):
                assert action.model_id in self.passed, "a deploy without passed gates"
                assert self.slot.engine.snapshot().mismatch is None, "a deploy over a mismatch"
                self.take_swap(action.model_id)
            elif isinstance(action, Rollback):
                assert action.to_model_id in self.known
                self.take_swap(action.to_model_id)
            elif isinstance(action, Promote):
                self.take_swap(action.model_id)

    def take_retrain(self, start: StartRetrain) -> None:
        assert self.job_id is None, "two retrains at once"
        if start.trigger == "drift":
            assert self.helps is not False, "a retrain that would not help"
        if start.trigger in {"drift", "win_rate", "age"}:
            assert not self.refused, "a retrain that the gates would refuse"
        self.job_id = start.job_id

    def take_swap(self, model_id: str) -> None:
        assert self.swap_to is None, "two swaps at once"
        self.swap_to = model_id

    @rule(bars=st.integers(1, 40), side=st.sampled_from([0, 1, 2]), won=st.booleans())
    def bars_close(self, bars: int, side: int, won: bool) -> None:
        p = tuple(0.9 if i == side else 0.05 for i in range(3))
        shadow = (0.3, 0.4, 0.3)
        previous = self.slot.engine.snapshot().previous_id
        for i in range(bars):
            close = 100.0 + (i if won else -i) / 10
            fields = {"model_id": self.live, "p": p, "close": close}
            self.obey(self.slot.bar(**fields, shadow_id=previous, shadow_p=shadow))

    @rule(bars=st.integers(12, 40), column=st.integers(0, 3))
    def a_feature_drifts(self, bars: int, column: int) -> None:
        row = tuple(8.0 if i == column else 0.1 * i for i in range(4))
        for i in range(bars):
            self.obey(self.slot.bar(row=tuple(value + i / 1000 for value in row)))

    @precondition(lambda self: self.asked is not None)
    @rule(helps=st.sampled_from([True, False, None]), refused=st.booleans())
    def the_challenger_answers(self, helps: bool | None, refused: bool) -> None:
        asked, self.asked = self.asked, None
        if asked == self.slot.engine.snapshot().challenge_id:
            self.helps, self.refused = helps, refused
        answer = {"helps": helps, "refused_by": ("calibrated",) * refused, "detail": "figures"}
        self.obey(self.slot.give(events.ChallengerJudged, job_id=asked, **answer))

    @rule(hours=st.integers(0, 60))
    def time_passes(self, hours: int) -> None:
        self.obey(self.slot.tick(hours * HOUR_MS))

    @rule(
        command=st.sampled_from(["retrain", "rollback", "promote", "pause", "resume", "dance"]),
        model=st.integers(0, 3),
    )
    def an_operator_asks(self, command: str, model: int) -> None:
        name = (self.known or ["x"])[model % max(1, len(self.known))]
        running = self.job_id
        reply, out = self.slot.command(command, name)
        self.obey(out, replies=1)
        if command == "retrain" and not reply.accepted:
            assert self.fault == reply.detail, "an ignored force"
            assert running is None
        elif command == "retrain":
            assert self.job_id is not None
            assert running is None or running == self.job_id

    @precondition(lambda self: self.job_id is not None or self.asked is not None)
    @rule()
    def the_turn_comes(self) -> None:
        self.obey(self.slot.give(events.TurnCame, job_id=self.job_id or self.asked))

    @precondition(lambda self: self.job_id is not None)
    @rule(passed=st.booleans(), judged=st.booleans())
    def the_retrain_ends(self, passed: bool, judged: bool) -> None:
        job_id, self.job_id = self.job_id, None
        if judged:
            self.obey(self.slot.give(events.JudgingBegan, job_id=job_id))
        model_id = f"m{len(self.known)}"
        self.known.append(model_id)
        if passed:
            self.passed.add(model_id)
        given = {"job_id": job_id, "model_id": model_id, "passed": passed}
        self.obey(self.slot.give(events.RetrainFinished, **given))

    @precondition(lambda self: self.job_id is not None)
    @rule()
    def the_retrain_fails(self) -> None:
        job_id, self.job_id = self.job_id, None
        self.obey(self.slot.give(events.RetrainFailed, job_id=job_id, error="killed"))

    @precondition(lambda self: self.withdrawn is not None and self.withdrawn == self.job_id)
    @rule()
    def a_retrain_that_waited_is_withdrawn(self) -> None:
        job_id, self.job_id, self.withdrawn = self.job_id, None, None
        given = {"job_id": job_id, "error": "paused", "stopped": True}
        self.obey(self.slot.give(events.RetrainFailed, **given))

    @precondition(lambda self: self.swap_to is not None)
    @rule(loaded=st.booleans(), worked=st.booleans(), early=st.booleans())
    def the_swap_ends(self, loaded: bool, worked: bool, early: bool) -> None:
        model_id, self.swap_to = self.swap_to, None
        assert model_id is not None
        if not worked:
            self.obey(self.slot.give(events.SwapFailed, model_id=model_id, error="full"))
            return
        if early:
            self.obey(ack(self.slot, model_id, loaded=loaded))
        previous, self.live = self.live, model_id
        self.helps = None
        given = {"calibration": calibrated()}
        self.obey(self.slot.serve(model_id, previous if previous != model_id else None, **given))
        if not early:
            self.obey(ack(self.slot, model_id, loaded=loaded))

    @rule(kind=st.sampled_from(["finished", "failed", "swap", "ack"]))
    def old_news_arrives(self, kind: str) -> None:
        if kind == "finished":
            given = {"job_id": "old", "model_id": "evil", "passed": True}
            self.obey(self.slot.give(events.RetrainFinished, **given))
        elif kind == "failed":
            self.obey(self.slot.give(events.RetrainFailed, job_id="old", error="x"))
        elif kind == "ack":
            self.obey(ack(self.slot, "evil", loaded=False))
        elif self.swap_to is None:
            self.obey(self.slot.give(events.SwapFailed, model_id="evil", error="x"))

    @rule(online=st.booleans(), fault=st.sampled_from(["", "the bot has an older library"]))
    def a_bot_is_seen(self, online: bool, fault: str) -> None:
        self.fault = fault
        given = {"bot_id": "b", "online": online, "fault": fault}
        self.obey(self.slot.give(events.BotSeen, **given))

    @rule(speaks=st.booleans())
    def a_bot_speaks_or_falls_silent(self, speaks: bool) -> None:
        if speaks:
            self.obey(self.slot.give(events.BotSpoke, bot_id="b"))
        else:
            self.obey(fall_silent(self.slot))

    @rule(agree=st.booleans(), bars=st.integers(1, 15))
    def features_are_compared(self, agree: bool, bars: int) -> None:
        for _ in range(bars):
            self.obey(compare(self.slot, agree=agree))

    @rule(won=st.booleans(), trades=st.integers(1, 8))
    def trades_close(self, won: bool, trades: int) -> None:
        for i in range(trades):
            now = self.slot.now_ms
            given = {"trade_id": str(i), "side": "buy", "opened_ms": now, "closed_ms": now}
            self.obey(self.slot.give(events.TradeClosed, pnl=1.0 if won else -1.0, **given))

    @invariant()
    def the_engine_knows_what_is_live_and_under_way(self) -> None:
        snapshot = self.slot.engine.snapshot()
        assert snapshot.model_id == self.live, "a lost champion"
        assert snapshot.job_id == self.job_id
        assert snapshot.swap_to == self.swap_to

    def teardown(self) -> None:
        again = Slot()
        again.engine = Engine(
            SLOT, self.slot.settings, interval_ms=BAR_MS, names=NAMES, history_bars=6000
        )
        for event in self.slot.journal:
            again.engine.handle(event)
        assert again.engine.snapshot() == self.slot.engine.snapshot()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(
    max_examples=100, stateful_step_count=25, deadline=None, derandomize=True
)


def test_a_model_that_speaks_far_more_often_than_its_rule_was_made_for_is_told_once() -> None:
    slot = Slot()
    slot.serve("m1", signal_share=0.01)
    said = [slot.bar(model_id="m1", p=(0.1, 0.4, 0.5)) for _ in range(3 * 288)]
    told = [one for out in said for one in only(out, Publish) if one.kind == "speaks_often"]
    assert len(told) == 1
    assert len(only((action for out in said for action in out), Alert)) >= 1
    assert not any(only(out, Rollback) for out in said)
    assert "its rule was made for 1.0%" in str(told[0])
    assert slot.engine.snapshot().speaking["too_often"]
    slot.serve("m2", signal_share=0.01)
    assert slot.engine.snapshot().speaking == {
        "bars": 0,
        "share": None,
        "expected": 0.01,
        "too_often": False,
    }
