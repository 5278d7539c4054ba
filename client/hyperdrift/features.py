"""Compute the 17 features that a model takes, by the same formulas as the daemon.

If a model is trained with one formula and asked with another, it loses money, and no error
shows it. So `schema_hash` names the features and the version of their formulas. A bot
refuses a model with another schema hash.
"""

from typing import Final

from hyperdrift.formulas.features import LIVE_BARS, compute, funding_as_of, schema_hash
from hyperdrift.formulas.features import NAMES as FEATURE_NAMES

__all__ = ["BUILTIN", "FEATURE_NAMES", "LIVE_BARS", "compute", "funding_as_of", "schema_hash"]

BUILTIN: Final = "builtin"
"""Value of `features.computer` for the daemon's own formulas; else it names a bot's class."""
