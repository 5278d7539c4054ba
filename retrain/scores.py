"""Compute every score that the gates, the report and the daemon use.

Accuracy alone means nothing if most bars are NEUTRAL. So there are also proper scores,
calibration and the returns of the signals, with intervals that respect the overlap of
neighbouring labels.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.deciding.block_bootstrap import Interval, Resampler, block_length, interval, resampler
from retrain.deciding.decision import DOWN, NEUTRAL, UP, decide
from retrain.deciding.earning import SignalEarning, earns, net_returns

Probabilities = NDArray[np.float64]
FEE_BPS: Final = 9.0
"""Taker fee of a round trip, 4.5 basis points a side."""
CLASSES: Final = 3
_FLOOR: Final = 1e-15
CALIBRATION_BINS: Final = 10
_ROWS_PER_BIN: Final = 300
_SURELY: Final = 1.645  # 95 % of a normal distribution, one side


@dataclass(frozen=True, slots=True)
class Decided:
    """Scores of one rule for decisions; NaN if it gave no signal.

    `shares` of decisions DOWN, NEUTRAL, UP; `win_rate` is the fraction of signals on the right
    side of zero before fees; `expectancy` the mean return of a signal after fees, a fraction.
    `shares_high` are the upper ends of the 95 % intervals of `shares`, `earned` is what signals
    earned after all costs.
    """

    accuracy: float
    balanced_accuracy: float
    mcc: float
    shares: tuple[float, float, float]
    win_rate: float
    expectancy: float
    up_signals: int
    down_signals: int
    confusion: tuple[tuple[int, ...], ...]
    shares_high: tuple[float, float, float]
    earned: SignalEarning

    @property
    def signals_told(self) -> str:
        """How often it gives a signal, and what the signals are worth."""
        if math.isnan(self.win_rate):
            return "none is a signal"
        return (
            f"{1 - self.shares[NEUTRAL]:.1%} are signals, {self.win_rate:.1%} of these win, "
            f"mean return after fees {self.expectancy:+.3%}"
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything known about one model on one block of rows.

    `argmax` takes the most probable class, as `predict` of the saved model does; `decisions` are
    by its signal thresholds. `skill` is 1 - log loss / log loss of the prior shares; `ece` the
    expected calibration error per class as measured, `calibration` the part of it that chance
    does not explain; `ic` the correlation of p_up - p_down with the future return.
    """

    rows: int
    log_loss: float
    skill: float
    skill_interval: Interval
    brier: float
    ece: tuple[float, float, float]
    calibration: tuple[float, float, float]
    ic: float
    ic_interval: Interval
    class_shares: tuple[float, float, float]
    mean_probabilities: tuple[float, float, float]
    decisions: Decided
    argmax: Decided

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; a number that is not finite is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def score(
    labels: NDArray[np.int8],
    probabilities: Probabilities,
    future_return: NDArray[np.float64],
    *,
    prior: Probabilities,
    up: float,
    down: float,
    horizon_bars: int,
    fee_bps: float = FEE_BPS,
    seed: int = 0,
) -> Scores:
    """Score a model on rows in time order.

    Args:
        labels: Shape (n,), 0, 1 or 2.
        probabilities: Shape (n, 3).
        future_return: Shape (n,), the return that the label was made of.
        prior: Shape (3,), class shares known before these rows: those of the training block.
        up: Signal threshold of UP.
        down: Signal threshold of DOWN.
        horizon_bars: Bars that a label spans; neighbouring rows overlap by that much.
        fee_bps: Cost of a round trip in basis points.
        seed: Seed of the bootstrap.
    """
    own = row_log_loss(labels, probabilities)
    base = row_log_loss(labels, np.broadcast_to(prior, probabilities.shape))
    lean = probabilities[:, UP] - probabilities[:, DOWN]
    pick = resampler(len(labels), horizon_bars, seed)
    onehot = np.eye(CLASSES)[labels]

    def decided(classes: NDArray[np.int8]) -> Decided:
        earned = earns(net_returns(classes, future_return, fee_bps), horizon_bars, seed)
        return _decided(labels, classes, future_return, pick, earned)

    return Scores(
        rows=len(labels),
        log_loss=float(own.mean()),
        skill=1 - float(own.mean() / base.mean()),
        skill_interval=interval(1 - pick(own) / pick(base), pick.blocks),
        brier=float(((probabilities - onehot) ** 2).sum(axis=1).mean()),
        ece=_three([_ece(onehot[:, c], probabilities[:, c]) for c in range(CLASSES)]),
        calibration=_three(
            calibration_error(onehot[:, c], probabilities[:, c], horizon_bars)
            for c in range(CLASSES)
        ),
        ic=_correlation(lean, future_return),
        ic_interval=interval(_resampled_correlation(lean, future_return, pick), pick.blocks),
        class_shares=_three(onehot.mean(axis=0)),
        mean_probabilities=_three(probabilities.mean(axis=0)),
        decisions=decided(decide(probabilities, up, down)),
        argmax=decided(probabilities.argmax(axis=1).astype(np.int8)),
    )


def row_log_loss(labels: NDArray[np.int8], probabilities: Probabilities) -> NDArray[np.float64]:
    """Return -ln of the probability of the true class, shape (n,)."""
    given = probabilities[np.arange(len(labels)), labels]
    loss: NDArray[np.float64] = -np.log(np.clip(given, _FLOOR, 1.0))
    return loss


def paired_difference(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], horizon_bars: int, seed: int = 0
) -> tuple[float, Interval]:
    """Compare two models on the same rows.

    Args:
        ours: Row losses, shape (n,), in time order.
        theirs: Row losses on the same rows.
        horizon_bars: Bars that a label spans.
        seed: Seed of the bootstrap.

    Returns:
        Mean of ours minus theirs (negative: ours is better) and its interval.
    """
    difference = ours - theirs
    pick = resampler(len(difference), horizon_bars, seed)
    return float(difference.mean()), interval(pick(difference), pick.blocks)


def share_shift(before: Probabilities, after: Probabilities, happened: Probabilities) -> float:
    """Return by how much a refit moves the class shares other than towards what happened.

    It has learnt the rows that its twin was judged on, so where the market changed its mean
    probabilities move towards the class shares there. That is what a refit is for.

    Args:
        before: Probabilities of the twin, shape (n, 3).
        after: Probabilities of the refit on the same rows.
        happened: Class shares of these rows, shape (3,).
    """
    ends = np.sort([before.mean(axis=0), happened], axis=0)
    moved = after.mean(axis=0)
    return float(np.abs(moved - np.clip(moved, *ends)).max())


def _resampled_correlation(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    pick: Resampler,
) -> NDArray[np.float64]:
    """Return Pearson's correlation of every resample; 0 where a side is constant."""
    x, y = x - x.mean(), y - y.mean()
    mean_x, mean_y = pick(x), pick(y)
    spread = (pick(x * x) - mean_x**2) * (pick(y * y) - mean_y**2)
    both = pick(x * y) - mean_x * mean_y
    known = spread > 0
    return np.where(known, both / np.sqrt(np.where(known, spread, 1.0)), 0.0)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; 0 where a side is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def calibration_bins(n_rows: int) -> int:
    """Return the number of bins of equal mass for calibration: one per 300 rows, 1 to 10."""
    return int(np.clip(n_rows // _ROWS_PER_BIN, 1, CALIBRATION_BINS))


def calibration_error(
    happened: NDArray[np.float64], given: NDArray[np.float64], horizon_bars: int
) -> float:
    """Return the calibration error of one class that chance does not explain.

    The binned error of a perfectly calibrated model is not 0: every bin is off by chance. Where
    labels overlap, it is off by more than its number of rows suggests (0.02 to 0.03, on 7,700
    bars of 5m as on 300 days). So the variance of each bin's gap is subtracted from the squared
    gap, before the root of the mean is taken, as in Broecker (2012, Estimating reliability and
    resolution of probability forecasts) and Kumar, Liang and Ma (2019, Verified uncertainty
    calibration). Their variance assumes independent rows; here it comes from the sums over blocks
    of neighbouring rows. The result still varies (the delta method: 4 gap^2 variance + 2
    variance^2 a bin), and with few rows a calibrated model would exceed any limit. So an error
    that is not above 0 at 95 % counts as 0.

    Args:
        happened: 1 where the class occurred, else 0, shape (n,), in time order.
        given: The probabilities, shape (n,).
        horizon_bars: Bars that a label spans.

    Returns:
        At least 0 and at most the ECE, which a root mean square may exceed; 0 if chance alone
        may explain the error.
    """
    n = len(given)
    gaps, block = happened - given, np.arange(n) // block_length(n, horizon_bars)
    blocks, squared, spread = int(block[-1]) + 1, 0.0, 0.0
    for part in np.array_split(np.argsort(given, kind="stable"), calibration_bins(n)):
        sums = np.bincount(block[part], gaps[part], minlength=blocks)
        chance = blocks * sums.var(ddof=1) if blocks > 1 else 0.0
        excess, weight = sums.sum() ** 2 - chance, 1 / (n * len(part))
        squared += weight * excess
        spread += weight**2 * (4 * max(0.0, excess) * chance + 2 * chance**2)
    if squared <= _SURELY * math.sqrt(spread):
        return 0.0
    return min(math.sqrt(squared), _ece(happened, given))


def _ece(happened: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    """Return the expected calibration error of one class over bins of equal mass."""
    order = np.argsort(given, kind="stable")
    parts = np.array_split((happened - given)[order], calibration_bins(len(given)))
    return float(sum(abs(part.sum()) for part in parts) / len(given))


def _decided(
    labels: NDArray[np.int8],
    decided: NDArray[np.int8],
    future_return: NDArray[np.float64],
    pick: Resampler,
    earned: SignalEarning,
) -> Decided:
    confusion = np.bincount(CLASSES * labels.astype(int) + decided, minlength=CLASSES**2)
    confusion = confusion.reshape(CLASSES, CLASSES)
    happened, said, right = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    present = happened > 0
    spoke = decided != NEUTRAL
    gained = (decided[spoke].astype(float) - NEUTRAL) * future_return[spoke]
    return Decided(
        accuracy=float(right.sum() / len(labels)),
        balanced_accuracy=float((right[present] / happened[present]).mean()),
        mcc=_mcc(happened.astype(float), said.astype(float), float(right.sum())),
        shares=_three(said / len(labels)),
        win_rate=float((gained > 0).mean()) if len(gained) else math.nan,
        expectancy=math.nan if earned.mean_bp is None else earned.mean_bp / 1e4,
        up_signals=int(said[UP]),
        down_signals=int(said[DOWN]),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        shares_high=_three(
            interval(pick((decided == c).astype(np.float64)), pick.blocks).high
            for c in range(CLASSES)
        ),
        earned=earned,
    )


def _mcc(happened: NDArray[np.float64], said: NDArray[np.float64], right: float) -> float:
    """Matthews correlation for several classes (Gorodkin 2004); 0 where undefined."""
    n = happened.sum()
    spread = (n**2 - said @ said) * (n**2 - happened @ happened)
    return float((right * n - said @ happened) / math.sqrt(spread)) if spread > 0 else 0.0


def _three(values: Any) -> tuple[float, float, float]:
    down, neutral, up = (float(value) for value in values)
    return down, neutral, up


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
