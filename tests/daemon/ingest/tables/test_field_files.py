"""Files of shapes that broke the project in the field, where they lie beside the clone."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.ingest.tables.bar_tables import read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import Wanted, described
from hyperdrift.errors import BadInput

FILES = Path(__file__).parents[5] / "shared" / "field" / "files"
FIRST, HOUR = 1_772_323_200_000, 3_600_000
# How many bars of BTC-5m or rates of BTC each file has, or why it is refused.
EXPECTED: dict[str, int | str] = {
    "BTCUSDT-5m-2026-03.csv": 864,
    "BTC_USDC-5m.json.gz": 864,
    "BTC_USDC_USDC-1h-funding_rate.feather": 48,
    "ccxt_lists.json": 864,
    "cdd.csv": 864,
    "close_stamped_ms.csv": 864,
    "day_first.csv": 11_520,
    "fundingHistory.json": 48,
    "fundingHistory_two_coins.json": 48,
    "funding_8h.csv": 6,
    "funding_apr_percent.csv": "say what a rate is with --rate",
    "funding_one_row_ahead.csv": "1 in the future",
    "hl_T_only.csv": 864,
    "hl_candles_of_ETH.json": "is of ETH, not BTC",
    "hl_mixed_intervals.json": 864,
    "hl_ui_funding.csv": "payments of a person",
    "mt4_named.csv": 864,
    "one.csv.zip": 864,
    "one_minute.csv": 288,
    "one_row.csv": 1,
    "records.ndjson": 864,
    "semicolon_decimal_comma.csv": 864,
    "split_orient.json": 864,
    "thousands.csv": 864,
    "two_coins_stacked.csv": 864,
    "unnamed_index.parquet": 864,
    "utf16.csv": 864,
    "ws_messages.jsonl": 50,
}
WANTED = Wanted(coin="BTC", interval_ms=300_000, now_ms=int(time.time() * 1000))

pytestmark = pytest.mark.skipif(not FILES.exists(), reason=f"{FILES} is not there")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_from_the_field_has_its_outcome(name: str) -> None:
    is_funding = "fund" in name
    wanted = WANTED
    if name == "funding_one_row_ahead.csv":
        wanted = replace(WANTED, now_ms=1_764_756_000_000 - HOUR)
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(BadInput, match=expected):
            (read_funding if is_funding else read_bars)(FILES / name, wanted)
        return
    if is_funding:
        rates = read_funding(FILES / name, wanted)
        assert len(rates.time) == expected
        assert rates.time[0] // HOUR * HOUR == FIRST
        assert abs(rates.rate).max() < 1e-4
        return
    bars = read_bars(FILES / name, wanted).bars
    assert len(bars) == expected
    first = 1_767_225_600_000 if name == "day_first.csv" else FIRST
    assert bars.t[0] == first
    assert (bars.t[1:] - bars.t[:-1] == 300_000).all()
    assert bars.open[0] == 60_000.0


def test_yearly_percent_is_scaled_when_a_person_says_so() -> None:
    wanted = replace(described(rate="percent/1y"), coin="BTC", now_ms=WANTED.now_ms)
    said = read_funding(FILES / "funding_apr_percent.csv", wanted)
    plain = read_funding(FILES / "fundingHistory.json", WANTED)
    assert said.rate == pytest.approx(plain.rate)


def test_every_file_from_the_field_has_an_expected_outcome() -> None:
    assert {path.name for path in FILES.iterdir()} == EXPECTED.keys()
