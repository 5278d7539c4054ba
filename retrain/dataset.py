"""Turn bars into rows: features, labels, and the split into training and test rows.

Rows whose features or labels are unknown are left out here, once, so that nothing later
can train on them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain import features, folds, labels
from retrain.computers import SERVED_BARS, Computed
from retrain.errors import TooFewBars
from retrain.labels import Threshold

TEST_FRAC: Final = 0.2
LEAST_ROWS: Final = 400
"""With fewer rows, chance decides the scores of the test block."""
_MOST: Final = 0.5

Frame = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows with known features and label, oldest first.

    `features` (n, 17), `labels` (n,) 0 to 2, `future_return` (n,), `bars` (n,) the index of
    each row's bar in the frame; `fold` cuts them into train and test.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int8]
    future_return: NDArray[np.float64]
    bars: NDArray[np.intp]
    threshold: Threshold
    horizon_bars: int
    fold: folds.Fold

    @property
    def train(self) -> slice:
        """The training rows: all up to the purge before the test block."""
        return slice(0, self.fold.train[-1].stop)

    @property
    def test(self) -> slice:
        """The test rows: the newest."""
        return slice(self.fold.test.start, self.fold.test.stop)


def build(
    frame: Frame,
    horizon_bars: int,
    setting: float | str,
    previous: float | None,
    told: Callable[[str], None],
    *,
    computed: Computed | None = None,
) -> Rows:
    """Compute features and labels and cut the rows.

    Args:
        frame: What `features.compute` takes: columns of shape (n_bars,).
        horizon_bars: H of the labels, also the width of the purge and of the embargo.
        setting: Label threshold as configured, see `labels.resolve_threshold`.
        previous: The threshold that the same setting chose for the previous model, if any.
        told: Called with the name of each step as it begins.
        computed: What a bot's own class made of the frame; None computes our features.

    Raises:
        TooFewBars: If fewer than 400 rows have features and a label.
        ClassMissing: If a class is too rare to be learnt.
        BadFrame, BadSetting: If bars or settings cannot be used.
    """
    told("features")
    values = features.compute(frame) if computed is None else computed.rows
    told("labels")
    close = np.asarray(frame["close"], dtype=np.float64)
    known = np.isfinite(values).all(axis=1) & ~reaches_across(np.asarray(frame["t"]), horizon_bars)
    block = training_closes(close, known[:-horizon_bars])
    threshold = labels.resolve_threshold(setting, block, horizon_bars, previous)
    made = labels.label(close, horizon_bars, threshold.per_bar(close, horizon_bars))
    made[~known] = labels.UNKNOWN
    usable = np.flatnonzero(made != labels.UNKNOWN)
    if len(usable) < LEAST_ROWS:
        need = LEAST_ROWS + len(close) - len(usable)
        lacking = _lacking(frame)
        raise TooFewBars(len(close), LEAST_ROWS if lacking else need, lacking)
    labels.check_classes(made[usable], close, horizon_bars)
    return Rows(
        features=values[usable],
        labels=made[usable],
        future_return=labels.future_return(close, horizon_bars)[usable],
        bars=usable,
        threshold=threshold,
        horizon_bars=horizon_bars,
        fold=folds.split(
            len(usable), purge=horizon_bars, embargo=horizon_bars, test_frac=TEST_FRAC
        ),
    )


def training_closes(
    close: NDArray[np.float64], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the closes that a threshold may be chosen by: the oldest 80 %, none of a test row.

    Args:
        close: Closes of the frame, shape (n_bars,).
        known: Which bars can be rows, oldest first; None for all. Where many of the newest cannot,
            the test block begins earlier.
    """
    stop = int(len(close) * (1 - TEST_FRAC))
    if known is not None and known.any():
        rows = np.flatnonzero(known)
        stop = min(stop, int(rows[int(len(rows) * (1 - TEST_FRAC))]))
    return close[:stop]


def _lacking(frame: Frame) -> str:
    """Return the column that most bars lack, such as funding if none was fetched; else ""."""
    unknown = {name: float(np.isnan(column).mean()) for name, column in frame.items()}
    worst = max(unknown, key=lambda name: unknown[name])
    return worst if unknown[worst] > _MOST else ""


def reaches_across(t: NDArray[Any], horizon_bars: int) -> NDArray[np.bool_]:
    """Return for which bars the horizon ends beyond a hole, shape (n,).

    Args:
        t: Open times of the bars, ms UTC, shape (n,), ascending.
        horizon_bars: Bars that a label spans.
    """
    across = np.zeros(len(t), dtype=bool)
    if len(t) > horizon_bars:
        took = t[horizon_bars:] - t[:-horizon_bars]
        across[:-horizon_bars] = took > horizon_bars * np.diff(t).min()
    return across


def label_faults(rows: Rows, close: NDArray[np.float64]) -> int:
    """Count rows whose label contradicts the prices.

    This does not call the function that made the labels, so that it finds faults of it.

    Args:
        rows: The labelled rows.
        close: Closes of the frame, shape (n_bars,).
    """
    limit = np.broadcast_to(rows.threshold.per_bar(close, rows.horizon_bars), close.shape)
    moved = close[rows.bars + rows.horizon_bars] / close[rows.bars] - 1
    side = np.sign(moved) * (np.abs(moved) > limit[rows.bars])
    return int(np.sum(side != rows.labels.astype(float) - labels.NEUTRAL))


def leaked_rows(rows: Rows, stop: int) -> int:
    """Count training rows whose label reaches into the test block.

    Args:
        rows: All rows and how they were cut.
        stop: The row after the last that the twin was trained on.
    """
    trained = np.union1d(rows.fold.train_rows(), np.arange(stop))
    train = rows.bars[trained]
    first_test = rows.bars[rows.fold.test.start]
    return int(np.sum(train + rows.horizon_bars >= first_test))


def parity(rows: Rows, frame: Frame, computed: Computed | None = None) -> float:
    """Return the largest difference between trained and served features.

    Each of the newest bars is computed again as the daemon does at its close: from the last
    `features.LIVE_BARS` bars. A bot's own class has been run that way already. A difference is
    relative where the feature is above 1, else absolute.

    Args:
        rows: The training rows.
        frame: What `features.compute` takes: columns of shape (n_bars,).
        computed: What a bot's own class made of the frame; None for the built-in features.
    """
    if computed is not None:
        return _bot_parity(rows, computed, len(frame["t"]))
    worst = 0.0
    for row, bar in zip(
        rows.features[-SERVED_BARS:], rows.bars[-SERVED_BARS:].tolist(), strict=True
    ):
        window = slice(max(0, bar + 1 - features.LIVE_BARS), bar + 1)
        served = features.compute({name: np.asarray(frame[name])[window] for name in frame})[-1]
        gap = np.abs(served - row) / np.maximum(1.0, np.abs(row))
        worst = max(worst, float(gap.max())) if np.isfinite(gap).all() else float("inf")
    return worst


def _bot_parity(rows: Rows, computed: Computed, n_bars: int) -> float:
    first = n_bars - len(computed.served)
    newest = rows.bars >= first
    trained, served = rows.features[newest], computed.served[rows.bars[newest] - first]
    gap = np.abs(served - trained) / np.maximum(1.0, np.abs(trained))
    return float(gap.max(initial=0.0)) if np.isfinite(gap).all() else float("inf")
