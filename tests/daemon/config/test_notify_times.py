from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from daemon.config.notify_times import QuietHours, WeeklyTime, zone_of
from hyperdrift.errors import BadInput

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


def test_quiet_hours_hold_over_midnight_in_their_zone() -> None:
    night = QuietHours.parse("22:00-07:00", BERLIN)
    assert night is not None
    found = [night.hold(ms(f"2026-01-05 {at}")) for at in ("21:59", "22:00", "06:59", "07:00")]
    assert found == [False, True, True, False]
    noon = QuietHours.parse("12:00 - 13:30", BERLIN)
    assert noon is not None
    assert [noon.hold(ms(f"2026-01-05 {at}")) for at in ("11:59", "13:29", "13:30")] == [
        False,
        True,
        False,
    ]


def test_the_digest_is_due_at_a_day_and_time_of_the_week_also_over_a_change_of_the_clock() -> None:
    weekly = WeeklyTime.parse("Mon 08:00", BERLIN)
    assert weekly is not None
    assert weekly.newest(ms("2026-03-30 08:00")) == ms("2026-03-30 08:00")
    assert weekly.newest(ms("2026-03-30 07:59")) == ms("2026-03-23 08:00")
    assert weekly.newest(ms("2026-04-05 23:00")) == ms("2026-03-30 08:00")


@pytest.mark.parametrize("text", ["22-7", "25:00-07:00", "07:00-07:00", "night"])
def test_what_is_no_span_of_hours_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="two times of the day"):
        QuietHours.parse(text, None)


@pytest.mark.parametrize("text", ["8", "mon", "mon 24:00", "xyz 08:00"])
def test_what_is_no_weekly_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="a day and a time"):
        WeeklyTime.parse(text, None)


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "/etc/passwd"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="Europe/Berlin"):
        zone_of(name)


def test_nothing_is_quiet_and_no_digest_is_due_unless_it_is_written() -> None:
    assert QuietHours.parse("", None) is None
    assert WeeklyTime.parse("", None) is None
    assert zone_of("") is None
