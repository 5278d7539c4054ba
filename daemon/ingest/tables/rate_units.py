"""Judge what a funding rate is, and scale it to the hour; what is not sure is refused."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from daemon.ingest.tables.reading import Floats, Ints
from daemon.ingest.tables.spacing import interval_text
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS, MINUTE_MS

CAP: Final = 0.04
"""The highest hourly rate that the venue settles."""

RATE_UNIT: Final = re.compile(
    r"%|percent(?:age)?|\bpct\b|pct$|annuali[sz]ed|annual|yearly|\bapr\b|\bapy\b|apr$|apy$|^apr|"
    r"hourly|per ?hour|\b\d+ ?h(?:(?:ou)?rs?)?\b|\d+h$|\bbps?\b|per ?year|p\.a\.|"
    r"\bdaily\b|(?:per|/) ?day\b|\bin(?= ?%)",
    re.IGNORECASE,
)
"""What the name of a rate may say of its unit."""

_HOURS_A_YEAR: Final = 365 * 24
# Half of all rates of a file are never above this, 4 a year: percent are, or rates of a year.
_PLAUSIBLE: Final = 2e-4
# The rate of a calm market, 0.01 % for 8 hours everywhere, if it is taken for other hours than its
# own: as hourly although it is for 8, and for 8 hours although it is hourly.
_CALM: Final = 1e-4
_OTHER_HOURS: Final = {8: _CALM, 1: _CALM / 64}
_OFTEN: Final = 0.2
_PERIODS: Final = frozenset({1, 2, 4, 8, 12, 24})
_REGULAR: Final = 0.9
_LATEST_MINUTE: Final = 10
# Holes of one length more than this are rates for another time.
_MOST_HOLES, _HOLES_SHARE = 2, 0.02
_OPTION: Final = "say what a rate is with --rate, such as --rate percent/1y or --rate fraction/8h"
_SAID: Final = re.compile(r"(fraction|percent|bps)/(\d+)(h|d|y)")
_PER: Final = {"h": 1, "d": 24, "y": _HOURS_A_YEAR}


class RateUnit(NamedTuple):
    """What a rate is times, to be a fraction: `scale`, and the hours that it is for."""

    scale: float
    hours: float
    notes: list[str]


def spaced(name: str) -> str:
    """Return the name of a rate with spaces between its words: `funding Rate 8h`."""
    return re.sub(r"([a-z])([A-Z0-9])", r"\1 \2", name).replace("_", " ")


def said_unit(text: str) -> RateUnit:
    """Read `percent/8h`.

    Raises:
        BadInput: If it is not written so.
    """
    found = _SAID.fullmatch(text.strip().casefold())
    if found is None or not int(found[2]):
        raise BadInput(f"--rate {text!r} is not written like fraction/1h, percent/8h or percent/1y")
    scale = {"fraction": 1.0, "percent": 100.0, "bps": 10_000.0}[found[1]]
    return RateUnit(scale, int(found[2]) * _PER[found[3]], [f"rates are {text}"])


def hours_apart(path: str, t: Ints) -> int | None:
    """Return how many hours lie between settlements; None for one.

    Args:
        path: The file, for messages.
        t: Times, ms UTC, shape (n,).

    Raises:
        BadInput: If they are not regular, or no whole hours.
    """
    stamps = np.unique(np.rint(t / MINUTE_MS).astype(np.int64))
    if len(stamps) <= 1:
        return None
    steps, counts = np.unique(np.diff(stamps), return_counts=True)
    step = int(steps[counts.argmax()])
    hours, rest = divmod(step, HOUR_MS // MINUTE_MS)
    if rest or hours not in _PERIODS:
        raise BadInput(
            f"{path} has rates {interval_text(step * MINUTE_MS)} apart, which are no settled ones: "
            f"{_OPTION}"
        )
    changed = any(
        counts[steps == 60 * other].sum() > max(_MOST_HOLES, _HOLES_SHARE * counts.sum())
        for other in _PERIODS - {hours}
    )
    beside = np.diff(stamps) % step
    if changed or np.mean(np.minimum(beside, step - beside) <= 1) < _REGULAR:
        raise BadInput(f"{path} has rates at changing intervals: {_OPTION}")
    return hours


def require_settled(path: str, t: Ints) -> None:
    """Raise if rates are not of full hours, at which they are settled everywhere.

    Args:
        path: The file, for messages.
        t: Times, ms UTC, of one rate at least, shape (n,).

    Raises:
        BadInput: If most are further from a full hour than a record may be late.
    """
    past = int(np.median(t % HOUR_MS)) // MINUTE_MS
    if _LATEST_MINUTE < past < HOUR_MS // MINUTE_MS - _LATEST_MINUTE:
        raise BadInput(
            f"{path} has rates of {past} minutes past the hour, and they are settled on the hour: "
            "if their times are local, say --tz"
        )


def judged_unit(
    path: str, name: str, apart: int | None, *, percent_signs: bool, sure: bool
) -> RateUnit:
    """Judge the unit of a rate by its column's name, its text and the time between rates.

    Args:
        path: The file, for messages.
        name: The column of the rates.
        apart: Hours between settlements; None for one rate.
        percent_signs: Whether the rates are written with a percent sign.
        sure: Whether the rates are the venue's own, or their rows say their hours.

    Raises:
        BadInput: If the unit is not sure.
    """
    words = " ".join(match[0] for match in RATE_UNIT.finditer(spaced(name).casefold()))
    percent = percent_signs or bool(re.search(r"%|percent|pct", words))
    scale = 100.0 if percent else 10_000.0 if "bp" in words else 1.0
    notes = ["rates in percent"] if percent else ["rates in bps"] if scale > 1 else []
    if "apy" in words:
        raise BadInput(f"{path}: {name} is compounded over a year: {_OPTION}")
    if re.search(r"annual|yearly|apr|year|p\.a\.", words):
        if not percent:
            raise BadInput(f"{path}: {name} may be percent or a fraction of a year: {_OPTION}")
        return RateUnit(scale, _HOURS_A_YEAR, [*notes, "a year, scaled to the hour"])
    if said := re.search(r"(\d+) ?h", words):
        hours = int(said[1])
        return RateUnit(scale, hours, notes + _scaled(hours))
    if "day" in words or "daily" in words:
        return RateUnit(scale, 24, notes + _scaled(24))
    if "hour" in words or sure:
        return RateUnit(scale, 1, notes)
    if apart is None:
        return RateUnit(scale, 1, [*notes, "one rate, taken as hourly"])
    if apart == 24:  # noqa: PLR2004
        raise BadInput(
            f"{path} has a rate a day, which may be a sum or a mean of several: {_OPTION}"
        )
    return RateUnit(scale, apart, notes + _scaled(apart))


def _scaled(hours: int) -> list[str]:
    return [f"rates per {hours} hours, scaled to the hour"] if hours > 1 else []


def require_plausible(path: str, name: str, hourly: Floats, *, sure: bool) -> None:
    """Raise if rates are too large to be what they are taken for.

    Args:
        path: The file, for messages.
        name: The column, for messages.
        hourly: Rates scaled to the hour, shape (rows,).
        sure: Whether a person or the venue says the unit; then only the cap counts.

    Raises:
        BadInput: With the option that says the unit.
    """
    size = np.abs(hourly)
    typical = float(np.median(size))
    above = int(np.count_nonzero(size > CAP))
    if above > 0.1 * len(size) or (not sure and typical > _PLAUSIBLE):
        share = f"{above} of {len(size)} above the venue's cap of 4 % an hour, " if above else ""
        raise BadInput(
            f"{path}: {name} is too large for a fraction ({share}"
            f"half of them above {typical:.3g} an hour): {_OPTION}"
        )
    for hours, rate in _OTHER_HOURS.items():
        if not sure and np.mean(np.isclose(size, rate, atol=0)) > _OFTEN:
            raise BadInput(
                f"{path}: {name} is often the rate of a calm market for {hours} h, which does not "
                f"fit its times: {_OPTION}"
            )


def hours_of_rows(hours: Floats) -> Floats:
    """Return the hours of each row's rate as a column says them, NaN where it is none.

    Args:
        hours: Hours, minutes or ms, shape (rows,).
    """
    factors: Mapping[float, float] = {1.0: 1.0, 60.0: 60.0, HOUR_MS: float(HOUR_MS)}
    for unit in factors:
        here = hours / unit
        if np.all(np.isin(here[np.isfinite(here)], list(_PERIODS))):
            return here
    return np.full(len(hours), np.nan)
