"""Label bars, and help a person to find labels that can be learnt.

Horizon and threshold decide everything that follows. With a threshold too large for the horizon,
all bars are NEUTRAL, and any model has an accuracy of 99 %. So thresholds are resolved, counted
and refused here, before any model is fitted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrain import windows
from retrain.errors import BadFrame, BadSetting, BadThreshold, ClassMissing, TooFewBars

Array = NDArray[np.float64]
Labels = NDArray[np.int8]

DOWN: Final = 0
NEUTRAL: Final = 1
UP: Final = 2
UNKNOWN: Final = -1
CLASS_NAMES: Final = ("DOWN", "NEUTRAL", "UP")

LADDER: Final = (
    *(0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1),
)
"""The choices of "auto": few round figures, so that retrains tend to agree."""

DEFAULT: Final = "default:"
"""Begins the setting of a slot that names no threshold; the default of its interval follows."""

_LEAST_SHARE: Final = 0.02
"""Of each class among the known labels."""
VOL_BARS: Final = 288
"""Bars of returns behind a "vol:" threshold: one day of 5m bars, 288 bars at every interval."""

_AUTO, _AUTO_NEUTRAL = "auto", 0.70
_KEPT, _DEFAULT_FITS = (0.55, 0.85), (0.55, 0.92)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A resolved threshold setting, which can be stored and applied again.

    `setting` is the configured text or number. `value` is a fraction of the price if `kind` is
    "fixed", a multiple of the trailing volatility of a return over the horizon if "vol". `why`
    says how it was chosen.
    """

    setting: float | str
    kind: Literal["fixed", "vol"]
    value: float
    why: str = "as configured"

    def told(self, horizon_bars: int) -> str:
        """Return in a sentence what the labels are, and why."""
        vol = f"{self.value:g} times the trailing volatility"
        moves = vol if self.kind == "vol" else _percent(self.value)
        bars = f"{horizon_bars} bar{'s' * (horizon_bars > 1)}"
        return f"UP and DOWN are moves of more than {moves} in {bars}: {self.why}"

    def per_bar(self, close: Array, horizon_bars: int) -> float | Array:
        """Return the threshold of each bar, as a fraction of its close.

        Args:
            close: Shape (n,), oldest bar first.
            horizon_bars: Horizon of the labels.

        Returns:
            One number if it is the same for all bars, else shape (n,), NaN until `VOL_BARS`
            returns are known. It uses no bar after the one it belongs to.
        """
        if self.kind == "fixed":
            return self.value
        r = np.full(len(close), np.nan)
        r[1:] = close[1:] / close[:-1] - 1
        return self.value * math.sqrt(horizon_bars) * windows.std(r, VOL_BARS)


class Row(NamedTuple):
    """The class shares of one horizon and threshold; they add up to 1."""

    horizon_bars: int
    threshold: float | str
    down: float
    neutral: float
    up: float


def future_return(close: Array, horizon_bars: int) -> Array:
    """Return close(t + H) / close(t) - 1.

    Args:
        close: Shape (n,), oldest bar first, above 0.
        horizon_bars: H, at least 1.

    Returns:
        Shape (n,), NaN for the last H bars, whose future is not known.

    Raises:
        BadFrame: If a close is not a number above 0.
        BadSetting: If the horizon is below 1.
    """
    if horizon_bars < 1:
        raise BadSetting("horizon_bars", horizon_bars, "at least 1")
    close = np.asarray(close, dtype=np.float64)
    if close.ndim != 1 or not np.all(np.isfinite(close) & (close > 0)):
        raise BadFrame("a close is not a number above 0; drop or repair its bar")
    ahead = np.full(len(close), np.nan)
    ahead[:-horizon_bars] = close[horizon_bars:] / close[:-horizon_bars] - 1
    return ahead


def label(close: Array, horizon_bars: int, threshold: float | Array) -> Labels:
    """Label each bar by the future return over the horizon.

    Args:
        close: Shape (n,), oldest bar first, above 0.
        horizon_bars: At least 1.
        threshold: Fraction of the price, one for all bars or shape (n,).

    Returns:
        Shape (n,): `UP` if the future return is above the threshold, `DOWN` if below minus
        the threshold, else `NEUTRAL`; `UNKNOWN` where the return or the threshold is.

    Raises:
        BadFrame: If a close is not a number above 0.
        BadSetting: If the horizon is below 1.
    """
    ahead = future_return(close, horizon_bars)
    labels = np.full(len(ahead), NEUTRAL, dtype=np.int8)
    labels[ahead > threshold] = UP
    labels[ahead < -threshold] = DOWN
    labels[np.isnan(ahead) | np.isnan(threshold)] = UNKNOWN
    return labels


def resolve_threshold(
    setting: float | str, close: Array, horizon_bars: int, previous: float | None = None
) -> Threshold:
    """Resolve a threshold setting.

    Args:
        setting: A fraction; "auto" for the one of `LADDER` whose NEUTRAL share of `close` is
            nearest 70 %; "vol:0.8" for 0.8 x the trailing volatility; "default:0.005" for 0.005
            where that leaves between 55 and 92 % NEUTRAL, else as "auto".
        close: Closes of the training block, shape (n,); used by "auto" and "default:" only.
        horizon_bars: Horizon of the labels.
        previous: The fraction that the same setting chose last time. One of the ladder is kept
            while its NEUTRAL share stays between 55 and 85 %, so that models can be compared
            from retrain to retrain.

    Returns:
        The threshold to label with.

    Raises:
        BadThreshold: If the setting cannot be read.
        TooFewBars: If no bar has a known future, of those that it chooses by.
        BadFrame: If it meets a close that is not a number above 0.
        BadSetting: If it is given a horizon below 1.
    """
    text = str(setting)
    if text == _AUTO:
        return Threshold(setting, "fixed", *_chosen(None, close, horizon_bars, previous))
    if text.startswith(DEFAULT):
        default = _number(setting, text.removeprefix(DEFAULT), below=1)
        return Threshold(setting, "fixed", *_chosen(default, close, horizon_bars, previous))
    if text.startswith("vol:"):
        return Threshold(setting, "vol", _number(setting, text.removeprefix("vol:")))
    return Threshold(setting, "fixed", _number(setting, text, below=1))


def _number(setting: float | str, text: str, below: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadThreshold(setting) from None
    if not 0 < value < below:
        raise BadThreshold(setting)
    return value


def shares(labels: Labels) -> Array:
    """Return the share of each class among the known labels.

    Args:
        labels: Shape (n,); `UNKNOWN` ones do not count.

    Returns:
        Shape (3,): DOWN, NEUTRAL, UP; they add up to 1.

    Raises:
        TooFewBars: If no label is known.
    """
    known = labels[labels != UNKNOWN]
    if not len(known):
        raise TooFewBars(0, 1)
    counts: Array = np.bincount(known, minlength=len(CLASS_NAMES)).astype(np.float64)
    return counts / len(known)


def table(
    close: Array, horizons: Sequence[int], thresholds: Sequence[float | str]
) -> tuple[Row, ...]:
    """Count the classes that each horizon and threshold would give.

    Args:
        close: Shape (n,), oldest bar first, above 0.
        horizons: In bars.
        thresholds: Settings as `resolve_threshold` takes them.

    Returns:
        One row per pair, horizons outermost; pairs that leave no bar with a known label are
        left out.

    Raises:
        BadFrame: If a close is not a number above 0.
        BadSetting: If a horizon is below 1 or a threshold cannot be read.
    """
    rows = []
    for horizon_bars in horizons:
        for setting in thresholds:
            if horizon_bars >= len(close):
                continue
            threshold = resolve_threshold(setting, close, horizon_bars)
            labels = label(close, horizon_bars, threshold.per_bar(close, horizon_bars))
            if np.any(labels != UNKNOWN):
                name = setting if threshold.kind == "vol" else threshold.value
                rows.append(Row(horizon_bars, name, *map(float, shares(labels))))
    return tuple(rows)


def format_table(rows: Sequence[Row], marked: tuple[int, float | str] | None = None) -> str:
    """Return the rows of `table` as text.

    Args:
        rows: The rows.
        marked: Horizon and threshold of the row that is in force, if any.
    """
    lines = [f"{'horizon':>7} {'threshold':>9} {'DOWN':>8} {'NEUTRAL':>8} {'UP':>8}"]
    for row in rows:
        counts = " ".join(f"{share:8.2%}" for share in (row.down, row.neutral, row.up))
        mark = "  <- in force" if marked == (row.horizon_bars, row.threshold) else ""
        lines.append(f"{row.horizon_bars:7} {row.threshold!s:>9} {counts}{mark}")
    return "\n".join(lines)


def check_classes(labels: Labels, close: Array, horizon_bars: int) -> None:
    """Refuse labels in which a class is too rare to be learnt.

    Args:
        labels: The labels of the training rows, shape (n,).
        close: The closes of the same bars, shape (n,), for the table of alternatives.
        horizon_bars: The horizon of the labels.

    Raises:
        ClassMissing: If a class has a smaller share. Its text has a table of the horizons and
            thresholds that would do, or of all that were tried if none would.
        TooFewBars: If no label is known.
    """
    have = shares(labels)
    rarest = int(np.argmin(have))
    if have[rarest] >= _LEAST_SHARE:
        return
    rows = table(close, (horizon_bars, 2 * horizon_bars, 4 * horizon_bars), LADDER)
    good = [row for row in rows if min(row.down, row.neutral, row.up) >= _LEAST_SHARE]
    text = format_table(good or rows)
    raise ClassMissing(CLASS_NAMES[rarest], float(have[rarest]), _LEAST_SHARE, text)


def _chosen(
    default: float | None, close: Array, horizon_bars: int, previous: float | None
) -> tuple[float, str]:
    """Return a threshold that leaves enough NEUTRAL, and why it is this one.

    The previous one comes first and has a band wide enough that a market at its edge does not
    change the question with every retrain.
    """
    ahead = np.abs(future_return(close, horizon_bars)[:-horizon_bars])
    if not len(ahead):
        raise TooFewBars(len(close), horizon_bars + 1)

    def neutral(threshold: float) -> float:
        return float(np.mean(ahead <= threshold))

    def leaves(threshold: float) -> str:
        return f"leaves {neutral(threshold):.1%} of the training block NEUTRAL"

    if previous is not None and previous != default and _within(neutral(previous), _KEPT):
        return previous, f"kept from the live model, it {leaves(previous)}"
    if default is not None and _within(neutral(default), _DEFAULT_FITS):
        return default, f"the default {leaves(default)}"
    # Of two equally good choices the smaller.
    best = min(LADDER, key=lambda threshold: abs(neutral(threshold) - _AUTO_NEUTRAL))
    nearest = f"nearest to {_AUTO_NEUTRAL:.0%} of the ladder"
    if default is None:
        return best, f"it {leaves(best)}, {nearest}"
    low, high = _DEFAULT_FITS
    unfit = f"the default of {_percent(default)} {leaves(default)}, not {low:.0%} to {high:.0%}"
    return best, f"{unfit}; this leaves {neutral(best):.1%}, {nearest}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.6g}%"


def _within(share: float, band: tuple[float, float]) -> bool:
    return band[0] <= share <= band[1]
