import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain import labels
from retrain.errors import BadFrame, BadSetting, BadThreshold, ClassMissing, TooFewBars
from retrain.labels import DOWN, NEUTRAL, UNKNOWN, UP, Array
from tests.retrain.market import made_up, recorded


@pytest.fixture(scope="module")
def close():
    return made_up(3000, seed=11)["close"]


def test_a_rising_series_comes_out_up_and_a_falling_one_down() -> None:
    rising = 100 * np.cumprod(np.full(50, 1.001))
    assert (labels.label(rising, 12, 0.005)[:-12] == UP).all()
    assert (labels.label(rising[::-1], 12, 0.005)[:-12] == DOWN).all()
    assert (labels.label(np.full(50, 3.0), 12, 0.005)[:-12] == NEUTRAL).all()


def test_a_move_of_exactly_the_threshold_is_neutral() -> None:
    assert labels.label(np.array([1.0, 1.5]), 1, 0.5)[0] == NEUTRAL
    assert labels.label(np.array([1.0, 0.5]), 1, 0.5)[0] == NEUTRAL
    assert labels.label(np.array([1.0, 1.5]), 1, 0.49)[0] == UP
    assert labels.label(np.array([1.0, 0.5]), 1, 0.49)[0] == DOWN


def test_the_future_return_of_a_bar_is_that_of_the_close_one_horizon_later() -> None:
    ahead = labels.future_return(np.array([1.0, 2.0, 3.0, 1.0]), 2)
    np.testing.assert_array_equal(ahead, [2.0, -0.5, np.nan, np.nan])


@pytest.mark.parametrize("n", [0, 1, 12])
def test_a_series_no_longer_than_the_horizon_has_unknown_labels_only(n: int) -> None:
    found = labels.label(np.ones(n), 12, 0.005)
    assert found.shape == (n,)
    assert (found == UNKNOWN).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 48), st.integers(350, 600), st.sampled_from([0.002, "vol:0.8"]))
def test_no_label_uses_a_bar_beyond_its_horizon(
    close: Array, horizon: int, at: int, setting: float | str
) -> None:
    threshold = labels.resolve_threshold(setting, close, horizon)

    def found(c: Array) -> labels.Labels:
        return labels.label(c, horizon, threshold.per_bar(c, horizon))

    bent = close.copy()
    bent[at:] *= 2
    np.testing.assert_array_equal(found(bent)[: at - horizon], found(close)[: at - horizon])
    assert (found(close)[-horizon:] == UNKNOWN).all()
    assert (found(bent)[at - horizon : at] == UP).all()


@pytest.mark.parametrize(("horizon", "outside"), [(1, 0.006), (12, 0.15), (24, 0.27), (48, 0.40)])
def test_recorded_bitcoin_leaves_the_neutral_class_as_often_as_documented(
    horizon: int, outside: float
) -> None:
    have = labels.shares(labels.label(recorded("BTC-5m")["close"], horizon, 0.005))
    assert 1 - have[NEUTRAL] == pytest.approx(outside, abs=0.006 if horizon > 1 else 0.0005)


@pytest.mark.parametrize("horizon", [4, 12, 48])
def test_auto_takes_the_rung_whose_neutral_share_is_nearest_70_percent(close, horizon) -> None:
    chosen = labels.resolve_threshold("auto", close, horizon)

    def miss(threshold: float) -> float:
        return abs(float(labels.shares(labels.label(close, horizon, threshold))[NEUTRAL]) - 0.7)

    assert chosen.kind == "fixed"
    assert chosen.value in labels.LADDER
    assert miss(chosen.value) == min(map(miss, labels.LADDER))


def test_auto_keeps_the_previous_threshold_while_55_to_85_percent_are_neutral(close) -> None:
    for previous in labels.LADDER:
        neutral = labels.shares(labels.label(close, 12, previous))[NEUTRAL]
        kept = labels.resolve_threshold("auto", close, 12, previous).value == previous
        best = labels.resolve_threshold("auto", close, 12).value == previous
        assert kept == (0.55 <= neutral <= 0.85 or best)


def neutral(close: Array, threshold: float) -> float:
    return float(labels.shares(labels.label(close, 12, threshold))[NEUTRAL])


def scaled_to(close: Array, share: float, threshold: float = 0.005) -> Array:
    """Make the moves larger or smaller until a share of them is within the threshold."""
    moves = np.abs(np.log(close[12:] / close[:-12]))
    scaled: Array = np.exp(np.log(close) * threshold / np.quantile(moves, share))
    return scaled


@pytest.mark.parametrize("share", [0.57, 0.7, 0.9])
def test_a_default_is_taken_where_it_leaves_enough_but_not_all_neutral(
    close: Array, share: float
) -> None:
    found = labels.resolve_threshold("default:0.005", scaled_to(close, share), 12)
    assert (found.value, found.kind) == (0.005, "fixed")
    text = f"UP and DOWN are moves of more than 0.5% in 12 bars: the default leaves {share:.0%}"
    assert text[:-2] in found.told(12)


@pytest.mark.parametrize("share", [0.33, 0.53, 0.94, 0.999])
def test_a_default_that_does_not_fit_the_coin_gives_way_to_the_ladder_and_says_why(
    close: Array, share: float
) -> None:
    scaled = scaled_to(close, share)
    found = labels.resolve_threshold("default:0.005", scaled, 12)
    assert found.value == labels.resolve_threshold("auto", scaled, 12).value != 0.005
    assert 0.55 < neutral(scaled, found.value) < 0.92
    assert "the default of 0.5% leaves" in found.why
    assert "NEUTRAL, not 55% to 92%; this leaves" in found.why


def test_an_explicit_threshold_is_obeyed_wherever_it_leaves_the_bars(close: Array) -> None:
    for share in (0.2, 0.7, 0.99):
        assert labels.resolve_threshold(0.005, scaled_to(close, share), 12).value == 0.005


def test_a_share_that_wavers_at_the_edge_changes_the_question_once(close: Array) -> None:
    for edge in (0.55, 0.92):
        previous, seen = None, []
        for share in (edge - 0.003, edge + 0.003) * 4:
            scaled = scaled_to(close, share)
            previous = labels.resolve_threshold("default:0.005", scaled, 12, previous).value
            seen.append(previous)
        assert sum(a != b for a, b in itertools.pairwise(seen)) <= 1
        assert seen[-1] != 0.005


def test_a_kept_threshold_says_so_and_goes_when_it_leaves_too_much_neutral(close: Array) -> None:
    wild = labels.resolve_threshold("default:0.005", scaled_to(close, 0.5), 12).value
    calmer = scaled_to(close, 0.6)
    assert neutral(calmer, wild) < 0.85
    kept = labels.resolve_threshold("default:0.005", calmer, 12, wild)
    assert kept.value == wild
    assert "kept from the live model" in kept.why
    back = labels.resolve_threshold("default:0.005", scaled_to(close, 0.8), 12, wild)
    assert back.value == 0.005


def test_a_vol_threshold_is_a_multiple_of_the_volatility_of_a_return_over_the_horizon(
    close,
) -> None:
    threshold = labels.resolve_threshold("vol:0.8", close, 9)
    r = close[1:] / close[:-1] - 1
    found = np.asarray(threshold.per_bar(close, 9))
    assert (threshold.kind, threshold.value, threshold.setting) == ("vol", 0.8, "vol:0.8")
    assert np.isnan(found[:288]).all()
    assert found[288] == pytest.approx(0.8 * 3 * np.std(r[:288], ddof=1), rel=1e-9)
    assert found[-1] == pytest.approx(0.8 * 3 * np.std(r[-288:], ddof=1), rel=1e-9)
    assert (labels.label(close, 9, found)[:288] == UNKNOWN).all()


def test_a_vol_threshold_does_not_depend_on_how_much_history_lies_before(close) -> None:
    threshold = labels.resolve_threshold("vol:1", close, 12)
    whole, tail = (np.asarray(threshold.per_bar(c, 12)) for c in (close, close[-400:]))
    np.testing.assert_array_equal(tail[288:], whole[-112:])


@pytest.mark.parametrize(
    "setting",
    [
        0,
        -0.1,
        1,
        5,
        np.nan,
        np.inf,
        True,
        "",
        "much",
        "vol:",
        "vol:0",
        "vol:-1",
        "vol:inf",
        "default:",
        "default:2",
        "default:auto",
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(close, setting) -> None:
    with pytest.raises(BadThreshold, match="threshold must be a fraction between 0 and 1"):
        labels.resolve_threshold(setting, close, 12)


def test_a_threshold_may_come_as_text_from_a_command_line(close) -> None:
    assert labels.resolve_threshold("0.005", close, 12).value == 0.005


def test_auto_without_a_known_future_says_how_many_bars_it_needs() -> None:
    with pytest.raises(TooFewBars, match="have 12 bars, need 13"):
        labels.resolve_threshold("auto", np.ones(12), 12)


def test_bad_horizons_and_closes_are_refused() -> None:
    with pytest.raises(BadSetting, match="horizon_bars must be at least 1, was 0"):
        labels.label(np.ones(5), 0, 0.005)
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(BadFrame, match="a close is not a number above 0"):
            labels.label(np.array([1.0, bad]), 1, 0.005)


def test_the_row_in_force_is_marked(close: Array) -> None:
    rows = labels.table(close, [12, 24], [0.005, "vol:0.8"])
    for marked in ((12, 0.005), (24, "vol:0.8")):
        (line,) = [x for x in labels.format_table(rows, marked).splitlines() if "in force" in x]
        assert line.split()[:2] == [str(marked[0]), str(marked[1])]


def test_the_table_has_a_row_per_pair_that_can_be_labelled(close) -> None:
    rows = labels.table(close, [12, 24, 5000], [0.005, "auto", "vol:0.8"])
    auto = labels.resolve_threshold("auto", close, 12).value
    assert [row[:2] for row in rows[:3]] == [(12, 0.005), (12, auto), (12, "vol:0.8")]
    assert len(rows) == 6
    assert all(row.down + row.neutral + row.up == pytest.approx(1) for row in rows)
    text = labels.format_table(rows)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert len(text.splitlines()) == 7


def test_labels_that_nobody_can_learn_are_refused_with_a_table_of_better_ones(close) -> None:
    found = labels.label(close, 1, 0.02)
    with pytest.raises(ClassMissing) as caught:
        labels.check_classes(found, close, 1)
    assert "0.00% of the bars are DOWN" in str(caught.value)
    offered = caught.value.table.splitlines()[1:]
    assert offered
    for line in offered:
        horizon, threshold = line.split()[:2]
        better = labels.label(close, int(horizon), float(threshold))
        assert labels.shares(better).min() >= 0.02
        labels.check_classes(better, close, int(horizon))


def test_a_market_without_movement_is_refused_with_all_that_was_tried() -> None:
    close = np.full(100, 5.0)
    with pytest.raises(ClassMissing) as caught:
        labels.check_classes(labels.label(close, 12, 0.005), close, 12)
    assert len(caught.value.table.splitlines()) == 1 + 3 * len(labels.LADDER)


def test_labels_that_are_all_unknown_have_no_shares() -> None:
    with pytest.raises(TooFewBars):
        labels.shares(np.full(5, UNKNOWN, dtype=np.int8))
