from typing import Any

import msgspec
import pytest

from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress
from daemon.web.data import headlines
from daemon.web.data.summary import summary
from daemon.web.views import SlotSummary
from hyperdrift.slot_name import SlotName
from monitor.phases import Phase
from tests.daemon.web.data.test_needs import NOW_MS, ONLINE, SERVING

JOB = RetrainProgress(job="BTC-5m-1750000000000-1", step="fit", percent=40.4, reason="drift of x")
WAITS = msgspec.structs.replace(JOB, step="waiting", percent=0.0, place=3, waiting=12)
ASKS = ChallengeProgress(job="j", reason="drift of a, b, c, d", place=3, waiting=12)
EARNED = {"count": 40, "mean_bp": 3.25, "low_bp": 0.5, "high_bp": 6.0, "verdict": "shown"}
FEW = {"count": 4, "mean_bp": -7.0, "low_bp": None, "high_bp": None, "verdict": "too few"}
NONE = {"count": 0, "mean_bp": None, "low_bp": None, "high_bp": None, "verdict": "too few"}
CAUSES = ("drift of a feature", "a fallen win rate", "a model older than 30 days")


def state(**fields: Any) -> SlotState:
    return msgspec.structs.replace(SERVING, **fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"waiting_for": "wait: no evidence against the live model"},
            "The live model serves; no evidence against the live model.",
        ),
        (
            {"waiting_for": "wait: retrain BTC-5m-1750000000000-1 is running"},
            "The live model serves; a retrain is running.",
        ),
        ({}, "The live model serves."),
        (
            {"waiting_for": "wait: drift of a, b, c, d; would a retrain help?"},
            "The live model serves; drift of a, b and 2 more; would a retrain help?",
        ),
        (
            {"challenge": ASKS, "waiting_for": "wait: drift of a, b, c, d; would a retrain help?"},
            (
                "The live model serves; drift of a, b and 2 more: it asks whether a retrain would "
                "help: waiting, 3rd of 12."
            ),
        ),
        (
            {"phase": "collecting", "model_id": None, "waiting_for": "wait: 4 of 9 bars"},
            "No model yet; 4 of 9 bars.",
        ),
        (
            {"phase": "retraining", "retrain": JOB},
            ("It trains a new model (40 % done) because of drift of x; the live model goes on."),
        ),
        (
            {"phase": "judging", "retrain": JOB, "model_id": None},
            "It judges a new model (40 % done) because of drift of x.",
        ),
        (
            {"phase": "retraining", "retrain": WAITS},
            (
                "It waits for its turn to train a new model because of drift of x; it is 3rd of 12 "
                "in the queue; the live model goes on."
            ),
        ),
        ({"phase": "judging"}, "It judges a new model."),
        (
            {
                "phase": "probation",
                "live_reason": "promoted: mine",
                "probation_ends_ms": NOW_MS,
                "probation": {"evidence": 1.26, "bars": 5},
            },
            (
                "The live model was put live because an operator promoted it (mine), and is on "
                "probation until 2025-06-15 15:06 UTC: the one before scores beside it, and the "
                "evidence that it is worse is 1.3 : 1 (20 : 1 rolls back)."
            ),
        ),
        ({"phase": "some later phase"}, "It is some later phase."),
    ],
)
def test_a_slot_says_what_it_does_and_why(fields: dict[str, Any], says: str) -> None:
    assert headlines.doing(state(**fields)) == says


def test_every_phase_has_a_sentence_of_its_own() -> None:
    said = [headlines.doing(state(phase=phase.value)) for phase in Phase]
    assert len(set(said)) == len(Phase)
    assert not {f"It is {phase}." for phase in Phase} & set(said)


@pytest.mark.parametrize(
    ("earning", "says"),
    [
        ({}, "Not known: no signal has an outcome yet."),
        ({"signals": NONE}, "Not known: no signal of the live model has an outcome yet."),
        (
            {"signals": FEW},
            "Too early to say: 4 signals so far, -7.0 bp each after costs, and 30 are needed.",
        ),
        (
            {"signals": EARNED, "trades": FEW},
            "It earns: +3.2 bp a signal after costs, 95 % certain +0.5 to +6.0, 40 signals.",
        ),
        (
            {"signals": FEW, "trades": EARNED | {"verdict": "loses"}},
            "It loses: +3.2 bp a trade after costs, 95 % certain +0.5 to +6.0, 40 trades.",
        ),
        (
            {"trades": EARNED | {"verdict": "not shown"}},
            "Not shown to earn: +3.2 bp a trade after costs, 95 % certain +0.5 to +6.0, 40 trades.",
        ),
        (
            {"trades": FEW},
            "Too early to say: 4 trades so far, -7.0 bp each after costs, and 30 are needed.",
        ),
    ],
)
def test_whether_it_earns_is_said_of_trades_once_there_are_enough(
    earning: dict[str, Any], says: str
) -> None:
    of_model = {source: {"of_model": found, "since_start": {}} for source, found in earning.items()}
    assert headlines.earning(state(earning=of_model)) == says


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"causes": CAUSES},
            (
                "At any time, if there is a cause: drift of a feature, a fallen win rate or a "
                "model older than 30 days. Apart from that you can ask for one at any time."
            ),
        ),
        (
            {"causes": CAUSES[:1], "may_retrain_ms": NOW_MS + 7_500_000},
            (
                "Not before 2025-06-15 17:11 UTC (2 h 5 min from now), if there is a cause: drift "
                "of a feature. Apart from that you can ask for one at any time."
            ),
        ),
        ({"phase": "retraining"}, "One is running."),
        ({"phase": "retraining", "retrain": WAITS}, "One waits for its turn."),
        (
            {"phase": "paused", "causes": CAUSES},
            "None starts by itself while the slot is paused; you can ask for one at any time.",
        ),
        (
            {},
            "None starts by itself, by the configuration; you can ask for one at any time.",
        ),
    ],
)
def test_it_says_when_the_next_retrain_may_start_and_why_it_would(
    fields: dict[str, Any], says: str
) -> None:
    assert headlines.next_retrain(state(**fields), NOW_MS) == says


def slots(*given: dict[str, Any]) -> tuple[SlotSummary, ...]:
    return tuple(
        summary(SlotName(f"C{number}", "5m"), state(**fields), (), NOW_MS)
        for number, fields in enumerate(given)
    )


ILL: dict[str, Any] = {"trouble": "no bars come"}
TRAINS: dict[str, Any] = {"phase": "retraining"}
EMPTY: dict[str, Any] = {"phase": "collecting", "model_id": None}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (slots({}, {}), "It runs: 2 models live, and nothing needs you."),
        (
            slots({"model_id": None, "phase": "retraining"}),
            "It runs: no model live yet and 1 retrain under way, and nothing needs you.",
        ),
        (
            slots(TRAINS, TRAINS | {"retrain": WAITS}, TRAINS | {"retrain": WAITS}),
            (
                "It runs: 3 models live, 1 retrain under way and 2 retrains waiting, and nothing "
                "needs you."
            ),
        ),
        (
            slots(TRAINS, EMPTY),
            (
                "It runs: 1 model live, 1 slot without one yet and 1 retrain under way, and "
                "nothing needs you."
            ),
        ),
        (slots(ILL, {}), "It runs, and C0-5m needs you."),
        (slots(ILL, ILL, ILL), "It runs, and C0-5m, C1-5m and C2-5m need you."),
        (slots(*[ILL] * 9), "It runs, and C0-5m, C1-5m and 7 more need you."),
        (slots({"phase": "paused"}), "It runs; have a look at C0-5m."),
    ],
)
def test_the_daemon_says_that_it_lives_and_what_matters_most(
    given: tuple[SlotSummary, ...], says: str
) -> None:
    assert headlines.of_daemon(ONLINE, "ok", given) == says


def test_a_start_and_what_concerns_all_slots_come_first() -> None:
    starting = DaemonStatus(state="online", doing="starting: opening the store")
    assert headlines.of_daemon(starting, "busy", ()) == "It is starting: opening the store."
    ill = slots(ILL)
    assert headlines.of_daemon(ONLINE, "act", ill) == "It runs, and needs you for all its slots."
    assert "worth a look" in headlines.of_daemon(ONLINE, "look", slots({}))
