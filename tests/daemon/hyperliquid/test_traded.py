"""What is traded of each perp is read by position, and what cannot be read is told apart."""

import json
from typing import Any

import pytest

from daemon.core.errors import SchemaChanged
from daemon.hyperliquid.traded import read_traded


def answer(*rows: tuple[dict[str, Any], Any]) -> bytes:
    meta = {"universe": [coin for coin, _ in rows], "marginTables": [], "collateralToken": 0}
    return json.dumps([meta, [context for _, context in rows]]).encode()


def test_volumes_are_joined_by_position_and_delisted_coins_are_told_apart() -> None:
    found = read_traded(
        answer(
            ({"name": "BTC", "szDecimals": 5}, {"dayNtlVlm": "4100000000.5", "midPx": None}),
            ({"name": "MATIC", "isDelisted": True}, {"dayNtlVlm": "0.0"}),
            ({"name": "kPEPE"}, {"dayNtlVlm": "12.5"}),
        )
    )
    assert found.usd == {"BTC": 4_100_000_000.5, "kPEPE": 12.5}
    assert found.delisted == {"MATIC"}


@pytest.mark.parametrize("context", [None, [], {}, {"dayNtlVlm": "NaN"}, {"dayNtlVlm": "-1"}])
def test_a_volume_that_cannot_be_read_is_unknown_and_not_zero(context: Any) -> None:
    assert read_traded(answer(({"name": "BTC"}, context))).usd == {"BTC": None}


@pytest.mark.parametrize(
    "body",
    [
        *(b"null", b"[]", b"{}", b'[{"universe":[]},[]]', b"<html>", b'[{"universe":[{}]},null]'),
        b'[{"universe":[{"name":"BTC"},{"name":"ETH"}]},[{"dayNtlVlm":"1"}]]',
    ],
)
def test_an_answer_of_another_shape_says_so(body: bytes) -> None:
    with pytest.raises(SchemaChanged, match="metaAndAssetCtxs"):
        read_traded(body)
