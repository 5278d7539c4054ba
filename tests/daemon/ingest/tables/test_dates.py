"""Dates as people and programs of several languages write them: read right, or refused."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import described
from hyperdrift.errors import BadInput
from tests.daemon.ingest.tables.shapes import HEADER, NOW, STEP, Row, candles, csv, utc, written

DAY, HOUR = 86_400_000, 3_600_000
VALUES = HEADER[1:]
TWO_DAYS = candles(577)
HOURS = candles(72, HOUR)
YEAR = candles(365, DAY)
LATER = NOW + 1000 * DAY


def read(path: Path, ms: int = STEP, **said: Any) -> TableOfBars:
    wanted = replace(described(**said), coin="BTC", interval_ms=ms, now_ms=LATER)
    return read_bars(path, wanted)


def rows_of(table: TableOfBars) -> list[Row]:
    return [(b.t, b.open, b.high, b.low, b.close, b.volume) for b in table.bars.bars()]


def dated(rows: Sequence[Row], form: str, months: str = "", header: str = "date") -> str:
    """Return rows with dates; `@` in the form is the month in words."""
    names = months.split()

    def text(t: int) -> str:
        named = names[int(utc(t, "%m")) - 1] if names else ""
        return utc(t, form).replace("@", named)

    return csv(rows, header + VALUES, lambda r: [text(r[0]), *r[1:]], sep=";")


GERMAN = "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez"
LONG_GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
FRENCH = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."
SPANISH = ("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
           "diciembre")  # fmt: skip
ITALIAN = "gen feb mar apr mag giu lug ago set ott nov dic"
PORTUGUESE = "jan fev mar abr mai jun jul ago set out nov dez"
DUTCH = "jan feb mrt apr mei jun jul aug sep okt nov dec"
IN_WORDS: dict[str, tuple[str, str]] = {
    "german": ("%d. @ %Y", GERMAN),
    "german with points": ("%d. @. %Y", GERMAN),
    "german with hyphens": ("%d-@-%y", GERMAN),
    "long german": ("So., %d. @ %Y", LONG_GERMAN),
    "french": ("%d @ %Y", FRENCH),
    "french with a weekday": ("dim. %d @ %Y", FRENCH),
    "spanish": ("%d de @ de %Y", SPANISH),
    "italian": ("%d @ %Y", ITALIAN),
    "portuguese": ("%d/@/%Y", PORTUGUESE),
    "dutch": ("%d @ %Y", DUTCH),
    "english": ("%dth %B %Y", ""),
}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("name", IN_WORDS)
def test_months_of_other_languages_are_read(name: str, encoding: str, tmp_path: Path) -> None:
    content = dated(YEAR, *IN_WORDS[name]).encode(encoding)
    assert rows_of(read(written(tmp_path / "a.csv", content), DAY)) == YEAR


def test_accents_may_be_letters_of_their_own(tmp_path: Path) -> None:
    content = unicodedata.normalize("NFD", dated(YEAR, "%d. @ %Y", LONG_GERMAN))
    assert rows_of(read(written(tmp_path / "a.csv", content), DAY)) == YEAR


def test_a_day_in_words_belongs_to_the_time_in_the_next_column(tmp_path: Path) -> None:
    content = dated(TWO_DAYS, "%d. @ %Y;%H:%M", GERMAN, "Datum;Uhrzeit")
    assert rows_of(read(written(tmp_path / "a.csv", content))) == TWO_DAYS


def test_a_word_that_may_be_two_months_is_none(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.csv", dated(YEAR[95:150], "%d @ %Y", FRENCH.replace("juin", "jui"))
    )
    table = read(file, DAY)
    assert table.report.left_out == {"whose time is not understood": 27}


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "german": ("%d.%m.%Y um %H:%M Uhr", {"day_first": True}),
    "browser": ("%B %d, %Y at %I:%M %p", {}),
    "oracle": ("%d-%b-%y %I.%M.%S.000000000 %p", {}),
    "time first": ("%H:%M %d %b %Y", {}),
    "points": ("%Y-%m-%d %H.%M", {}),
    "weekday": ("Sun %Y-%m-%d %H:%M", {}),
    "no minutes of the zone": ("%Y-%m-%d %H:%M GMT+0", {}),
    "java": ("%Y-%m-%dT%H:%M:%S+00:00[Europe/London]", {}),
    "venue's page": ("%d/%m/%Y - %H:%M:%S", {"day_first": True}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_date_and_a_time_of_day_are_read(name: str, tmp_path: Path) -> None:
    form, said = FORMS[name]
    assert rows_of(read(written(tmp_path / "a.csv", dated(TWO_DAYS, form)), **said)) == TWO_DAYS


def test_hours_east_of_utc_are_taken_off(tmp_path: Path) -> None:
    later = [(row[0] + HOUR, *row[1:]) for row in TWO_DAYS]
    for zone in ("GMT+1", "+01:00[Europe/Paris]", "UTC+01"):
        content = dated(later, "%Y-%m-%d %H:%M:%S " + zone)
        if "[" in zone:
            content = content.replace(" +", "+")
        assert rows_of(read(written(tmp_path / "a.csv", content))) == TWO_DAYS


def test_days_above_twelve_in_the_middle_prove_that_the_month_is_last(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", dated(YEAR, "%Y-%d-%m"))
    table = read(file, DAY)
    assert rows_of(table) == YEAR
    assert "read as year-day-month" in table.report.notes
    few = dated(YEAR[:11], "%Y-%m-%d") + "2026-13-05;1;1;1;1;1\n"
    assert rows_of(read(written(tmp_path / "typo.csv", few), DAY)) == YEAR[:11]


def ended(t: int, form: str) -> str:
    """Return a time whose midnights are 24:00 of the day before."""
    is_midnight = t % DAY == 0
    return utc(t - is_midnight * DAY, form.replace("%H", "24") if is_midnight else form)


def by_end(form: str, shift: int, header: str = "date") -> str:
    return csv(TWO_DAYS, header + VALUES, lambda r: [ended(r[0] + shift, form), *r[1:]], sep=";")


ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "said to be closes": (by_end("%Y-%m-%d %H:%M:%S", STEP), {"stamp": "close"}),
    "said to be opens": (by_end("%Y-%m-%dT%H:%MZ", 0), {"stamp": "open"}),
    "named": (by_end("%Y-%m-%d %H:%M", STEP, "close_time"), {}),
    "of a zone": (by_end("%Y-%m-%d %H:%M+01:00", STEP + HOUR), {"stamp": "close"}),
    "in two columns": (by_end("%d.%m.%Y;%H:%M", STEP, "Datum;Uhrzeit"),
                       {"stamp": "close", "day_first": True}),
    "beside opens": (csv(TWO_DAYS, "open_time,close_time" + VALUES, lambda r: [
        utc(r[0]), ended(r[0] + STEP, "%Y-%m-%d %H:%M"), *r[1:]]), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_24_00_is_the_end_of_its_day(name: str, tmp_path: Path) -> None:
    content, said = ENDS[name]
    assert rows_of(read(written(tmp_path / "a.csv", content), **said)) == TWO_DAYS


def test_24_00_may_be_a_close_and_is_refused_until_somebody_says(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", by_end("%Y-%m-%d %H:%M:%S", STEP))
    with pytest.raises(BadInput, match=r"date has 24:00.* say --stamp close or --stamp open"):
        read(file)


def test_24_00_is_the_beginning_of_its_day_where_hours_run_from_1_to_24(tmp_path: Path) -> None:
    for rows, ms in ((TWO_DAYS, STEP), (HOURS, HOUR)):
        content = dated(rows, "%m/%d/%Y, %H:%M:%S").replace(" 00:", " 24:")
        table = read(written(tmp_path / "a.csv", content), ms, day_first=False)
        assert rows_of(table) == rows
        assert "24:00 read as the beginning of its day" in table.report.notes


def test_24_00_of_rows_in_no_order_is_refused(tmp_path: Path) -> None:
    mixed = sorted(TWO_DAYS, key=lambda row: row[5])
    content = csv(mixed, row=lambda r: [ended(r[0], "%Y-%m-%d %H:%M"), *r[1:]])
    with pytest.raises(BadInput, match="may be the beginning or the end of its day"):
        read(written(tmp_path / "a.csv", content), stamp="open")


def test_a_rate_of_24_00_was_settled_at_the_end_of_the_day(tmp_path: Path) -> None:
    rates = [(row[0], 1e-5 + k * 1e-8) for k, row in enumerate(HOURS)]
    content = csv(rates, "time,rate", lambda r: [ended(r[0], "%Y-%m-%d %H:%M:%S"), r[1]])
    table = read_funding(written(tmp_path / "a.csv", content), replace(described(), now_ms=LATER))
    assert table.time.tolist() == [t for t, _ in rates]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_midnight_with_the_date_of_the_day_that_it_ends_is_refused(
    tmp_path: Path, *, newest_first: bool
) -> None:
    rows = TWO_DAYS[1:-1][:: -1 if newest_first else 1]
    content = csv(rows, row=lambda r: [utc(r[0] - DAY * (r[0] % DAY == 0)), *r[1:]])
    with pytest.raises(BadInput, match="midnights with the date of the day that they end"):
        read(written(tmp_path / "a.csv", content))


def test_a_day_that_is_written_twice_is_read_once(tmp_path: Path) -> None:
    day = TWO_DAYS[:288]
    table = read(written(tmp_path / "a.csv", csv(day) + csv(day, "")))
    assert rows_of(table) == day
    assert table.report.left_out == {"repeated": 288}


def test_seconds_with_a_decimal_comma_are_read(tmp_path: Path) -> None:
    content = csv(TWO_DAYS, row=lambda r: [f"{r[0] // 1000},0", *r[1:]], sep=";")
    assert rows_of(read(written(tmp_path / "a.csv", content))) == TWO_DAYS


def test_a_time_that_is_no_open_is_refused_with_the_option_that_names_one(tmp_path: Path) -> None:
    content = csv(TWO_DAYS, HEADER + ",interval", lambda r: [r[0] + 123, *r[1:], "5m"])
    with pytest.raises(
        BadInput, match=r"577 rows of t lie off the grid of 5m .*--columns time=NAME"
    ):
        read(written(tmp_path / "a.csv", content))


def at(shift: int, header: str, *more: Any) -> str:
    """Return rows with the time of day of another zone, and columns beside it."""
    return csv(TWO_DAYS, header + VALUES, lambda r: [utc(r[0] + shift), *more, *r[1:]])


LOCAL: dict[str, tuple[str, str]] = {
    "heading": ("Time zone: Europe/Paris\n" + at(HOUR, "date"), "of Europe/Paris.* --tz Europe/Pa"),
    "comment": ("# Times in CET\n" + at(HOUR, "date"), "of CET: say --tz, such as --tz Europe"),
    "offset": (at(HOUR, "date,utc_offset", "+01:00"), r"column utc_offset says \+01:00: say --tz"),
    "seconds": (at(HOUR, "date,offset", 3600), "column offset says 3600: say --tz"),
    "beside a number": (csv(TWO_DAYS, "open_time,timestamp" + VALUES, lambda r: [
        utc(r[0] + HOUR), *r]), "open_time and timestamp may be the time, and differ"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOCAL)
def test_local_times_are_refused_until_somebody_says_the_zone(name: str, tmp_path: Path) -> None:
    content, sentence = LOCAL[name]
    with pytest.raises(BadInput, match=sentence):
        read(written(tmp_path / "a.csv", content))


UTC_AFTER_ALL = {
    "heading": "# All times are UTC+00:00\n" + at(0, "date"),
    "offset": at(0, "date,gmtoffset", 0),
    "numbers": "# Times in CET\n" + csv(TWO_DAYS),
    "numbers of closes": csv(TWO_DAYS, "open_time,timestamp" + VALUES, lambda r: [
        utc(r[0]), r[0] + STEP, *r[1:]]),
}  # fmt: skip


@pytest.mark.parametrize("name", UTC_AFTER_ALL)
def test_times_that_are_surely_utc_need_no_word(name: str, tmp_path: Path) -> None:
    assert rows_of(read(written(tmp_path / "a.csv", UTC_AFTER_ALL[name]))) == TWO_DAYS


def test_shorter_bars_than_the_rows_say_are_refused(tmp_path: Path) -> None:
    minutes = candles(20, 60_000)
    file = written(tmp_path / "a.csv", csv(minutes, HEADER + ",interval", lambda r: [*r, "5m"]))
    with pytest.raises(BadInput, match="say that they are of 5m, but lie 1m apart: say --columns"):
        read(file)
    assert len(read(file, columns="interval=").bars) == 4


def test_a_table_whose_rows_are_mostly_off_the_grid_is_refused(tmp_path: Path) -> None:
    days = [(row[0] + (k > 9) * HOUR, *row[1:]) for k, row in enumerate(YEAR[:30])]
    with pytest.raises(BadInput, match=r"20 rows of t lie off the grid of 1d .* say --tz"):
        read(written(tmp_path / "a.csv", csv(days)), DAY)
