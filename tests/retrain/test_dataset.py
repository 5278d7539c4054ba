from dataclasses import replace

import numpy as np
import pytest

from retrain import dataset, features, labels
from retrain.errors import ClassMissing, TooFewBars
from tests.retrain.market import Frame
from tests.retrain.planted import HORIZON, THRESHOLD, planted

FRAME = planted(1_500, seed=3)


def build(frame: Frame = FRAME, setting: float | str = THRESHOLD) -> dataset.Rows:
    return dataset.build(frame, HORIZON, setting, None, lambda _step: None)


@pytest.fixture(scope="module")
def rows() -> dataset.Rows:
    return build()


def test_only_rows_with_features_and_a_known_future_are_kept(rows: dataset.Rows) -> None:
    assert rows.bars[0] == features.WARMUP_BARS
    assert rows.bars[-1] == len(FRAME["close"]) - 1 - HORIZON
    assert np.isfinite(rows.features).all()
    assert set(rows.labels) == {0, 1, 2}


def test_a_row_without_funding_is_left_out_and_does_not_shift_the_rest() -> None:
    frame = FRAME | {"funding": FRAME["funding"].copy()}
    frame["funding"][700] = np.nan
    rows = build(frame)
    assert 700 not in rows.bars
    assert dataset.label_faults(rows, FRAME["close"]) == 0


def test_bars_without_any_funding_are_refused_by_the_name_of_what_they_lack() -> None:
    with pytest.raises(TooFewBars, match="most of the 1500 bars lack funding"):
        build(FRAME | {"funding": np.full(1_500, np.nan)})
    with pytest.raises(TooFewBars, match="have 600 bars, need 7"):
        build({name: column[:600] for name, column in FRAME.items()})


def test_the_newest_fifth_judges_and_no_label_reaches_into_it(rows: dataset.Rows) -> None:
    n = len(rows.labels)
    assert rows.test.stop == n
    assert rows.test.stop - rows.test.start == pytest.approx(n / 5, abs=1)
    assert dataset.leaked_rows(rows, rows.train.stop) == 0


def test_training_rows_that_reach_into_the_test_block_are_counted(rows: dataset.Rows) -> None:
    fold = rows.fold._replace(train=(range(rows.test.start),))
    assert dataset.leaked_rows(replace(rows, fold=fold), fold.train[-1].stop) == HORIZON


def test_honest_labels_have_no_fault_under_any_kind_of_threshold() -> None:
    for setting in (THRESHOLD, "auto", "vol:0.8"):
        assert dataset.label_faults(build(setting=setting), FRAME["close"]) == 0


def test_the_threshold_before_is_kept_by_auto() -> None:
    rows = dataset.build(FRAME, HORIZON, "auto", 0.0061, lambda _step: None)
    assert rows.threshold.value == 0.0061


def test_swapped_and_shifted_labels_are_found(rows: dataset.Rows) -> None:
    swapped = replace(rows, labels=(2 - rows.labels).astype(np.int8))
    assert dataset.label_faults(swapped, FRAME["close"]) == np.sum(rows.labels != 1)
    shifted = replace(rows, labels=np.roll(rows.labels, 1))
    assert dataset.label_faults(shifted, FRAME["close"]) > 50


def test_what_is_trained_on_is_what_is_served(rows: dataset.Rows) -> None:
    assert dataset.parity(rows, FRAME) <= 1e-9


@pytest.mark.parametrize("column", [0, 8])
def test_a_feature_from_the_future_is_found(rows: dataset.Rows, column: int) -> None:
    peeking = rows.features.copy()
    peeking[:-1, column] = peeking[1:, column]
    assert dataset.parity(replace(rows, features=peeking), FRAME) > 1e-6


def test_too_few_bars_are_refused_with_the_number_needed() -> None:
    short = {name: column[:600] for name, column in FRAME.items()}
    with pytest.raises(TooFewBars, match="have 600 bars, need 70"):
        build(short)


def test_a_class_that_hardly_occurs_is_refused() -> None:
    with pytest.raises(ClassMissing):
        build(setting=0.2)


def test_no_feature_and_no_label_reaches_across_a_hole(rows: dataset.Rows) -> None:
    kept = np.r_[0:600, 610:1500]
    holed = build({name: column[kept] for name, column in FRAME.items()})
    warm, last = features.WARMUP_BARS, 600 - HORIZON - 1
    # As many rows warm up after the hole as at the start; before it only labels are unknown.
    expected = [*range(warm, last + 1), *range(600 + warm, 1490 - HORIZON)]
    assert holed.bars.tolist() == expected
    before = holed.bars[holed.bars <= last]
    at = np.searchsorted(rows.bars, before)
    assert np.array_equal(holed.features[: len(at)], rows.features[at])


@pytest.mark.parametrize("setting", ["auto", "default:0.0001"])
@pytest.mark.parametrize("lacking", [0, 400])
def test_a_threshold_is_chosen_without_the_test_block(setting: str, lacking: int) -> None:
    """The newest bars may lack funding and be no rows; then the test block lies before them."""
    rate = FRAME["funding"].copy()
    rate[len(rate) - lacking :] = np.nan
    frame = FRAME | {"funding": rate}
    rows = build(frame, setting)
    first = rows.bars[rows.test.start]
    wild = frame["close"].copy()
    wild[first:] *= np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.05, len(wild) - first)))
    bent = build(frame | {"close": wild, "high": wild * 1.01, "low": wild * 0.99}, setting)
    assert bent.threshold == rows.threshold
    assert bent.threshold.value in {*labels.LADDER}
    assert np.std(wild[first:]) > 2 * np.std(frame["close"][first:])
