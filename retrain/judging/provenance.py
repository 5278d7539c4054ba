"""Check that the bars are of the market that the live model learnt from.

A mistaken import can bring the bars of another coin. A model trained on them is judged on them
too, and passes every gate about quality. So each version keeps some of its closes, and the
next version must find the same closes among its bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.champion import Anchors

_KEPT: Final = 64
_SAME: Final = 0.005
"""Relative difference up to which two closes are the same: another source of the same coin
differs by less, another coin hardly ever by as little."""


@dataclass(frozen=True, slots=True)
class AnchorMatch:
    """How many kept closes lie within these bars, and how many of them differ.

    `example` shows one that does, in words.
    """

    known: int = 0
    differing: int = 0
    example: str = ""


def anchors(frame: Mapping[str, NDArray[Any]]) -> list[tuple[int, float]]:
    """Return 64 bars, evenly spaced and with the newest; the columns have shape (n_bars,)."""
    picked = np.unique(np.linspace(0, len(frame["t"]) - 1, _KEPT).astype(int))
    return [(int(frame["t"][i]), float(frame["close"][i])) for i in picked]


def compare(kept: Anchors, frame: Mapping[str, NDArray[Any]]) -> AnchorMatch:
    """Compare the closes that a version kept with those of a frame, at the bars both have.

    Args:
        kept: What `anchors` returned for the version.
        frame: Columns t and close, each of shape (n_bars,).
    """
    now = dict(
        zip(np.asarray(frame["t"]).tolist(), np.asarray(frame["close"]).tolist(), strict=True)
    )
    both = [(t, then, now[t]) for t, then in kept if t in now]
    wrong = [(t, then, has) for t, then, has in both if not abs(has / then - 1) <= _SAME]
    example = (
        "the bar of {} ms closed at {:g} then and {:g} now".format(*wrong[-1]) if wrong else ""
    )
    return AnchorMatch(len(both), len(wrong), example)
