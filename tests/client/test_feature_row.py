"""What a bot may give as the features of a bar, by name where it has names."""

import re
from collections import namedtuple
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperdrift.errors import BadFeatures
from hyperdrift.feature_row import feature_row
from hyperdrift.features import FEATURE_NAMES

VALUES = [0.5 * n for n in range(17)]
BY_NAME = dict(zip(FEATURE_NAMES, VALUES, strict=True))
OTHER_ORDER = dict(reversed(BY_NAME.items()))
Row = namedtuple("Row", [*OTHER_ORDER])  # type: ignore[misc]  # noqa: PYI024 - a bot has such


@pytest.mark.parametrize(
    "given",
    [
        VALUES,
        tuple(VALUES),
        iter(VALUES),
        [VALUES],
        np.array(VALUES),
        np.array([VALUES], dtype=np.float32),
        [np.float64(v) for v in VALUES],
        pd.Series(VALUES),
        pd.Series(OTHER_ORDER),
        pd.Series({**OTHER_ORDER, "close": 100.0, "symbol": "BTC"}),
        pd.DataFrame([OTHER_ORDER]),
        pd.DataFrame([VALUES]),
        pd.DataFrame([{"date": pd.Timestamp(0), **OTHER_ORDER}]),
        BY_NAME,
        {**OTHER_ORDER, "t": 1_760_000_000_000},
        {name: [value] for name, value in OTHER_ORDER.items()},
        {name: np.array([value]) for name, value in OTHER_ORDER.items()},
        [np.array(value) for value in VALUES],  # without dimensions, as those of a torch tensor
        {name: np.array(value) for name, value in OTHER_ORDER.items()},
        Row(**OTHER_ORDER),
    ],
    ids=lambda given: type(given).__name__,
)
def test_every_kind_of_row_gives_the_features_in_the_models_order(given: Any) -> None:
    assert feature_row(given, FEATURE_NAMES) == VALUES


def test_integers_of_numpy_are_numbers() -> None:
    row = feature_row(np.arange(17), FEATURE_NAMES)
    assert row == list(range(17))
    assert all(type(value) is float for value in row)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (VALUES[:16], "there are 16 features, must be 17"),
        ([VALUES, VALUES], "there are 2 rows of features; give one bar's row"),
        (np.zeros((3, 17)), "there are 3 rows of features; give one bar's row"),
        (pd.DataFrame([BY_NAME, BY_NAME]), "there are 2 rows of features; give one bar's row"),
        (pd.DataFrame([], columns=[*FEATURE_NAMES]), "there are 0 values for 17 names"),
        (5.0, "the features are a float; give numbers"),
        (None, "the features are a NoneType; give numbers"),
        ("0.5," * 17, "the features are a text; give numbers"),
        (["0.5"] * 17, "feature mom_1 is the text '0.5'; give a number"),
        ([None] * 17, "feature mom_1 is a NoneType; give a number"),
        ([*VALUES[:16], float("nan")], "feature S_bot is nan: ask for a bar whose features are"),
        ([*VALUES[:16], 1e39], "feature S_bot is 1e+39"),
        ([10**400, *VALUES[1:]], "feature mom_1 is a int; give a number"),
        (pd.Series(BY_NAME).rename({"mom_1": "mom1"}), "feature mom_1 is missing; there is 'mom1'"),
        ({"close": 1.0}, "feature mom_1 is missing"),
        (pd.Series([0.5] * 18, index=["mom_1", *FEATURE_NAMES]), "feature mom_1 is given twice"),
        ({**BY_NAME, "mom_3": [1.0, 2.0]}, "feature mom_3 is a list; give a number"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_features_that_no_model_can_use_are_one_sentence(given: Any, text: str) -> None:
    with pytest.raises(BadFeatures, match=re.escape(text)) as told:
        feature_row(given, FEATURE_NAMES)
    assert "\n" not in str(told.value)
    assert isinstance(told.value, ValueError)  # what bots have caught so far
