import math

from daemon.web.pages import plots
from daemon.web.views import DriftBar, EquityPoint, TimelineMark, WinShare
from tests.daemon.web.pages import examples

NOW_MS, HOUR_MS = examples.NOW_MS, examples.HOUR_MS


def points(*totals: float) -> tuple[EquityPoint, ...]:
    count = len(totals)
    return tuple(
        EquityPoint(t=NOW_MS - (count - 1 - i) * HOUR_MS, total_bp=total)
        for i, total in enumerate(totals)
    )


def test_the_sum_of_signals_is_a_line_of_steps_over_the_time() -> None:
    plot = plots.equity_plot(points(0, 100), (), "BTC-5m", NOW_MS)
    assert plot is not None
    assert plot.line == "0,931 1000,931 1000,69 1000,69"
    assert plot.zero == 93.1
    assert plot.told == "Sum of 2 signals after costs: +100.0 bp."


def test_changes_of_the_live_version_are_marked_on_it_with_links() -> None:
    plot = plots.equity_plot(examples.equity(), examples.marks(), "BTC-5m", NOW_MS)
    assert plot is not None
    assert [mark.word.text for mark in plot.marks] == ["went live", "went live"]
    assert plot.marks[-1].link == f"/slots/BTC-5m/versions/{examples.NEW}"
    assert [round(mark.x) for mark in plot.marks] == [5, 99]


def test_a_change_before_the_first_signal_is_not_at_the_edge_of_the_picture() -> None:
    old = TimelineMark(at_ms=NOW_MS - 99 * HOUR_MS, kind="live", text="x", model_id="y")
    plot = plots.equity_plot(points(1, 2, 3), (old,), "BTC-5m", NOW_MS)
    assert plot is not None
    assert plot.marks == ()


def test_one_signal_is_no_line_and_impossible_sums_are_left_out() -> None:
    assert plots.equity_plot(points(1), (), "BTC-5m", NOW_MS) is None
    assert plots.sparkline(points(math.nan, math.inf, 1e300, 4)) is None


def test_a_small_line_keeps_zero_in_sight() -> None:
    line = plots.sparkline(points(50, 100))
    assert line is not None
    assert (line.line, line.zero, line.width) == ("0,500 1,69", 931, 1)


def test_what_happened_has_a_lane_for_each_kind_that_did() -> None:
    timeline = plots.timeline_plot(examples.marks(), "BTC-5m", NOW_MS)
    assert timeline is not None
    lanes = [(lane.word.text, len(lane.marks)) for lane in timeline.lanes]
    assert lanes == [("went live", 2), ("trained", 2), ("refused", 1), ("drift", 1), ("alarm", 1)]
    assert plots.timeline_plot((), "BTC-5m", NOW_MS) is None


def test_a_mark_without_a_version_leads_to_its_entry_of_the_journal() -> None:
    mark = TimelineMark(at_ms=NOW_MS, kind="drift", text="x", seq=41)
    assert plots.mark_link(mark, "xyz:TSLA-5m") == (
        "/journal?slot=xyz%3ATSLA-5m&before=42#entry-41"
    )


def test_evidence_is_drawn_beside_the_alarm_line() -> None:
    def drawn(*evidence: float) -> tuple[list[float], float]:
        plot = plots.drift_plot([DriftBar(feature="f", evidence=one) for one in evidence])
        return [width for _, width in plot.bars], plot.alarm

    assert drawn(0.5) == ([40], 80)
    assert drawn(2, 1) == ([100, 50], 50)
    assert drawn(50, 1, math.nan) == ([100, 33.33], 33.33)


def test_a_share_is_drawn_with_its_bounds() -> None:
    share = WinShare(value=0.5, low=0.4, high=0.6, count=99, of="signals")
    assert plots.interval_plot(share) == (40, 50, 60)
    assert (
        plots.interval_plot(WinShare(value=0.5, low=None, high=None, count=3, of="trades")) is None
    )
