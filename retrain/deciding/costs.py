"""What a round trip costs: fees of both orders, slippage and funding.

A model that knows when the market will move, and not where, loses these costs at every signal.
The decision rule, the scores, the backtest and the live record all subtract the same figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from retrain.errors import BadSetting

ORDERS: Final = ("maker", "taker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The costs of a slot, basis points of the position; the defaults are the venue's base tier.

    `entry` and `exit` say what opens and closes a position: a `maker` or a `taker`.
    `slippage_bps` is what a taker's order loses beside its fee, `funding_bps` what a position of
    either side pays for each hour that it is held.
    """

    maker_bps: float = 1.5
    taker_bps: float = 4.5
    entry: str = "taker"
    exit: str = "taker"
    slippage_bps: float = 0.0
    funding_bps: float = 0.0

    def round_trip_bps(self, hours: float) -> float:
        """Return what opening, holding and closing a position costs, basis points.

        Args:
            hours: How long it is held: the horizon.
        """
        of_order = {"maker": self.maker_bps, "taker": self.taker_bps + self.slippage_bps}
        return of_order[self.entry] + of_order[self.exit] + self.funding_bps * hours

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Costs":
        """Return the defaults with some values replaced.

        Raises:
            BadSetting: If there is no such cost, or a value is not of its kind.
        """
        known = {field.name: field.default for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise BadSetting(f"costs.{name}", value, f"one of {', '.join(known)}")
            if isinstance(known[name], str):
                if value not in ORDERS:
                    raise BadSetting(f"costs.{name}", value, " or ".join(ORDERS))
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise BadSetting(f"costs.{name}", value, "a number")
        return cls(**values)
