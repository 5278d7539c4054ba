"""A bot and the daemon's monitor decide one bar as a retrain decides all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import retrain.deciding.decision
from hyperdrift import decision, features
from monitor import outcomes
from retrain import features as trained

share = st.floats(0, 1) | st.sampled_from([0.25, 0.5, 1 / 3])


@given(share, share, share, share)
def test_one_bar_is_decided_as_among_many(
    p_down: float, p_up: float, down: float, up: float
) -> None:
    row = np.array([[p_down, 0.0, p_up]])
    expected = int(retrain.deciding.decision.decide(row, up, down)[0])
    assert decision.decide(p_down, p_up, down=down, up=up) == expected
    assert outcomes.decision((p_down, 0.0, p_up), up=up, down=down) == expected - decision.NEUTRAL


def test_both_sides_call_the_classes_and_the_features_the_same() -> None:
    assert (decision.DOWN, decision.NEUTRAL, decision.UP) == (
        retrain.deciding.decision.DOWN,
        retrain.deciding.decision.NEUTRAL,
        retrain.deciding.decision.UP,
    )
    assert features.FEATURE_NAMES == trained.NAMES
    assert features.schema_hash() == trained.schema_hash()
