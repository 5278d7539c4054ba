"""What a round trip costs is one figure, made of the costs of both orders and of holding."""

import pytest

from retrain.deciding.costs import Costs
from retrain.errors import BadSetting


def test_the_defaults_are_two_orders_of_a_taker_at_the_base_tier() -> None:
    assert Costs().round_trip_bps(hours=1) == 9.0


def test_only_the_orders_of_a_taker_slip_and_funding_grows_with_the_time_held() -> None:
    costs = Costs(entry="maker", slippage_bps=2, funding_bps=0.25)
    assert costs.round_trip_bps(hours=4) == 1.5 + (4.5 + 2) + 1.0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"taker": 4.5}, "costs.taker must be one of maker_bps, taker_bps"),
        ({"entry": "limit"}, "costs.entry must be maker or taker, was 'limit'"),
        ({"maker_bps": True}, "costs.maker_bps must be a number, was True"),
    ],
)
def test_what_is_no_cost_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        Costs.from_mapping(values)
