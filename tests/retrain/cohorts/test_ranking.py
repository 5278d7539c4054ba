"""Skilled takers are found among thousands, lucky ones are not."""

import numpy as np
import pytest

from retrain.cohorts.ranking import Ranking, TakerFlows, false_share, rank
from tests.retrain.cohorts.planted_takers import HORIZON, SKILLED, market, takers

ADDRESSES = 3000


def ranked(flows: TakerFlows, close: np.ndarray, addresses: int = ADDRESSES) -> Ranking:
    return rank(flows, close, HORIZON, addresses)


def test_twenty_skilled_among_three_thousand_are_found_with_few_false_ones() -> None:
    found = ranked(*takers(1, right=0.6, a_day=1.0)).found
    planted = np.repeat([1, -1], SKILLED // 2)
    assert (found[:SKILLED] == planted).sum() >= 17
    assert (found[SKILLED:] != 0).sum() <= 0.1 * (found != 0).sum()


@pytest.mark.parametrize("seed", [2, 3])
def test_among_three_thousand_coin_tossers_nobody_is_found(seed: int) -> None:
    told = ranked(*takers(seed, a_day=1.0))
    assert told.tried.sum() > 0.8 * ADDRESSES
    assert not told.found.any()
    assert told.t[told.tried].std() == pytest.approx(1, abs=0.05)


def test_what_follows_the_last_bar_changes_nothing() -> None:
    flows, close = takers(4, right=0.6, days=40, addresses=200)
    until = len(close) - 3000
    known = flows.bar < until
    rows = TakerFlows(flows.address[known], flows.bar[known], flows.signed[known])
    cut = ranked(rows, close[:until], 200)
    rewritten = close.copy()
    rewritten[until:] *= np.linspace(1, 9, len(close) - until)
    whole = ranked(flows, close, 200)
    for later in (close, rewritten):
        assert np.array_equal(cut.t, ranked(flows, later[:until], 200).t)
    assert not np.array_equal(cut.t, whole.t)


def test_an_address_that_always_buys_in_a_rising_market_is_not_skilled() -> None:
    rng = np.random.default_rng(5)
    close = market(rng, 20_000, drift=2e-4)
    bar = np.flatnonzero(rng.random(len(close)) < 0.2)
    told = ranked(TakerFlows(np.zeros(len(bar), int), bar, np.ones(len(bar))), close, 1)
    assert told.tried.all()
    assert not told.found.any()


def test_long_orders_in_pieces_are_no_more_evidence_than_one_trade() -> None:
    """Each address buys or sells for hours without a break, so horizons overlap."""
    rng = np.random.default_rng(6)
    close = market(rng, 10_000)
    side = np.repeat(rng.choice([-1.0, 1.0], (150, 10_000 // 100)), 100, axis=1)
    address, bar = (index.ravel() for index in np.indices(side.shape))
    told = ranked(TakerFlows(address, bar, side.ravel()), close, 150)
    assert told.t.std() == pytest.approx(1, abs=0.15)
    assert not told.found.any()


def test_the_mean_move_is_that_of_the_direction_shown_before() -> None:
    flows, close = takers(7, right=1.0, days=30, addresses=SKILLED)
    told = ranked(flows, close, SKILLED)
    size = np.abs(close[HORIZON:] / close[:-HORIZON] - 1).mean() * 1e4
    assert told.mean_bp == pytest.approx(np.full(SKILLED, size), rel=0.2)
    assert told.side.tolist() == [1] * 10 + [-1] * 10


def test_rows_of_one_address_and_bar_count_once_in_any_order() -> None:
    flows, close = takers(8, right=0.6, days=20, addresses=50)
    order = np.random.default_rng(0).permutation(2 * len(flows.bar))
    address, bar, signed = (np.tile(column, 2)[order] for column in flows)
    split = ranked(TakerFlows(address, bar, signed / 2), close, 50)
    assert split.t == pytest.approx(ranked(flows, close, 50).t)
    assert np.array_equal(split.bars, ranked(flows, close, 50).bars)


def test_bars_that_are_missing_are_no_moves() -> None:
    flows, close = takers(9, right=0.6, days=30, addresses=50)
    close[1000:1100] = np.nan
    close[1100:] *= 3
    told = ranked(flows, close, 50)
    assert np.isfinite(told.t).all()
    assert np.nanmax(np.abs(told.mean_bp)) < 100


def test_too_little_to_judge_is_not_tried() -> None:
    close = market(np.random.default_rng(1), 500)
    few = TakerFlows(np.array([0, 0]), np.array([10, 499]), np.array([1.0, 1.0]))
    told = ranked(few, close, 3)
    assert told.bars.tolist() == [1, 0, 0]
    assert not told.tried.any()
    assert told.q.tolist() == [1, 1, 1]
    assert np.isnan(told.mean_bp).all()


def test_the_false_share_is_that_of_benjamini_and_hochberg() -> None:
    p = np.array([0.04, 0.01, 0.9, 0.02])
    assert false_share(p, 4) == pytest.approx([0.16 / 3, 0.04, 0.9, 0.04])
