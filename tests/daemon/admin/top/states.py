"""States of slots for the tests of the screen."""

from typing import Any

from daemon.admin.top.top_state import TopState, heard_slot
from daemon.mqtt.messages import SlotState
from hyperdrift.slot_name import SlotName

T0 = 1_753_963_200_000


def slot_state(**given: Any) -> SlotState:
    fields: dict[str, Any] = {
        "phase": "serving",
        "model_id": "20250731_120000_abc",
        "model_age_s": 90_000,
        "win_rate": 0.52,
        "trades": 31,
        "drift": {"gk_volatility": 0.4, "mom_1": 0.1},
        "last_bar_t": T0,
        "lag_ms": 120,
        "retrain": None,
        "mismatch": None,
    }
    return SlotState(**fields | given)


def shown(*slots: str, **given: Any) -> TopState:
    """Return the state of a screen that has heard of these slots, all in one state."""
    state = TopState()
    for name in slots:
        state = heard_slot(state, SlotName.parse(name), slot_state(**given), T0)
    return state
