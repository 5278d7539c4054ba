"""Describe a slot to Home Assistant, which then makes a device with sensors and buttons of it.

This is its MQTT discovery with one message a device, as Home Assistant 2024.11 and newer take
it. The sensors read the state that is published anyway. The buttons publish commands, and Home
Assistant writes id and time into each when it is pressed: an old command is refused.
"""

import re
from typing import Any, Final, NamedTuple

from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.phases import Phase

PREFIX: Final = "homeassistant"
"""The first level of the topics at which Home Assistant looks for devices."""
STATUS: Final = f"{PREFIX}/status"
"""Where Home Assistant itself says that it runs."""

_MOST_DRIFT: Final = "{{ value_json.drift.values() | list | max if value_json.drift else none }}"
_EARNED: Final = (
    "{% set of = value_json.earning.get('signals') %}"
    "{{ of['of_model']['mean_bp'] if of else none }}"
)
# Home Assistant fills it in when a button is pressed.
_NOW: Final = "{% set ms = (as_timestamp(now()) * 1000) | int %}"
_BUTTONS: Final = {
    "retrain": ("Retrain", "mdi:school"),
    "pause": ("Pause retrains", "mdi:pause"),
    "resume": ("Resume retrains", "mdi:play"),
}
# What may stand in one level of a discovery topic.
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9-]")


class Discovery(NamedTuple):
    """One device: the topic of its description, and the description; both are retained."""

    topic: str
    payload: dict[str, Any]


def discovery(slot: SlotName, topics: Topics, version: str, *, buttons: bool = True) -> Discovery:
    """Return the device of a slot.

    Args:
        slot: The slot.
        topics: Gives the names of the topics.
        version: The version of hyperdrift.
        buttons: Whether commands without a signature are taken.
    """
    node, name = _level(topics.prefix), _level(str(slot))
    device = {
        "identifiers": [f"{topics.prefix}/{slot}"],
        "name": f"hyperdrift {slot}",
        "manufacturer": "hyperdrift",
        "model": "Model of a trading bot",
        "sw_version": version,
    }
    parts = {**_sensors(), **_pressables(topics.command(slot), f"{node}-{name}", shown=buttons)}
    for key, part in parts.items():
        if part.keys() != {"platform"}:
            part["unique_id"] = f"{topics.prefix}_{slot}_{key}"
    payload = {
        "device": device,
        "origin": {"name": "hyperdrift", "sw_version": version},
        "availability": [{"topic": topics.status, "value_template": "{{ value_json.state }}"}],
        "state_topic": topics.state(slot),
        "qos": 1,
        "components": parts,
    }
    return Discovery(f"{PREFIX}/device/{node}/{name}/config", payload)


def _sensors() -> dict[str, dict[str, Any]]:
    phases = {"device_class": "enum", "options": [phase.value for phase in Phase]}
    age = {"device_class": "duration", "unit_of_measurement": "s"}
    share, lag = _number("value_json.win_rate", "* 100"), _number("value_json.lag_ms", "/ 1000")
    return {
        "phase": _sensor("Phase", "{{ value_json.phase }}", "mdi:state-machine", **phases),
        "model": _sensor("Live model", "{{ value_json.model_id }}", "mdi:brain"),
        "model_age": _sensor("Model age", "{{ value_json.model_age_s }}", "mdi:calendar", **age),
        "win_rate": _sensor("Win rate", share, "mdi:trophy", **_measured("%", 1)),
        "drift": _sensor("Drift evidence", _MOST_DRIFT, "mdi:waves", **_measured("", 2)),
        "earning": _sensor("Signals earn", _EARNED, "mdi:cash-multiple", **_measured("bp", 1)),
        "lag": _sensor("Lag", lag, "mdi:timer-sand", **_measured("s", 1), device_class="duration"),
        "trouble": {
            "platform": "binary_sensor",
            "name": "Trouble",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.trouble else 'OFF' }}",
        },
    }


def _sensor(name: str, template: str, icon: str, **more: Any) -> dict[str, Any]:
    return {"platform": "sensor", "name": name, "value_template": template, "icon": icon, **more}


def _measured(unit: str, decimals: int) -> dict[str, Any]:
    found = {"state_class": "measurement", "suggested_display_precision": decimals}
    return found | ({"unit_of_measurement": unit} if unit else {})


def _number(field: str, times: str) -> str:
    return f"{{{{ {field} {times} if {field} is not none else none }}}}"


def _pressables(topic: str, who: str, *, shown: bool) -> dict[str, dict[str, Any]]:
    """Return the buttons; without `shown` what takes away those that an earlier message made."""
    if not shown:
        return {key: {"platform": "button"} for key in _BUTTONS}
    return {
        key: {
            "platform": "button",
            "name": name,
            "icon": icon,
            "command_topic": topic,
            "command_template": _pressed(key, who),
        }
        for key, (name, icon) in _BUTTONS.items()
    }


def _pressed(command: str, who: str) -> str:
    fields = f'"command": "{command}", "request_id": "home-assistant-{who}-{command}-{{{{ ms }}}}"'
    said = '"reason": "a button in Home Assistant", "by": "Home Assistant"'
    return f'{_NOW}{{{fields}, "issued_ms": {{{{ ms }}}}, {said}}}'


def _level(text: str) -> str:
    """Return a text as one level of a discovery topic; another text gives another level."""
    return _FOREIGN.sub(lambda found: f"_{ord(found[0]):X}_", text)
