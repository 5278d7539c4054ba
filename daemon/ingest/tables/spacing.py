"""Judge how long bars are and which end their times name, and join short bars to long ones."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.ingest.tables.reading import Ints, Wanted
from daemon.store.bar_columns import BarColumns
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, HOUR_MS, INTERVAL_MS, MINUTE_MS

_STEPS: Final = tuple(
    sorted(
        {
            *(1000 * s for s in (1, 5, 10, 15, 30)),
            *INTERVAL_MS.values(),
            *(MINUTE_MS * m for m in (2, 6, 10, 12, 20, 45)),
            *(HOUR_MS * h for h in (3, 6)),
        },
        reverse=True,
    )
)
_FEW: Final = 3
_MOSTLY: Final = 0.8  # of bars of another length at most half are on the grid of longer ones
# How long before the next bar opens a close may be stamped, ms.
_BEFORE_OPEN: Final = (1, 1000)
_VOLUME_DECIMALS: Final = 8


class Spacing(NamedTuple):
    """Length of the bars of a file, ms, what turns their times into open times, and notes."""

    step_ms: int
    shift_ms: int
    notes: list[str]


def interval_text(ms: int) -> str:
    """Return an interval as text: `5m`, `1h`, `7d`, `90 s`."""
    for name, unit in (("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", 1000)):
        if ms >= unit and ms % unit == 0:
            return f"{ms // unit}{name}"
    return f"{ms} ms"


def judge(
    path: str, name: str, t: Ints, wanted: Wanted, said_ms: int | None, *, is_close: bool
) -> Spacing:
    """Judge the length of bars, and whether they are stamped by their open or their close.

    Args:
        path: The file, for messages.
        name: The column of the times, for messages.
        t: Times, ms UTC, of one row at least, shape (n,).
        wanted: The interval that is wanted, and what a person says of the stamps.
        said_ms: Length of a bar as the rows or the file say it, ms; None if they do not.
        is_close: Whether the column is the time of a close by its name.

    Raises:
        BadInput: If it is not sure.
    """
    _require_days_in_order(path, name, t)
    distinct = t if np.all(t[1:] > t[:-1]) else np.unique(t)
    early = next(
        (ms for ms in _BEFORE_OPEN if np.mean((distinct + ms) % MINUTE_MS == 0) >= _MOSTLY), 0
    )
    if early and wanted.stamp == "open":
        raise BadInput(f"{path}: {name} is stamped by the close (..:59.999), not by the open")
    step = _step(path, distinct + early, wanted, said_ms)
    if early or wanted.stamp == "close" or (is_close and wanted.stamp != "open"):
        if not early and not wanted.stamp and name == "T":
            raise BadInput(
                f"{path}: T may be the open or the close of a bar: "
                "say --stamp open or --stamp close"
            )
        return Spacing(step, early - step, ["stamped by the close"])
    return Spacing(step, 0, [])


def _require_days_in_order(path: str, name: str, t: Ints) -> None:
    """Raise if rows go back to the midnight at which their day began, and then on to the next day.

    Such a midnight is the end of the day, whose date it carries all the same.
    """
    steps = np.diff(t)
    step = np.median(steps) if len(steps) else 0
    back = steps[steps * step < 0]
    is_copy = len(back) and len(np.unique(t)) < len(t)  # a day that is written twice
    if len(back) and not is_copy and np.all(back == step - np.sign(step) * DAY_MS):
        raise BadInput(
            f"{path}: {name} has midnights with the date of the day that they end: "
            "write them with the date of the next day"
        )


def _step(path: str, distinct: Ints, wanted: Wanted, said_ms: int | None) -> int:
    if said_ms is not None:
        steps = np.diff(distinct)
        if len(steps) > 1 and (steps.min() > said_ms or np.median(steps) < said_ms):
            say, lie = interval_text(said_ms), interval_text(int(np.median(steps)))
            raise BadInput(
                f"{path}: its rows say that they are of {say}, but lie {lie} apart: "
                "say --columns interval= if they are of that length"
            )
        return said_ms
    if _tells_nothing(distinct, wanted.interval_ms):
        if wanted.interval_ms is None:
            raise BadInput(f"{path} has fewer than two usable rows, which tell no interval")
        return wanted.interval_ms
    whole = distinct[distinct % 1000 == 0]  # a stray time is no sign of shorter bars
    distinct = whole if len(whole) > 1 else distinct
    steps = np.diff(distinct)
    if (least := int(steps.min())) == np.median(steps) and np.all(distinct % least == 0):
        return least
    for step in _STEPS:
        on_grid = distinct[distinct % step == 0]
        if len(on_grid) >= _MOSTLY * len(distinct) and len(on_grid) > 1:
            apart = int(np.diff(on_grid).min())
            if np.mean(distinct % apart == 0) >= _MOSTLY or apart % DAY_MS == 0:
                return apart
            break
    step, phase = _off_grid(distinct)
    raise BadInput(
        f"{path} has rows {interval_text(step)} apart that open {interval_text(phase)} after "
        "the full interval: if their times are local, say --tz"
    )


def _tells_nothing(distinct: Ints, wanted_ms: int | None) -> bool:
    """Return whether times tell no interval: one alone, or a few with gaps between them."""
    if len(distinct) == 1 or wanted_ms is None or len(distinct) > _FEW:
        return len(distinct) == 1
    return int(np.diff(distinct).min()) not in _STEPS and bool(np.all(distinct % wanted_ms == 0))


def _off_grid(distinct: Ints) -> tuple[int, int]:
    steps, counts = np.unique(np.diff(distinct), return_counts=True)
    step = int(steps[counts.argmax()])
    return step, int(distinct[0] % step)


def require_fit(path: str, step_ms: int, wanted_ms: int) -> None:
    """Raise unless bars of one length can be joined to bars of the wanted one.

    Raises:
        BadInput: With the interval that fits.
    """
    if wanted_ms % step_ms == 0:
        return
    named = next((name for name, ms in INTERVAL_MS.items() if ms == step_ms), None)
    what = f"{path} has bars {interval_text(step_ms)} apart, not {interval_text(wanted_ms)}"
    remedy = f"say --interval {named}" if named else "the venue has no such interval"
    raise BadInput(f"{what}: {remedy}")


def join(bars: BarColumns, step_ms: int, interval_ms: int) -> tuple[BarColumns, int]:
    """Join bars to longer ones; only whole ones are made.

    Args:
        bars: The short bars.
        step_ms: Their length, ms.
        interval_ms: Length of the bars to make, ms, a multiple of `step_ms`.

    Returns:
        The long bars, and how many short ones belong to none that is whole.
    """
    parts = interval_ms // step_ms
    first = np.flatnonzero(np.diff(bars.t // interval_ms, prepend=-1))
    sizes = np.diff(np.append(first, len(bars.t)))
    rows = np.flatnonzero(np.repeat(sizes == parts, sizes))

    def parted(column: NDArray[Any]) -> NDArray[Any]:
        return column[rows].reshape(-1, parts)

    made = BarColumns(
        bars.t[rows[::parts]],
        parted(bars.open)[:, 0],
        parted(bars.high).max(axis=1),
        parted(bars.low).min(axis=1),
        parted(bars.close)[:, -1],
        np.round(parted(bars.volume).sum(axis=1), _VOLUME_DECIMALS),
        parted(bars.n).sum(axis=1),
    )
    return made, len(bars) - len(rows)
