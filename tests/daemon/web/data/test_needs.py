import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.mqtt.messages import (
    BotState,
    DaemonStatus,
    FeatureMismatch,
    SlotState,
    TradesState,
    VenueState,
)
from daemon.mqtt.retrain_messages import RetrainProgress, RetrainRefusal
from daemon.web.data import needs
from daemon.web.data.needs import (
    DAEMON_RULES,
    SLOT_RULES,
    DaemonFacts,
    DaemonRule,
    SlotFacts,
    SlotRule,
)
from hyperdrift.slot_name import SlotName
from monitor.phases import Phase

SLOT = SlotName("BTC", "5m")
NOW_MS = 1_750_000_000_000
SERVING = SlotState(
    phase="serving",
    model_id="m1",
    model_age_s=60,
    win_rate=None,
    trades=0,
    drift={},
    last_bar_t=NOW_MS - 300_000,
    lag_ms=400,
    retrain=None,
    mismatch=None,
)
ONLINE = DaemonStatus(state="online")
VENUE = VenueState(
    connected=False,
    reconnects=0,
    weight_left=1,
    weight_per_minute=1,
    retries=0,
    throttled=0,
    clock_jumps=0,
)
LOSES = {"of_model": {"verdict": "loses"}, "since_start": {}}
DIFFERS = FeatureMismatch(t=NOW_MS, column="rv_1h", theirs=1.0, ours=2.0, others=2, bars=1, clean=0)


def refusal(**fields: Any) -> RetrainRefusal:
    given = {"at_ms": 1, "model_id": "m2", "refused_by": ("overfit", "direction"), "error": ""}
    return RetrainRefusal(**{**given, "next_ms": 2, "in_a_row": 1, **fields})


def bot(**fields: Any) -> tuple[BotState, ...]:
    return (BotState(**{"bot_id": "a", "online": True, **fields}),)


# For each rule: what of the state makes it apply, and words of what it says.
SLOT_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "trouble of its model or its market data": ({"trouble": "no bars: look"}, "No bars: look."),
    "features of a bot differ": (
        {"mismatch": DIFFERS, "objection": "the bot's features are not ours"},
        (
            "The bot's features are not the daemon's: rv_1h and 2 more columns of the bar "
            "of 2025-06-15 15:06 UTC; make its formulas those of the daemon: nothing is deployed "
            "until 12 bars in a row agree or none came for a day."
        ),
    ),
    "a bot cannot load what a retrain saves": (
        {"objection": "bot a has scikit-learn 1.2: install 1.4 there"},
        "Bot a has scikit-learn 1.2: install 1.4 there.",
    ),
    "a bot refuses the live version": (
        {"bots": bot(answer="refused")},
        "Bot a refused the version that was ordered: see in its log why.",
    ),
    "a bot cannot load the live version yet": (
        {"bots": bot(waiting_for="the model's file")},
        "Bot a cannot load the version that was ordered yet: the model's file.",
    ),
    "a bot is online and silent": (
        {"bots": bot(silent_since_ms=NOW_MS)},
        (
            "Bot a is online and has published no prediction since 2025-06-15 15:06 UTC: see in "
            "its log whether it hangs, and restart it."
        ),
    ),
    "no model, and the last retrain left none": (
        {"phase": "collecting", "model_id": None, "refusal": refusal()},
        (
            "There is no model, because the gates overfit and direction refused the last candidate"
            ": `hyperdrift labels --coin BTC --interval 5m` shows which horizon or threshold fits "
            "its bars."
        ),
    ),
    "the live model surely loses": (
        {"earning": {"trades": LOSES, "signals": LOSES}},
        (
            "The signals and trades of the live model lose money after costs: let the bot trade "
            "less or not at all until a new model is live, or roll back to the one before."
        ),
    ),
    "the last retrain failed": (
        {"refusal": refusal(error="the disk is full")},
        "The last retrain failed and changed nothing: the disk is full.",
    ),
    "three candidates or more refused in a row": (
        {"refusal": refusal(in_a_row=3, refused_by=("overfit",))},
        (
            "3 candidates in a row were refused, the last one by the gate overfit: its report says "
            "why, and `hyperdrift labels --coin BTC --interval 5m` shows other horizons and "
            "thresholds."
        ),
    ),
    "no bar for long": (
        {"lag_ms": 31 * 60_000},
        "The next bar is 31 min late: the page of the feed shows what comes.",
    ),
    "every bot is gone": (
        {"bots": bot(online=False)},
        "Bot a is gone, and no other one is there: start it.",
    ),
    "paused": (
        {"phase": "paused"},
        "It is paused: resume it to let retrains and deploys go on by themselves.",
    ),
}
DAEMON_CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "trouble of the disk, or another daemon": ({"trouble": "stop one"}, "", "Stop one."),
    "no broker": (
        {},
        "it refuses",
        "There is no broker, so no bot hears of a new model: it refuses.",
    ),
    "the file of trades cannot be read": (
        {"trades": {"file": TradesState(trouble="it is a folder")}},
        "",
        "The bot's trades cannot be read: it is a folder.",
    ),
    "the venue is away": (
        {"venue": VENUE},
        "",
        "The venue's stream is away; it is connected again as soon as the venue answers.",
    ),
    "trades that cannot be counted": (
        {"trades": {"messages": TradesState(bad={"no price": 2}, first_bad="x")}},
        "",
        (
            "Some of the bot's trades cannot be counted: 0 counted; 2 bad (2 because no price), "
            "the first is x."
        ),
    ),
}


def state(**fields: Any) -> SlotState:
    return msgspec.structs.replace(SERVING, **fields)


@pytest.mark.parametrize("rule", SLOT_RULES, ids=lambda rule: rule.name)
def test_each_rule_of_a_slot_applies_alone_and_says_what_to_do(rule: needs.SlotRule) -> None:
    fields, says = SLOT_CASES[rule.name]
    found = needs.of_slot(SlotFacts(SLOT, state(**fields), NOW_MS))
    assert found == (rule.urgency, says)


@pytest.mark.parametrize("rule", DAEMON_RULES, ids=lambda rule: rule.name)
def test_each_rule_of_the_daemon_applies_alone(rule: needs.DaemonRule) -> None:
    fields, broker, says = DAEMON_CASES[rule.name]
    status = msgspec.structs.replace(ONLINE, **fields)
    assert needs.of_daemon(DaemonFacts(status, broker)) == (rule.urgency, says)


@pytest.mark.parametrize(
    ("fields", "urgency"),
    [
        ({}, "ok"),
        ({"phase": "probation"}, "busy"),
        ({"phase": "retraining"}, "busy"),
        ({"phase": "collecting", "model_id": None}, "busy"),
        ({"refusal": refusal(in_a_row=2)}, "ok"),
        ({"lag_ms": 29 * 60_000}, "ok"),
        ({"lag_ms": 31 * 60_000, "trouble": "no bars come"}, "act"),
        ({"bots": (*bot(online=False), *bot(bot_id="b"))}, "ok"),
        ({"bots": bot(online=False, answer="refused", silent_since_ms=NOW_MS)}, "look"),
        (
            {
                "phase": "retraining",
                "model_id": None,
                "refusal": refusal(),
                "retrain": RetrainProgress(job="j", step="fit", percent=1.0),
            },
            "busy",
        ),
    ],
)
def test_what_mends_itself_or_is_told_already_needs_nobody(
    fields: dict[str, Any], urgency: str
) -> None:
    assert needs.of_slot(SlotFacts(SLOT, state(**fields), NOW_MS)).urgency == urgency


def test_the_gravest_need_comes_first_and_gives_the_urgency() -> None:
    found = needs.of_slot(
        SlotFacts(SLOT, state(phase="paused", trouble="it lacks bars", lag_ms=None), NOW_MS)
    )
    assert found.urgency == "act"
    assert found.text.startswith("It lacks bars. It is paused")


def test_many_bots_with_the_same_trouble_are_one_sentence() -> None:
    silent = tuple(
        BotState(bot_id=f"b{number}", online=True, silent_since_ms=NOW_MS) for number in range(50)
    )
    text = needs.of_slot(SlotFacts(SLOT, state(bots=silent), NOW_MS)).text
    assert text.startswith("Bots b0, b1, b2 and 47 more are online and have published")


def test_a_start_does_not_ask_for_the_broker_that_it_connects() -> None:
    starting = msgspec.structs.replace(ONLINE, doing="starting: opening the store")
    assert needs.of_daemon(DaemonFacts(starting, "not yet")) == ("busy", "")


def test_every_phase_is_busy_or_at_rest() -> None:
    for phase in Phase:
        found = needs.of_slot(SlotFacts(SLOT, state(phase=phase.value), NOW_MS)).urgency
        assert found in {"ok", "busy", "look"}


def test_the_page_for_owners_lists_every_rule_and_no_other() -> None:
    page = (Path(__file__).parents[4] / "docs/howto/status-page.md").read_text()
    rows = re.findall(r"^\| (slot|daemon) \| (.+) \| (act|look) \|$", page, re.MULTILINE)
    rules: dict[str, tuple[SlotRule | DaemonRule, ...]] = {
        "slot": SLOT_RULES,
        "daemon": DAEMON_RULES,
    }
    known = [(of, rule.name, rule.urgency) for of, found in rules.items() for rule in found]
    assert rows == known
