import json
from typing import Any

import msgspec
import pytest

from daemon.mqtt.home_assistant import discovery
from daemon.mqtt.messages import Command, DaemonStatus, SlotState, decode, encode
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.phases import Phase
from tests.daemon.home_assistant import check_device, rendered

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
NOW_MS = 1_796_000_000_123
NOTHING = SlotState(
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
EARNED = {"count": 40, "mean_bp": 1.52, "low_bp": None, "high_bp": None, "verdict": "too few"}
EVERYTHING = msgspec.structs.replace(
    NOTHING,
    phase="serving",
    model_id="20260101_000000_abcdefabcdef",
    model_age_s=3600,
    win_rate=0.525,
    drift={"mom_1": 0.25, "rv_1h": 0.75},
    lag_ms=1500,
    earning={"signals": {"of_model": EARNED, "since_start": EARNED}},
    trouble='it\'s "odd" {{ here }}',
)


def parts(**how: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = discovery(SLOT, TOPICS, "1.0", **how).payload["components"]
    return found


def shown(state: SlotState) -> dict[str, str]:
    """Return what each sensor shows of a published state."""
    body = encode(state)
    return {
        key: rendered(part["value_template"], body)
        for key, part in parts().items()
        if "value_template" in part
    }


@pytest.mark.parametrize("buttons", [True, False])
@pytest.mark.parametrize("name", ["BTC-5m", "xyz:NVDA-1h", 'a b"c{{x}}_-1d', "ÄÖ-5m"])
def test_home_assistant_takes_the_device_of_any_slot(name: str, buttons: bool) -> None:
    topics = Topics("my/own prefix")
    found = discovery(SlotName.parse(name), topics, "1.0", buttons=buttons)
    check_device(found.topic, json.loads(encode(found.payload)))


def test_two_slots_or_prefixes_never_share_a_topic_or_an_id() -> None:
    named = [
        ("hyperdrift", "a:b-5m"),
        ("hyperdrift", "a_3A_b-5m"),
        ("hyperdrift", "Ä1-5m"),
        ("hyperdrift", "\u0c41-5m"),
        ("hyperdrift/a", "b-5m"),
    ]
    named += [("hyperdrift_2F_a", "b-5m"), ("hyperdrift", "BTC-5m"), ("hyperdrift", "BTC-1h")]
    made = [discovery(SlotName.parse(slot), Topics(prefix), "1") for prefix, slot in named]
    assert len({one.topic for one in made}) == len(named)
    assert len({one.payload["device"]["identifiers"][0] for one in made}) == len(named)


def test_the_sensors_show_the_state_in_units_that_people_read() -> None:
    found = shown(EVERYTHING)
    assert float(found.pop("win_rate")) == pytest.approx(52.5)
    assert found == {
        "phase": "serving",
        "model": "20260101_000000_abcdefabcdef",
        "model_age": "3600",
        "drift": "0.75",
        "earning": "1.52",
        "lag": "1.5",
        "trouble": "ON",
    }
    assert set(parts()["phase"]["options"]) == {phase.value for phase in Phase}


def test_what_is_not_known_yet_is_unknown_to_home_assistant_too() -> None:
    found = shown(NOTHING)
    assert found.pop("phase") == "collecting"
    assert found.pop("trouble") == "OFF"
    assert set(found.values()) == {"None"}  # Home Assistant's word for unknown


@pytest.mark.parametrize("state", ["online", "offline"])
def test_the_device_is_available_while_the_daemon_is(state: Any) -> None:
    found = discovery(SLOT, TOPICS, "1.0").payload["availability"][0]
    assert found["topic"] == TOPICS.status
    assert rendered(found["value_template"], encode(DaemonStatus(state=state))) == state


@pytest.mark.parametrize("name", ["BTC-5m", "a b\"c{{x}}'_-1d"])
def test_a_button_writes_a_command_of_the_moment_in_which_it_is_pressed(name: str) -> None:
    made = discovery(SlotName.parse(name), TOPICS, "1.0").payload["components"]
    ids = set()
    for key in ("retrain", "pause", "resume"):
        assert made[key]["command_topic"] == f"hyperdrift/{name}/command"
        body = rendered(made[key]["command_template"], now_ms=NOW_MS)
        command = decode(body.encode(), Command)
        assert (command.command, command.by) == (key, "Home Assistant")
        assert abs(command.issued_ms - NOW_MS) <= 1
        ids.add(command.request_id)
        later = rendered(made[key]["command_template"], now_ms=NOW_MS + 1000)
        ids.add(decode(later.encode(), Command).request_id)
    assert len(ids) == 6


def test_where_commands_must_be_signed_the_buttons_are_taken_away() -> None:
    found = parts(buttons=False)
    for key in ("retrain", "pause", "resume"):
        assert found[key] == {"platform": "button"}
