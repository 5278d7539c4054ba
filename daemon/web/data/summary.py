"""Sum up one slot for the first page."""

import math
from collections.abc import Mapping
from typing import Final, Literal

from daemon.mqtt.messages import SlotState
from daemon.web.data import headlines, needs
from daemon.web.views import DriftBar, EquityPoint, SlotSummary, WinShare
from hyperdrift.slot_name import SlotName

_FEWEST: Final = 30
_Z: Final = 1.96


def summary(
    slot: SlotName, state: SlotState, equity: tuple[EquityPoint, ...], now_ms: int
) -> SlotSummary:
    """Return a slot as it stands on the first page.

    Args:
        slot: The slot.
        state: Its state.
        equity: The newest points of the sum of its signals after costs, oldest first.
        now_ms: The time of the venue.
    """
    needed = needs.of_slot(needs.SlotFacts(slot, state, now_ms))
    return SlotSummary(
        slot=str(slot),
        urgency=needed.urgency,
        headline=headlines.doing(state),
        needs=needed.text,
        earning=headlines.earning(state),
        win_rate=win_share(state),
        top_drift=next(iter(drift_bars(state.drift)), None),
        equity=equity,
        state=state,
    )


def drift_bars(drift: Mapping[str, float]) -> tuple[DriftBar, ...]:
    """Return the evidence of every feature, the most first."""
    bars = (DriftBar(feature=name, evidence=score) for name, score in drift.items())
    return tuple(sorted(bars, key=lambda bar: (-bar.evidence, bar.feature)))


def win_share(state: SlotState) -> WinShare:
    """Return the share that won; its interval is Wilson's, from 30 outcomes on."""
    share, count = state.win_rate, state.win_rate_count
    of: Literal["trades", "signals"] = "signals" if state.win_rate_of == "signals" else "trades"
    low = high = None
    if share is not None and count >= _FEWEST:
        spread = _Z * math.sqrt(share * (1 - share) / count + (_Z / count) ** 2 / 4)
        middle, scale = share + _Z**2 / count / 2, 1 + _Z**2 / count
        low, high = max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
    return WinShare(value=share, low=low, high=high, count=count, of=of)
