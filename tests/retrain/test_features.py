import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain import features
from retrain.bar_limits import LARGEST_PRICE, LARGEST_VOLUME, SMALLEST_PRICE
from retrain.errors import BadFrame
from tests.retrain import reference
from tests.retrain.market import Frame, cut, made_up, recorded

N_BARS = 700

markets = st.builds(
    made_up,
    st.integers(300, N_BARS),
    st.integers(0, 2**32 - 1),
    tick=st.sampled_from([1e-3, 1e-2, 1.0]),
    flat_frac=st.sampled_from([0.0, 0.1, 0.6, 0.95]),
    silent_frac=st.sampled_from([0.0, 0.1, 0.6, 0.95]),
    constant_volume=st.booleans(),
)


@pytest.fixture(scope="module")
def frame() -> Frame:
    return made_up(1500, seed=7, flat_frac=0.1, silent_frac=0.1)


@pytest.fixture(scope="module")
def slow(frame: Frame):
    return np.array(reference.rows(frame))


def test_there_are_17_names_and_a_hash_of_12_hex_digits_names_them() -> None:
    assert len(features.NAMES) == len(set(features.NAMES)) == 17
    assert features.schema_hash() == "ba55f4789d38"


@pytest.mark.parametrize("name", features.NAMES)
def test_a_column_is_what_its_definition_gives_bar_by_bar(name: str, frame: Frame, slow) -> None:
    column = features.NAMES.index(name)
    fast = features.compute(frame)[:, column]
    assert np.isfinite(fast[features.WARMUP_BARS :]).all()
    assert np.std(fast[features.WARMUP_BARS :]) > 0
    np.testing.assert_allclose(fast, slow[:, column], rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(markets)
def test_still_silent_and_wild_markets_agree_with_the_definitions_too(market: Frame) -> None:
    fast, slow = features.compute(market), np.array(reference.rows(market))
    # An average that was run up recursively has rounding of its own: 1e-16 of the price over a
    # spread of 1e-8 of the price.
    np.testing.assert_allclose(fast, slow, rtol=1e-7, atol=1e-7)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(markets)
def test_a_row_is_finite_throughout_or_nan_throughout_and_warm_up_is_nan(market: Frame) -> None:
    rows = features.compute(market)
    assert not np.isinf(rows).any()
    spoilt = np.isnan(rows)
    assert (spoilt.all(axis=1) == spoilt.any(axis=1)).all()
    assert spoilt[: features.WARMUP_BARS].all()
    assert not spoilt[features.WARMUP_BARS :].any()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(markets, st.integers(1, N_BARS))
def test_cutting_the_future_off_changes_no_row_before_the_cut(market: Frame, at: int) -> None:
    at = min(at, len(market["t"]))
    before = features.compute(cut(market, 0, at))
    np.testing.assert_array_equal(before, features.compute(market)[:at])


def test_the_last_512_bars_give_the_row_of_the_whole_history_at_every_bar(frame: Frame) -> None:
    whole = features.compute(frame)
    for stop in range(features.LIVE_BARS, len(whole) + 1):
        live = features.compute(cut(frame, stop - features.LIVE_BARS, stop))
        np.testing.assert_array_equal(live[-1], whole[stop - 1])


@pytest.mark.parametrize("slot", ["BTC-5m", "HYPE-5m"])
def test_on_recorded_bars_serving_equals_training(slot: str) -> None:
    frame = recorded(slot)
    whole = features.compute(frame)
    assert np.isfinite(whole[features.WARMUP_BARS :]).all()
    for stop in range(features.LIVE_BARS, len(whole), 97):
        live = features.compute(cut(frame, stop - features.LIVE_BARS, stop))
        np.testing.assert_array_equal(live[-1], whole[stop - 1])


def test_recorded_bars_agree_with_the_definitions() -> None:
    frame = cut(recorded("BTC-5m"), 20_000, 23_000)
    np.testing.assert_allclose(features.compute(frame), reference.rows(frame), rtol=1e-9, atol=1e-9)


def test_a_data_frame_and_a_dict_of_lists_give_the_same_as_arrays(frame: Frame) -> None:
    rows = features.compute(frame)
    np.testing.assert_array_equal(features.compute(pd.DataFrame(frame)), rows)
    np.testing.assert_array_equal(
        features.compute({name: column.tolist() for name, column in frame.items()}), rows
    )


def test_a_steadily_rising_price_has_no_z_score_from_rounding() -> None:
    frame = made_up(600, seed=1)
    ramp = 1000 + np.arange(600) * 0.1
    rows = features.compute(frame | {"open": ramp, "high": ramp, "low": ramp, "close": ramp})
    assert np.abs(rows[features.WARMUP_BARS :, 2]).max() == 0


def test_a_constant_return_has_no_correlation_from_rounding() -> None:
    growth = 100 * 1.001 ** np.arange(600)
    frame = made_up(600, seed=1)
    rows = features.compute(
        frame | {"open": growth, "high": growth, "low": growth, "close": growth}
    )
    assert (rows[features.WARMUP_BARS :, features.NAMES.index("price_volume_corr")] == 0).all()


def test_without_a_cohort_or_a_change_of_funding_those_columns_are_exactly_zero() -> None:
    frame = made_up(400, seed=2)
    still = {"funding": np.full(400, 1.25e-5), "s_top": np.zeros(400), "s_bot": np.zeros(400)}
    rows = features.compute(frame | still)[features.WARMUP_BARS :]
    assert (rows[:, 13:] == 0).all()


def test_an_unknown_funding_rate_spoils_its_row_and_the_eleven_after_it_only() -> None:
    frame = made_up(400, seed=3)
    frame["funding"][350] = np.nan
    rows = features.compute(frame)[features.WARMUP_BARS :]
    assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == list(range(51, 63))


def test_prices_at_the_edge_of_the_possible_give_no_infinity_and_no_warning() -> None:
    frame = made_up(400, seed=4)
    for name in ("open", "high", "low", "close"):
        frame[name] = np.where(np.arange(400) % 2, SMALLEST_PRICE, LARGEST_PRICE)
    frame["volume"] = np.where(np.arange(400) % 3, LARGEST_VOLUME, 5e-324)
    assert not np.isinf(features.compute(frame)).any()


def test_a_flow_above_the_volume_of_an_unconfirmed_bar_is_the_whole_volume() -> None:
    frame = made_up(400, seed=4)
    frame["s_top"], frame["s_bot"] = 2 * frame["volume"], -3 * frame["volume"]
    rows = features.compute(frame)[features.WARMUP_BARS :]
    assert (rows[:, -2:] == [1, -1]).all()


@pytest.mark.parametrize("n_bars", [0, 1, 2, 13, 299])
def test_a_history_within_the_warm_up_gives_nan_rows(n_bars: int) -> None:
    rows = features.compute(cut(made_up(400, seed=5), 0, n_bars))
    assert rows.shape == (n_bars, 17)
    assert np.isnan(rows).all()


@pytest.mark.parametrize("name", ["t", "open", "volume", "funding", "s_bot"])
def test_a_missing_column_is_named(name: str) -> None:
    frame = made_up(10, seed=6)
    del frame[name]
    with pytest.raises(BadFrame, match=f"column {name} is missing"):
        features.compute(frame)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("t", 0, "t is .* in row 5; it must be later"),
        ("close", np.nan, "close is nan in row 5; it must be a price from 1e-12 to 1e\\+12"),
        ("open", -1.0, "open is -1.0 in row 5"),
        ("low", 0.0, "low is 0.0 in row 5"),
        ("high", np.inf, "high is inf in row 5"),
        ("high", 1e-3, "high is 0.001 in row 5; it must not be below low"),
        ("open", 1e300, "open is 1e\\+300 in row 5"),
        ("volume", -1.0, "volume is -1.0 in row 5; it must be from 0 to 1e\\+18"),
        ("volume", 1e300, "volume is 1e\\+300 in row 5"),
        ("volume", np.nan, "volume is nan in row 5"),
        ("s_top", np.inf, "s_top is inf in row 5; it must be a number, NaN if unknown"),
        ("funding", np.inf, "funding is inf in row 5"),
        ("funding", 1e300, "funding is 1e\\+300 in row 5; it must be an hourly rate"),
    ],
)
def test_an_impossible_value_is_named_with_its_row(name: str, value: float, words: str) -> None:
    frame = made_up(10, seed=6)
    frame[name] = frame[name].copy()
    frame[name][5] = value
    with pytest.raises(BadFrame, match=words):
        features.compute(frame)


def test_a_repeated_bar_is_refused() -> None:
    frame = made_up(10, seed=6)
    frame["t"][4] = frame["t"][3]
    with pytest.raises(BadFrame, match="row 4; it must be later than the one before"):
        features.compute(frame)


def test_columns_of_unequal_length_or_of_text_are_refused() -> None:
    frame = made_up(10, seed=6)
    with pytest.raises(BadFrame, match=r"column volume has shape \(9,\), t has \(10,\)"):
        features.compute(frame | {"volume": frame["volume"][1:]})
    with pytest.raises(BadFrame, match="column close is not made of numbers"):
        features.compute(frame | {"close": np.array(["ten"] * 10)})


def test_the_funding_rate_of_a_bar_is_the_newest_one_stamped_by_its_close() -> None:
    hour = 3_600_000
    times, rates = np.array([hour + 79, 2 * hour, 3 * hour + 1]), np.array([1.0, 2.0, 3.0])
    closes = np.array([hour, hour + 78, hour + 79, 2 * hour, 3 * hour, 3 * hour + 1, 9 * hour])
    known = features.funding_as_of(closes, times, rates)
    np.testing.assert_array_equal(known, [np.nan, np.nan, 1, 2, 2, 3, 3])


def test_funding_without_any_rate_is_unknown_and_bad_funding_is_refused() -> None:
    closes = np.array([1, 2])
    assert np.isnan(
        features.funding_as_of(closes, np.array([], dtype=np.int64), np.array([]))
    ).all()
    with pytest.raises(BadFrame, match="2 funding times for 1 rates"):
        features.funding_as_of(closes, np.array([1, 2]), np.array([0.1]))
    with pytest.raises(BadFrame, match="not in order"):
        features.funding_as_of(closes, np.array([2, 1]), np.array([0.1, 0.2]))


def test_flow_is_taken_over_the_bars_in_which_it_is_known() -> None:
    frame = made_up(400, seed=8)
    top = frame["s_top"].copy()
    top[[350, 355, 356]] = np.nan
    s_top = features.compute(frame | {"s_top": top})[:, features.NAMES.index("S_top")]
    heard = np.isfinite(top)
    for i in (349, 350, 356, 360, 361, 399):
        window = slice(i - 11, i + 1)
        expected = top[window][heard[window]].sum() / frame["volume"][window][heard[window]].sum()
        np.testing.assert_allclose(s_top[i], expected, rtol=1e-12)


def test_only_after_twelve_bars_of_unknown_flow_is_a_row_undefined() -> None:
    frame = made_up(400, seed=8)
    top = frame["s_top"].copy()
    top[340:355] = np.nan
    rows = features.compute(frame | {"s_top": top})
    undefined = [k for k in range(features.WARMUP_BARS, 400) if np.isnan(rows[k]).all()]
    assert undefined == list(range(351, 355))
