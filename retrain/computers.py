"""Compute features with a class of the bot, bar by bar.

A model of such a bot must be trained on its features and predict from them. So the class is run
over the history once for training, and one live instance is fed each new bar. After a restart an
instance begins `TAIL_BARS` bars back. Its features then are compared with the training rows
before a version goes live.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain import features
from retrain.errors import ComputerFailed

Array = NDArray[np.float64]

BUILTIN: Final = "builtin"
TAIL_BARS: Final = 2048
"""Bars that a live instance is fed before its first row counts, also after each restart."""

SERVED_BARS: Final = 500
"""Newest bars for which training and serving are compared."""

_PRICES: Final = ("open", "high", "low", "close", "volume")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Computed:
    """The features that a bot's class computed for a frame.

    `rows` (n_bars, 17) are those for training. `served` (n, 17) are the newest, from an instance
    that began `TAIL_BARS` bars before them. A row is finite or all NaN.
    """

    name: str
    schema_hash: str
    rows: Array
    served: Array


def schema_hash(name: str, source: bytes) -> str:
    """Return the 12 hex digits that name a class, its source and its columns."""
    digest = hashlib.sha256(source).hexdigest()
    text = "\n".join((name, digest, *features.NAMES, str(_VERSION)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def inputs(frame: Mapping[str, NDArray[Any]]) -> Array:
    """Return the input of an instance for each bar.

    Returns:
        Shape (n_bars, 8): open, high, low, close, volume, S_top, S_bot (of the 12 bars that end
        with this one), funding. NaN where it is not known.
    """
    columns = [np.asarray(frame[name], dtype=np.float64) for name in _PRICES]
    flow = features.cohort_flow(frame)
    return np.column_stack([*columns, *flow, np.asarray(frame["funding"], dtype=np.float64)])


class Instance:
    """One object of a bot's class, fed bar by bar.

    Args:
        name: `package.module:Class`, for messages.
        make: The class; called with the names of the columns.

    Raises:
        ComputerFailed: If it cannot be made.
    """

    def __init__(self, name: str, make: Callable[[list[str]], Any]) -> None:
        self._name, self._bars = name, 0
        try:
            self._object = make(list(features.NAMES))
        except (Exception, SystemExit) as e:  # foreign code: it may raise anything
            raise ComputerFailed(name, f"cannot be made ({_said(e)})") from e

    def feed(self, row: Array) -> list[float]:
        """Return the features of the next bar.

        An unknown input is fed as 0, and the features of that bar are NaN.

        Args:
            row: Shape (8,), as `inputs` gives it.

        Raises:
            ComputerFailed: If the class fails, or gives anything but 17 numbers.
        """
        known = bool(np.isfinite(row).all())
        *prices, pros, amateurs, funding = np.nan_to_num(row).tolist()
        cohort = {"pros": pros, "amateurs": amateurs, "mood": pros - amateurs}
        try:
            given = self._object.update_and_build(
                dict(zip(_PRICES, prices, strict=True)), cohort, funding
            )
            built = [float(value) for value in given]
        except (Exception, SystemExit) as e:
            raise ComputerFailed(self._name, f"failed on bar {self._bars} ({_said(e)})") from e
        if len(built) != len(features.NAMES):
            reason = f"gave {len(built)} features for a bar, must give {len(features.NAMES)}"
            raise ComputerFailed(self._name, reason)
        self._bars += 1
        usable = known and all(map(math.isfinite, built))
        return built if usable else [math.nan] * len(built)


def run(
    name: str,
    source: bytes,
    make: Callable[[list[str]], Any],
    frame: Mapping[str, NDArray[Any]],
) -> Computed:
    """Compute the features of every bar, and of the newest again as the daemon does live.

    Args:
        name: `package.module:Class`.
        source: Its source, for the hash.
        make: The class.
        frame: What `features.compute` takes: columns of shape (n_bars,).

    Raises:
        ComputerFailed: If the class fails on a bar.
    """
    fed = inputs(frame)

    def rows(start: int) -> Array:
        instance = Instance(name, make)
        return np.array([instance.feed(row) for row in fed[start:]])

    trained = rows(0)
    trained[: features.WARMUP_BARS] = np.nan
    newest = min(SERVED_BARS, len(fed))
    served = rows(max(0, len(fed) - newest - TAIL_BARS))[-newest:]
    return Computed(name, schema_hash(name, source), trained, served)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
