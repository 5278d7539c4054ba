"""Home Assistant's rules for what describes a device, and its templates, as far as we use them.

The rules are those of its documentation and of the schemas of its MQTT integration
(2024.11 and newer): https://www.home-assistant.io/integrations/mqtt/.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from jinja2.sandbox import ImmutableSandboxedEnvironment

TOPIC: Final = re.compile(r"homeassistant/device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")
_DEVICE: Final = {
    *("identifiers", "connections", "name", "manufacturer", "model", "sw_version", "hw_version"),
    *("configuration_url", "serial_number", "suggested_area", "via_device", "model_id"),
}
_SHARED: Final = {
    *("device", "origin", "components", "availability", "availability_mode", "state_topic"),
    *("command_topic", "qos", "encoding"),
}
_ENTITY: Final = {"platform", "unique_id", "name", "icon", "entity_category", "device_class"}
_PLATFORMS: Final = {
    "sensor": _ENTITY
    | {"state_topic", "value_template", "unit_of_measurement", "state_class", "options"}
    | {"suggested_display_precision", "expire_after", "force_update"},
    "binary_sensor": _ENTITY | {"state_topic", "value_template", "payload_on", "payload_off"},
    "button": _ENTITY | {"command_topic", "command_template", "payload_press", "retain", "qos"},
}
_CLASSES: Final = {
    "sensor": {None, "enum", "duration"},
    "binary_sensor": {None, "problem"},
    "button": {None, "restart", "update", "identify"},
}


def check_device(topic: str, payload: dict[str, Any]) -> None:
    """Fail where Home Assistant would not take a device."""
    assert TOPIC.fullmatch(topic)
    assert payload.keys() <= _SHARED
    assert payload["device"].keys() <= _DEVICE
    assert payload["device"].get("identifiers") or payload["device"].get("connections")
    assert payload["origin"]["name"]
    assert payload["origin"].keys() <= {"name", "sw_version", "support_url"}
    for one in payload.get("availability", ()):
        assert one["topic"]
        assert one.keys() <= {
            *("topic", "value_template", "payload_available", "payload_not_available")
        }
    ids = []
    for part in payload["components"].values():
        if part.keys() == {"platform"}:  # takes away what an earlier message made
            continue
        _check_part(part, payload)
        ids.append(part["unique_id"])
    assert len(ids) == len(set(ids))


def _check_part(part: dict[str, Any], payload: dict[str, Any]) -> None:
    platform = part["platform"]
    assert part.keys() <= _PLATFORMS[platform]
    assert part["unique_id"]
    assert part["name"].isprintable()
    assert part.get("device_class") in _CLASSES[platform]
    assert "icon" not in part or re.fullmatch(r"mdi:[a-z-]+", part["icon"])
    if platform == "button":
        assert not set(part["command_topic"]) & set("+#")
        return
    assert part.get("state_topic") or payload.get("state_topic")
    if part.get("device_class") == "enum":
        assert part["options"]
        assert not part.keys() & {"unit_of_measurement", "state_class"}
    else:
        assert "options" not in part
    if part.get("device_class") == "duration":
        assert part["unit_of_measurement"] in {"d", "h", "min", "s", "ms"}


def rendered(template: str, payload: bytes = b"", now_ms: int = 0) -> str:
    """Return what Home Assistant makes of a template, at a time in ms UTC."""
    environment = ImmutableSandboxedEnvironment()
    environment.globals["now"] = lambda: datetime.fromtimestamp(now_ms / 1000, UTC)
    environment.globals["as_timestamp"] = lambda when: when.timestamp()
    value_json = json.loads(payload) if payload else None
    text = environment.from_string(template).render(value=payload.decode(), value_json=value_json)
    return text.strip()
