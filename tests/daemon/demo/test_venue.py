import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.market import generate
from daemon.demo.protocol import decimal_text
from daemon.demo.venue import Venue
from hyperdrift.slot_name import DAY_MS, HOUR_MS
from tests.daemon.demo.markets import MINUTES_5, START_MS, market

DATA = Path(os.environ.get("HYPERDRIFT_DATA", "../shared/data/hyperliquid"))
FIXTURES = DATA.parents[1] / "fixtures" / "hyperliquid" / "rest"
BARS = 12 * 600
END_MS = START_MS + BARS * MINUTES_5


@cache
def venue() -> Venue:
    return Venue([market(BARS)])


def ask(now_ms: int = END_MS, **body: Any) -> tuple[int, Any]:
    answer = venue().answer(json.dumps(body).encode(), now_ms)
    if answer.content_type == "text/plain":
        return answer.status, answer.body.decode()
    return answer.status, json.loads(answer.body)


def test_five_hundred_funding_rows_at_most_are_served_and_the_next_page_goes_on() -> None:
    status, first = ask(type="fundingHistory", coin="BTC", startTime=0)
    assert (status, len(first)) == (200, 500)
    _, second = ask(type="fundingHistory", coin="BTC", startTime=first[-1]["time"] + 1)
    times = [row["time"] for row in first + second]
    assert times == sorted(set(times))
    assert len(times) == 601  # from the hour before the first bar; the last is not yet stamped
    assert all(1 <= time % HOUR_MS <= 450 for time in times)


def test_funding_is_served_only_once_it_is_settled() -> None:
    now_ms = START_MS + 5 * HOUR_MS
    _, rows = ask(now_ms, type="fundingHistory", coin="BTC", startTime=START_MS, endTime=END_MS)
    assert [row["time"] // HOUR_MS - START_MS // HOUR_MS for row in rows] == [0, 1, 2, 3, 4]
    _, until = ask(type="fundingHistory", coin="BTC", startTime=START_MS, endTime=now_ms)
    assert until == rows


def test_a_premium_gives_its_rate_by_the_formula_of_the_venue() -> None:
    _, rows = ask(type="fundingHistory", coin="BTC", startTime=0)
    for row in rows:
        premium, rate = float(row["premium"]), float(row["fundingRate"])
        clamped = min(max(0.0001 - premium, -0.0005), 0.0005)
        assert rate == pytest.approx((premium + clamped) / 8, abs=1e-10)
        assert "e" not in row["fundingRate"] + row["premium"]


def test_the_clock_is_the_time_of_the_answer() -> None:
    assert ask(START_MS + 5, type="exchangeStatus") == (
        200,
        {"time": START_MS + 5, "specialStatuses": None},
    )


def test_the_universe_names_every_recorded_coin() -> None:
    status, meta = ask(type="meta")
    assert status == 200
    assert [entry["name"] for entry in meta["universe"]] == ["BTC"]
    assert ask(type="meta", dex="nope") == (500, None)


def test_the_days_volume_is_that_of_the_bars_closed_in_the_last_24_hours() -> None:
    now_ms = START_MS + 2 * DAY_MS + 1
    _, (meta, contexts) = ask(now_ms, type="metaAndAssetCtxs")
    assert [entry["name"] for entry in meta["universe"]] == ["BTC"]
    r = market(BARS)
    day = (r.t >= now_ms - DAY_MS) & (r.t + MINUTES_5 <= now_ms)
    (context,) = contexts
    assert float(context["dayNtlVlm"]) == pytest.approx((r.volume * r.close)[day].sum())
    assert float(context["dayBaseVlm"]) == pytest.approx(r.volume[day].sum())
    assert float(context["markPx"]) == r.close[day][-1]
    assert float(context["prevDayPx"]) == r.open[day][0]
    assert "e" not in "".join(str(value) for value in context.values() if value).lower()
    assert ask(type="metaAndAssetCtxs", dex="nope") == (500, None)


def test_a_coin_without_a_bar_yet_has_a_context_without_a_mid_price() -> None:
    _, (_, contexts) = ask(START_MS - HOUR_MS, type="metaAndAssetCtxs")
    assert (contexts[0]["midPx"], contexts[0]["dayNtlVlm"]) == (None, "0.0")


def test_coins_with_a_prefix_are_those_of_a_builders_dex() -> None:
    mixed = Venue([market(3), generate(3, MINUTES_5, 3, start_ms=START_MS, coin="xyz:TSLA")])

    def asked(**body: Any) -> Any:
        return json.loads(mixed.answer(json.dumps(body).encode(), START_MS).body)

    assert asked(type="perpDexs") == [None, {"name": "xyz", "fullName": "XYZ"}]
    assert [coin["name"] for coin in asked(type="meta")["universe"]] == ["BTC"]
    assert [coin["name"] for coin in asked(type="meta", dex="xyz")["universe"]] == ["xyz:TSLA"]
    assert asked(type="meta", dex="flx") is None


@pytest.mark.parametrize(
    "body",
    [
        {"type": "nope"},
        {"type": "fundingHistory", "coin": "BTC"},
        {"type": "fundingHistory", "coin": "BTC", "startTime": -1},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m", "startTime": 0}},
        {"type": "candleSnapshot", "req": {"coin": ["BTC"], "interval": "5m", "startTime": 0}},
        {"coin": "BTC"},
    ],
)
def test_a_body_of_the_wrong_shape_is_a_422(body: dict[str, Any]) -> None:
    assert ask(**body) == (422, "Failed to deserialize the JSON body into the target type")


def test_a_body_that_is_not_json_is_a_400() -> None:
    answer = venue().answer(b"{nope", END_MS)
    assert (answer.status, answer.body) == (400, b"Failed to parse the request body as JSON")


@pytest.mark.parametrize("coin", ["NOPE", "btc"])
def test_an_unknown_coin_looks_like_a_fault_of_the_venue(coin: str) -> None:
    assert ask(type="fundingHistory", coin=coin, startTime=0) == (500, None)
    window = {"coin": coin, "interval": "5m", "startTime": 0}
    assert ask(type="candleSnapshot", req=window) == (500, None)


def test_an_interval_finer_than_the_recording_has_no_bars() -> None:
    window = {"coin": "BTC", "interval": "1m", "startTime": 0}
    assert ask(type="candleSnapshot", req=window) == (200, [])


def test_the_recording_with_the_longest_bars_that_add_up_is_taken() -> None:
    five, hour = market(48), market(48, seed=8).resampled("1h")
    both = Venue([five, hour])
    body = json.dumps(
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1h", "startTime": 0}}
    )
    rows = json.loads(both.answer(body.encode(), END_MS).body)
    assert [float(row["c"]) for row in rows] == hour.close.tolist()


def test_rows_have_the_keys_types_and_order_of_recorded_answers() -> None:
    path = FIXTURES / "candleSnapshot_BTC_1h_with_forming_bar_2026-09-25.json"
    if not path.exists():
        pytest.skip(f"no recorded answers at {FIXTURES}")
    real = json.loads(path.read_text())["response"]["body"][0]
    window = {"coin": "BTC", "interval": "1h", "startTime": 0}
    _, rows = ask(type="candleSnapshot", req=window)
    assert list(rows[0]) == list(real)
    assert [type(value) for value in rows[0].values()] == [type(value) for value in real.values()]


@pytest.mark.parametrize(
    ("value", "text"), [(1.25e-05, "0.0000125"), (61000.0, "61000.0"), (5e-324, None)]
)
def test_numbers_are_written_without_an_exponent(value: float, text: str | None) -> None:
    assert "e" not in decimal_text(value)
    assert float(decimal_text(value)) == value
    assert text is None or decimal_text(value) == text
