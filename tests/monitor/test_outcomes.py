import pytest

from monitor.outcomes import SignalBook, SignalOutcome, decision

UP, DOWN, NEUTRAL = (0.1, 0.3, 0.6), (0.6, 0.3, 0.1), (0.2, 0.6, 0.2)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(UP, 1), (DOWN, -1), (NEUTRAL, 0), ((0.45, 0.1, 0.45), -1), ((0.3, 0.3, 0.4), 1)],
)
def test_the_side_with_the_larger_excess_speaks(
    p: tuple[float, float, float], expected: int
) -> None:
    assert decision(p, up=0.4, down=0.35) == expected


def test_a_signal_wins_when_the_price_went_its_way_over_the_horizon() -> None:
    book = SignalBook(horizon_ms=3, up=0.5, down=0.5)
    assert [book.observe(t, 100.0 - t, DOWN) for t in range(3)] == [None] * 3
    outcome = book.observe(3, 90.0, NEUTRAL)
    assert outcome is not None
    assert outcome == SignalOutcome(3, outcome.gain)
    assert outcome.gain == pytest.approx(0.1)
    assert outcome.won
    assert book.observe(4, 90.0, None) is None


def test_a_signal_whose_horizon_fell_into_a_gap_has_no_outcome() -> None:
    book = SignalBook(horizon_ms=3, up=0.5, down=0.5)
    book.observe(0, 100.0, UP)
    assert book.observe(7, 120.0, UP) is None
    outcome = book.observe(10, 110.0, None)
    assert outcome is not None
    assert not outcome.won
