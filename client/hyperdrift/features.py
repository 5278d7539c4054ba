"""Which 17 features a model takes, by name and order; the formulas are the daemon's.

A model that was trained on one formula and is served another loses money without any error
message. `schema_hash` names the columns and the version of their formulas; a bot refuses a
model of another schema.
"""

import hashlib
from typing import Final

BUILTIN: Final = "builtin"
"""The name of the daemon's own formulas, where a bot's class could stand."""

FEATURE_NAMES: Final = (
    "mom_1",
    "mom_3",
    "mr_ema20_z",
    "rv_1h",
    "regime_high_vol",
    "gk_volatility",
    "jump_magnitude",
    "volume_intensity",
    "price_efficiency",
    "price_volume_corr",
    "vwap_momentum",
    "depth_proxy",
    "funding_rate",
    "funding_momentum_1h",
    "flow_diff",
    "S_top",
    "S_bot",
)
FORMULA_VERSION: Final = 1
"""Rises when a formula changes."""


def schema_hash() -> str:
    """Return the 12 hex digits that name the columns and their formulas."""
    text = "\n".join((*FEATURE_NAMES, str(FORMULA_VERSION)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
