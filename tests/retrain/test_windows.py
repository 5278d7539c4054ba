import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain import windows

sizes = st.tuples(st.integers(1, 60), st.integers(1, 90), st.integers(0, 2**32 - 1))


def noise(n: int, seed: int):
    return np.random.default_rng(seed).normal(1, 1, n)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(sizes)
def test_any_window_of_any_length_has_the_mean_that_numpy_gives(size) -> None:
    window, n, seed = size
    x = noise(n, seed)
    found = windows.mean(x, window)
    assert np.isnan(found[: window - 1]).all()
    for i in range(window - 1, n):
        assert found[i] == pytest.approx(x[i - window + 1 : i + 1].mean(), abs=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(sizes)
def test_codeviation_over_the_degrees_of_freedom_is_the_covariance(size) -> None:
    window, n, seed = size
    x = noise(2 * n, seed).reshape(2, n)
    found = windows.codeviation(x, window)
    for i in range(window - 1, n):
        part = x[:, i - window + 1 : i + 1]
        centred = part - part.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, :, i], centred @ centred.T, atol=1e-11)


def test_what_does_not_move_has_exactly_its_own_mean_and_no_deviation() -> None:
    x = np.full(100, 0.1)
    assert (windows.mean(x, 50)[49:] == 0.1).all()
    assert (windows.std(x, 36)[35:] == 0).all()


def test_a_small_movement_on_a_large_level_is_not_lost_to_cancellation() -> None:
    x = noise(200, 3)
    np.testing.assert_allclose(windows.std(x + 1e8, 50), windows.std(x, 50), rtol=1e-6)


def test_a_faded_sum_is_the_recursive_one() -> None:
    x, sums, total = noise(300, 4), [], 0.0
    for value in x:
        total = 0.9 * total + value
        sums.append(total)
    np.testing.assert_allclose(windows.faded_sum(x, 0.9, 384), sums, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 5, 6, 7, 50])
def test_the_median_of_a_trailing_window_is_what_numpy_gives(n: int) -> None:
    x = noise(n, 5)
    found = windows.median(x, 6)
    assert np.isnan(found[:5]).all()
    assert found[5:].tolist() == [np.median(x[i - 5 : i + 1]) for i in range(5, n)]


def test_nan_spoils_the_windows_that_contain_it_and_no_other() -> None:
    x = noise(100, 6)
    x[50] = np.nan
    for found in (windows.mean(x, 12), windows.std(x, 12)):
        assert np.flatnonzero(np.isnan(found[11:])).tolist() == list(range(39, 51))
