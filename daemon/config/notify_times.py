"""Read the times of `[notify]`: the hours without messages, and when the digest is due."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

from daemon.config.schema import NotifySection
from daemon.config.validation_errors import shown
from hyperdrift.errors import BadInput

_TIME: Final = r"([01]?\d|2[0-3]):([0-5]\d)"
_SPAN: Final = re.compile(rf"\s*{_TIME}\s*-\s*{_TIME}\s*")
_WEEKLY: Final = re.compile(rf"\s*([a-z]{{3}})[a-z]*\s+{_TIME}\s*")
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of a name such as `Europe/Berlin`; None, the host's, for "".

    Raises:
        BadInput: If there is no such zone.
    """
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError) as e:
        raise BadInput('write a name like "Europe/Berlin" or "UTC", or "" for the host\'s') from e


def local(ms: int, zone: ZoneInfo | None) -> datetime:
    """Return a time, ms UTC, in a zone; the host's if it is None."""
    return datetime.fromtimestamp(ms / 1000, zone)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The hours of each day in which only what is critical is sent.

    Attributes:
        begin_min: Minute of the day at which they begin.
        end_min: Minute of the day at which they end; before `begin_min` if midnight is between.
        zone: The time zone; None for the host's.
    """

    begin_min: int
    end_min: int
    zone: ZoneInfo | None

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo | None) -> Self | None:
        """Read `22:00-07:00`; "" gives None.

        Raises:
            BadInput: If it is not such a span, or an empty one.
        """
        if not text:
            return None
        found = _SPAN.fullmatch(text)
        hours = [int(part) for part in found.groups()] if found else [0, 0, 0, 0]
        begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if begin == end:
            raise BadInput('write two times of the day, like "22:00-07:00", or ""')
        return cls(begin, end, zone)

    def hold(self, ms: int) -> bool:
        """Return whether it is quiet at a time, ms UTC."""
        now = local(ms, self.zone)
        minute = now.hour * 60 + now.minute
        if self.begin_min < self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min


@dataclass(frozen=True, slots=True)
class WeeklyTime:
    """A time of each week, such as Monday at eight; `day` is 0 on a Monday."""

    day: int
    hour: int
    minute: int
    zone: ZoneInfo | None

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo | None) -> Self | None:
        """Read `mon 08:00`; "" gives None.

        Raises:
            BadInput: If it is not a day and a time.
        """
        if not text:
            return None
        found = _WEEKLY.fullmatch(text.lower())
        if not found or found[1] not in _DAYS:
            raise BadInput('write a day and a time, like "mon 08:00", or ""')
        return cls(_DAYS.index(found[1]), int(found[2]), int(found[3]), zone)

    def newest(self, ms: int) -> int:
        """Return the newest such time at or before `ms`, ms UTC."""
        now = local(ms, self.zone)
        due = now.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        due -= timedelta(days=(now.weekday() - self.day) % 7)
        if due > now:
            due -= timedelta(days=7)
        return round(due.timestamp() * 1000)


def times_problem(notify: NotifySection) -> str | None:
    """Return what is wrong with the times of `[notify]`, and what to write; None if nothing is."""
    readers: dict[str, Callable[[str], object]] = {
        "timezone": zone_of,
        "quiet_hours": lambda text: QuietHours.parse(text, None),
        "digest": lambda text: WeeklyTime.parse(text, None),
    }
    for key, read in readers.items():
        value = getattr(notify, key)
        try:
            read(value)
        except BadInput as e:
            return f"notify.{key} is {shown(value)}; {e}"
    return None
