"""Name the 17 features that a model takes, in order; the formulas are in `retrain`.

If a model is trained with one formula and asked with another, it loses money, and no error
shows it. So `schema_hash` names the features and the version of their formulas. A bot
refuses a model with another schema hash.
"""

import hashlib
from typing import Final

BUILTIN: Final = "builtin"
"""Value of `features.computer` for the daemon's own formulas; else it names a bot's class."""

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
"""Must be raised with every change of a formula."""


def schema_hash() -> str:
    """Return the 12 hex digits that name the features and the version of their formulas."""
    text = "\n".join((*FEATURE_NAMES, str(FORMULA_VERSION)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
