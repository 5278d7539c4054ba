import math

import pytest

from daemon.web.pages import formats
from daemon.web.pages.formats import NONE

NOON = 1_754_049_600_000  # 2025-08-01 12:00:00


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350 ms"),
        (1.26, "1.3 s"),
        (9, "9 s"),
        (59, "59 s"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (180, "3 min"),
        (4800, "1 h 20 min"),
        (11_300, "3 h"),
        (129_600, "1 d 12 h"),
        (864_000_000, "10,000 d"),
        (None, NONE),
        (math.inf, NONE),
        (math.nan, NONE),
    ],
)
def test_a_duration_has_one_unit_or_two(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_a_time_is_told_by_its_distance_from_now() -> None:
    assert formats.relative(NOON - 180_000, NOON) == "3 min ago"
    assert formats.relative(NOON + 7_200_000, NOON) == "in 2 h"
    assert formats.relative(NOON + 400, NOON) == "just now"
    assert formats.relative(None, NOON) == NONE


def test_a_time_is_an_element_that_programs_can_read() -> None:
    element = formats.time_element(NOON, "<now>")
    assert element == (
        '<time datetime="2025-08-01T12:00:00Z" title="2025-08-01 12:00:00 UTC">&lt;now&gt;</time>'
    )


@pytest.mark.parametrize("t", [None, -1, 2**53, 10**400, math.nan, math.inf])
def test_a_time_that_no_calendar_has_is_left_out(t: float | None) -> None:
    assert formats.time_element(t, "x") == f"<span>{NONE}</span>"
    assert formats.day_and_time(t) == formats.clock_time(t) == formats.relative(t, NOON) == NONE


def test_figures_have_their_sign_their_unit_and_separated_thousands() -> None:
    assert formats.signed(1.26, "bp") == "+1.3 bp"
    assert formats.signed(-1234.5, "bp") == "\N{MINUS SIGN}1,234.5 bp"
    assert formats.signed(-0.01, "bp") == "0.0 bp"
    assert formats.percent(0.5432, 1) == "54.3 %"
    assert formats.number(12345) == "12,345"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 10**400])
def test_a_figure_that_is_none_is_a_dash(value: float | None) -> None:
    shown = {formats.signed(value), formats.percent(value), formats.number(value)}
    assert shown == {NONE}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0142, "0.0142"),
        (114_100.5, "114,100"),
        (12.34567, "12.35"),
        (0, "0"),
        (0.0, "0"),
        (-3, "\N{MINUS SIGN}3"),
        (1e-9, "1e\N{MINUS SIGN}09"),
        (4.5e12, "4.5e+12"),
        (10**400, NONE),
        (True, "yes"),
        (None, NONE),
        ([0.5, None, "a"], f"0.5, {NONE}, a"),
        ({"rows": 4321}, "rows: 4,321"),
        ([], "none"),
        ([[[[[[1]]]]]], "…"),
    ],
)
def test_any_value_of_json_can_be_shown(value: object, text: str) -> None:
    assert formats.as_text(value) == text


def test_a_field_that_is_a_time_is_shown_as_one_and_a_duration_is_not() -> None:
    assert formats.field(1_769_903_998_000, "closed_ms") == "2026-01-31 23:59:58 UTC"
    assert formats.field(1_769_903_998_000, "t") == "2026-01-31 23:59:58 UTC"
    assert formats.field(30, "load_ms") == "30"
    assert formats.field("1", "since_t") == "1"
    assert formats.field(10**400, "t") == formats.as_text(10**400)


def test_a_price_keeps_all_its_digits() -> None:
    assert formats.significant(114_100.5, 7) == "114,100.5"
    assert formats.significant(0.0123456, 7) == "0.0123456"


def test_a_version_is_named_by_the_time_of_its_training_if_its_name_has_one() -> None:
    assert formats.trained_at("20250801_090500_0f3a9c2b7d41") == "1 Aug 2025, 09:05"
    assert formats.trained_at("../../etc") == "../../etc"


def test_a_name_in_an_address_leads_nowhere_else() -> None:
    assert formats.path_part('../a"?#\ud800') == "..%2Fa%22%3F%23%3F"
