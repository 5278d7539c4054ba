# Written by `make reference` from retrain/bar_limits.py. Change that module, not this copy.
"""Say which prices, volumes and rates are possible: the one rule for every bar.

The daemon refuses a bar beyond these limits before it is stored, and the features of every bar
within them can be computed. The limits lie far outside any market. A price of 1e-12 or 1e12 in
dollars does not occur, and a year's volume of the coin with the most units is below 1e18. They
also keep every product and ratio of the formulas far below the largest float32, which is the
number that scikit-learn's trees and the portable form of a model can hold.
"""

from typing import Final

SMALLEST_PRICE: Final = 1e-12
"""Lowest possible price, quote units."""

LARGEST_PRICE: Final = 1e12
"""Highest possible price, quote units."""

LARGEST_VOLUME: Final = 1e18
"""Largest possible volume of a bar, base units."""

LARGEST_RATE: Final = 1.0
"""Largest possible size of an hourly funding rate; the venue's own cap is 0.04."""
