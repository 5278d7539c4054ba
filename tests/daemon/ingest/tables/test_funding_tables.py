"""Files of funding rates: hourly fractions, or refused with the option that says what they are."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from daemon.ingest.tables.funding_tables import TableOfFunding, read_funding
from daemon.ingest.tables.reading import described
from hyperdrift.errors import BadInput
from tests.daemon.ingest.tables.shapes import NOW, START, Row, csv, utc, written

HOUR = 3_600_000
RATES: list[Row] = [
    (START + 37 + k * HOUR, round(1.25e-5 + 4e-6 * float(np.sin(k)), 10)) for k in range(48)
]
EVERY_8H = RATES[::8]
CALM: list[Row] = [(t, rate if k % 3 == 2 else 1.25e-5) for k, (t, rate) in enumerate(RATES)]
CHANGED = EVERY_8H[:3] + RATES[24::4]
BINANCE = "calc_time,funding_interval_hours,last_funding_rate"
OKX = "fundingTime,instId,realizedRate,method"


def rates(
    rows: list[Row] = RATES, header: str = "time,fundingRate", times: float = 1.0, end: str = ""
) -> str:
    return csv(rows, header, lambda r: [r[0], f"{r[1] * times!r}{end}"])


def read(path: Path, now: int = NOW, **said: Any) -> TableOfFunding:
    return read_funding(path, replace(described(**said), coin="BTC", now_ms=now))


def feather() -> bytes:
    sink = io.BytesIO()
    dates = pd.to_datetime([r[0] for r in RATES], unit="ms", utc=True)
    frame = pd.DataFrame({"date": dates, "open": [r[1] for r in RATES]})
    frame.assign(high=0.0, low=0.0, close=0.0, volume=0.0).to_feather(sink)
    return sink.getvalue()


def history(coin: str) -> list[Any]:
    return [
        {"coin": coin, "fundingRate": f"{r:.10f}", "premium": "0.0001", "time": t} for t, r in RATES
    ]


READ: dict[str, tuple[str | bytes, list[Row], dict[str, Any]]] = {
    "plain.csv": (rates(), RATES, {}),
    "no_header.csv": (rates(header=""), RATES, {}),
    "dates.csv": (csv(RATES, "date,rate", lambda r: [utc(r[0]) + ".037", r[1]]), RATES, {}),
    "fractions.csv": (csv(RATES, "date,rate", lambda r: [utc(r[0], "%d %b %Y %H:%M:%S.037"), r[1]]),
                      RATES, {}),
    "BTC_USDC_USDC-1h-funding_rate.feather": (feather(), RATES, {}),
    "history.json": (json.dumps(history("ETH") + history("BTC")), RATES, {}),
    "ccxt.json": (json.dumps([{"info": {"x": 1}, "symbol": "BTC/USDC:USDC", "fundingRate": r,
                               "timestamp": t, "datetime": utc(t)} for t, r in RATES]), RATES, {}),
    "percent.csv": (rates(header="time,Funding Rate (%)", times=100), RATES, {}),
    "signs.csv": (rates(times=100, end="%"), RATES, {}),
    "a_year.csv": (rates(header="time,APR (%)", times=876_000), RATES, {}),
    "bps.csv": (rates(header="time,rate_bps", times=10_000), RATES, {}),
    "name_8h.csv": (rates(header="time,fundingRate8h", times=8), RATES, {}),
    "every_8h.csv": (rates(EVERY_8H, times=8), EVERY_8H, {}),
    "percent_8h.csv": (rates(EVERY_8H, "time,rate_pct", times=800), EVERY_8H, {}),
    "okx.csv": (csv(EVERY_8H, OKX, lambda r: [r[0], "BTC-USDT-SWAP", r[1] * 8, "next_period"]),
                EVERY_8H, {}),
    "hours_in_rows.csv": (csv(CHANGED, BINANCE, lambda r: [
        r[0], 8 if r in EVERY_8H[:3] else 4, r[1] * (8 if r in EVERY_8H[:3] else 4)]), CHANGED, {}),
    "kraken.csv": (csv(RATES, "time,fundingRate,relativeFundingRate", lambda r: [
        r[0], r[1] / 10, r[1]]), RATES, {}),
    "binance_page.csv": (csv(EVERY_8H, "Time,Contracts,Funding Interval,Funding Rate", lambda r: [
        r[0], "BTCUSDT Perpetual", "8h", f"{r[1] * 800!r}%"]), EVERY_8H, {}),
    "bitmex.csv": (csv(EVERY_8H, "timestamp,fundingInterval,fundingRate,fundingRateDaily",
                       lambda r: [r[0], "2000-01-01T08:00:00.000Z", r[1] * 8, r[1] * 24]),
                   EVERY_8H, {}),
    "from_to.csv": (csv(RATES, "start,end,rate", lambda r: [r[0] - HOUR, *r]), RATES, {}),
    "begin_said.csv": (csv(RATES, "start,rate"), RATES, {"columns": "time=start"}),
    "one_of_two.csv": (csv(RATES, "time,rate,fundingRate", lambda r: [r[0], 5, r[1]]), RATES,
                       {"columns": "rate=fundingRate"}),
    "a_day_said.csv": (rates(RATES[::24], times=24), RATES[::24], {"rate": "fraction/24h"}),
    "calm.csv": (rates(CALM), CALM, {}),
    "calm_8h.csv": (rates(CALM[::8], times=8), CALM[::8], {}),
    "calm_8h_named.csv": (rates(CALM, "time,funding_8h", times=8), CALM, {}),
    "said.csv": (rates(times=8760), RATES, {"rate": "fraction/1y"}),
    "said_8h.csv": (rates(times=800), RATES, {"rate": "percent/8h"}),
    "holes.csv": (rates(RATES[:10] + RATES[14:30] + RATES[31:]),
                  RATES[:10] + RATES[14:30] + RATES[31:], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_rates_become_hourly_fractions(name: str, tmp_path: Path) -> None:
    content, expected, said = READ[name]
    found = read(written(tmp_path / name, content), **said)
    assert found.time.tolist() == [t for t, _ in expected]
    assert found.rate == pytest.approx([rate for _, rate in expected], rel=1e-12)
    scaled = found.rate != pytest.approx([rate for _, rate in expected], rel=0, abs=0)
    assert not scaled or any("rate" in note or "hour" in note for note in found.report.notes)


PAID = "time,coin,sz,side,payment,rate"
DELTA = {"type": "funding", "coin": "BTC", "usdc": "-0.1", "szi": "0.5", "fundingRate": "0.0000125"}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "percent.csv": (rates(times=100), {}, "too large for a fraction .* say what a rate is"),
    "percent_8h.csv": (rates(EVERY_8H, times=800), {}, "--rate"),
    "percent_a_year.csv": (rates(times=876_000), {}, "48 of 48 above the venue's cap of 4 % an ho"),
    "a_year.csv": (rates(header="time,apr", times=8760), {}, "percent or a fraction of a year"),
    "apy.csv": (rates(header="time,APY (%)"), {}, "compounded over a year"),
    "calm_8h_hourly.csv": (rates(CALM, times=8), {}, "rate of a calm market for 8 h.* say what"),
    "calm_hourly_8h.csv": (rates(CALM[::8]), {}, "rate of a calm market for 1 h.* say what"),
    "a_day.csv": (rates(RATES[::24]), {}, "a rate a day, which may be a sum or a mean"),
    "begins.csv": (rates(header="period_start,rate"), {}, "settled when they end: name the time"),
    "two.csv": (csv(RATES, "time,rate,fundingRate", lambda r: [*r, r[1] * 8]), {},
                "each of rate, fundingRate may be the rate: say which"),
    "one_hour.csv": (rates([*RATES, (RATES[0][0] - 37, 9e-6)]), {}, "rows of one time that differ"),
    "minutes.csv": (rates([(START + k * 60_000, 1e-5) for k in range(9)]), {}, "1m apart"),
    "changing.csv": (rates(CHANGED), {}, "at changing intervals"),
    "unit.csv": (rates(), {"rate": "percent"}, "not written like fraction/1h"),
    "paid.csv": (csv(RATES, PAID, lambda r: [r[0], "BTC", 1, "Long", -0.01, r[1]]), {},
                 r"holds payments of a person \(sz, side, payment\)"),
    "user.json": (json.dumps([{"time": t, "hash": "0x", "delta": DELTA} for t, _ in RATES]), {},
                  "holds payments of a person"),
    "ledger.json": (json.dumps([{"info": {}, "code": "USDC", "timestamp": t, "amount": -0.1}
                                for t, _ in RATES]), {}, "holds payments of a person"),
    "eth.json": (json.dumps(history("ETH")), {}, "is of ETH, not BTC"),
    "ETH-funding.csv": (rates(), {}, "names ETH, not BTC"),
    "differ.csv": (rates([*RATES, (RATES[0][0], 9e-6)]), {}, "rate of 2026-03-01 00:00 is"),
    "ahead.csv": (rates(), {"now": START}, "gives no settled rate: 48 in the future"),
    "candles.csv": (csv(), {}, "holds candles, no rates: leave out --kind funding"),
    "no_rate.csv": (csv(header="t,spread,x,y", row=lambda r: r[:4]), {}, "no column for the rate"),
    "three.csv": (csv(RATES, "", lambda r: [*r, 1]), {}, "say --columns time=1,rate=2"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_no_hourly_rate_is_refused(name: str, tmp_path: Path) -> None:
    content, said, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(written(tmp_path / name, content), **said)
    assert "\n" not in str(caught.value)


def test_rates_that_cannot_be_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [*RATES[:-3], (RATES[-3][0], "x"), (RATES[-2][0], 0.05), RATES[0]]
    rows += [(NOW + HOUR, 1e-5)]
    found = read(written(tmp_path / "a.csv", csv(rows, "time,rate")))
    assert found.report.left_out == {
        "in the future": 1,
        "whose rate is not a number": 1,
        "above the venue's cap of 4 % an hour": 1,
        "repeated": 1,
    }
    assert found.report.first_bad == "row 46: whose rate is not a number"
    assert len(found.time) == 45


def test_a_settlement_that_two_programs_wrote_is_one(tmp_path: Path) -> None:
    found = read(written(tmp_path / "a.csv", rates([*RATES, (RATES[5][0] - 37, RATES[5][1])])))
    assert found.report.left_out == {"repeated": 1}
    assert len(found.time) == len(RATES)


def test_one_rate_is_taken_as_hourly_and_said(tmp_path: Path) -> None:
    found = read(written(tmp_path / "a.csv", rates(RATES[:1])))
    assert found.rates()[0] == RATES[0]
    assert "one rate, taken as hourly" in found.report.notes
