"""Name the 17 features that a model takes, in order, and compute them as the daemon does.

If a model is trained with one formula and asked with another, it loses money, and no error
shows it. So `schema_hash` names the features and the version of their formulas. A bot
refuses a model with another schema hash.
"""

import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hyperdrift.formulas.features import Array, Frame

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
LIVE_BARS: Final = 512
"""How many bars give a last row equal to that of any longer history."""


def schema_hash() -> str:
    """Return the 12 hex digits that name the features and the version of their formulas."""
    text = "\n".join((*FEATURE_NAMES, str(FORMULA_VERSION)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def compute(frame: "Frame") -> "Array":
    """Compute every feature of every bar by the daemon's formulas.

    Args:
        frame: Columns of shape (n_bars,), oldest bar first, by name: a DataFrame or a dict.
            `t` is the open time, ms UTC; `open`, `high`, `low`, `close` are in quote
            currency; `volume`, `s_top` and `s_bot` in base units, the latter two 0 without a
            cohort; `funding` is the hourly rate known at the bar's close.

    Returns:
        Shape (n_bars, 17), in the order of `FEATURE_NAMES`. A row is either finite or all
        NaN: the first 299 are NaN, and as many after a hole in `t`.

    Raises:
        BadInput: If a column is missing or of another length, `t` does not ascend strictly,
            or a number is no possible price, volume or rate.
    """
    from hyperdrift.formulas import features  # noqa: PLC0415 - a bot without it needs no numpy

    return features.compute(frame)


def funding_as_of(close_ms: Any, times: Any, rates: Any) -> "Array":
    """Return for each bar the newest funding rate settled at or before its close.

    Args:
        close_ms: When each bar closed, shape (n_bars,), ms UTC.
        times: When each rate was settled, shape (n_rates,), ms UTC, ascending. The venue
            stamps a settlement some ms after the hour; candles of rates show the hour itself.
        rates: Rate per hour, shape (n_rates,).

    Returns:
        Shape (n_bars,), NaN before the first settlement.

    Raises:
        BadInput: If `times` and `rates` differ in length or `times` is unsorted.
    """
    from hyperdrift.formulas import features  # noqa: PLC0415 - a bot without it needs no numpy

    return features.funding_as_of(close_ms, times, rates)
