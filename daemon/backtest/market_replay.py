"""Replay the stored bars of a slot: its features, and the predictions of a model."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.backtest.candidate_cache import Judged
from daemon.store import market_closures
from hyperdrift import version_files
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import SlotName
from retrain import features, labels
from retrain.forms import parts
from retrain.forms.load_proof import PORTABLE_TOLERANCE

_CHUNK: Final = 512

Frame = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Market:
    """The stored bars of a slot and their features.

    Attributes:
        slot: Whose bars.
        frame: What `retrain.features.compute` takes: columns of shape (n_bars,).
        rows: The features, shape (n_bars, 17).
        others: Frames of other coins, which tell an outage of the venue from a pause.
    """

    slot: SlotName
    frame: Frame
    rows: NDArray[np.float64]
    others: tuple[Frame, ...] = ()

    @classmethod
    def of(cls, slot: SlotName, frame: Frame, others: Iterable[Frame] = ()) -> "Market":
        """Compute the features of a frame, whose columns have shape (n_bars,).

        Once is enough: a row does not depend on later bars.
        """
        return cls(slot, frame, features.compute(frame), tuple(others))

    def __len__(self) -> int:
        return len(self.rows)

    def close_ms(self, bar: int) -> int:
        """Return when the bar with this index closed, ms UTC."""
        return int(self.frame["t"][bar]) + self.slot.interval_ms

    def until(self, at_ms: int, since_ms: int) -> Frame:
        """Return the bars that a model could learn from at `at_ms`: columns of shape (n,).

        They opened at `since_ms` or later, had closed, and lie in no market closure.
        """
        span = since_ms, at_ms - self.slot.interval_ms
        frame, *others = (_between(bars, *span) for bars in (self.frame, *self.others))
        return market_closures.without(frame, market_closures.find(frame, others, self.slot))


class TrainedVersion:
    """A model that was live for a while in a backtest.

    It predicts a day or two of 5m bars at once, which is far faster than one by one.

    Attributes:
        judged: The candidate that it was.
        model: Ready to predict.
        limit: Return that its labels separate NEUTRAL at, for each bar, shape (n,).

    Raises:
        VersionRefused: If a file of it is missing or damaged.
    """

    def __init__(self, judged: Judged, market: Market) -> None:
        self.judged, self._market = judged, market
        self.model = _loaded(judged)
        close, horizon = market.frame["close"], self.model.manifest.horizon_bars
        threshold = labels.resolve_threshold(self.model.manifest.threshold, close, horizon)
        self.limit = np.broadcast_to(threshold.per_bar(close, horizon), close.shape)
        self._p = np.full((len(market), 3), np.nan)
        self._asked: set[int] = set()

    def p(self, bar: int) -> tuple[float, float, float] | None:
        """Return the probabilities DOWN, NEUTRAL, UP of a bar; None if a feature is undefined."""
        chunk = bar // _CHUNK
        if chunk not in self._asked:
            self._asked.add(chunk)
            part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
            known = np.isfinite(self._market.rows[part]).all(axis=1)
            if known.any():
                self._p[part][known] = self.model.predict(self._market.rows[part][known])
        down, neutral, up = self._p[bar].tolist()
        return (down, neutral, up) if np.isfinite(down) else None


class PartsForm:
    """A model as plain arrays, which needs neither scikit-learn nor a portable form."""

    golden_tolerance = PORTABLE_TOLERANCE

    def __init__(self, content: bytes) -> None:
        self._parts = parts.loaded(content)

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return DOWN, NEUTRAL, UP, shape (n, 3), for raw rows (n, 17)."""
        return self._parts.predict(rows)


def _loaded(judged: Judged) -> LoadedModel:
    """Load a candidate of a backtest from its arrays, and test it on its golden rows."""
    manifest = version_files.read_manifest(judged.manifest)
    files = version_files.check_files(manifest, judged.folder)
    golden = version_files.json_of(files[manifest.golden], manifest.golden, manifest.model_id)
    rows = np.asarray(golden["rows"]), np.asarray(golden["probabilities"])
    form = PartsForm(files[manifest.document["parts"]])
    model = LoadedModel(manifest, "parts", form, features.NAMES, rows)
    model.check_golden()
    return model


def _between(frame: Frame, from_t: int, to_t: int) -> Frame:
    """Return the bars that opened from `from_t` to `to_t`, both included."""
    t = frame["t"]
    part = slice(int(np.searchsorted(t, from_t)), int(np.searchsorted(t, to_t, side="right")))
    return {name: column[part] for name, column in frame.items()}
