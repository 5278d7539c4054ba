"""Further shapes that other programs write, each of a kind that was once read wrongly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as arrow_parquet

from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import described
from hyperdrift.errors import BadInput
from tests.daemon.ingest.tables.shapes import (
    HEADER,
    NOW,
    ROWS,
    START,
    STEP,
    Row,
    candles,
    csv,
    dated,
    lines,
    pushed,
    utc,
    venue,
    written,
)

VALUES = HEADER[1:]
HOUR = 3_600_000
RECORDS = [dict(zip(HEADER.split(","), row, strict=True)) for row in ROWS]
ETHS = [{**record, "open": 1} for record in RECORDS]
UNNAMED = [{k: v for k, v in row.items() if k not in "si"} for row in venue()]
COLUMNS = {name: [row[i] for row in ROWS] for i, name in enumerate(HEADER.split(","))}


def read(path: Path, **said: Any) -> TableOfBars:
    wanted = replace(described(**said), coin="BTC", interval_ms=STEP, now_ms=NOW)
    return read_bars(path, wanted)


def rows_of(table: TableOfBars) -> list[Row]:
    return [(b.t, b.open, b.high, b.low, b.close, b.volume) for b in table.bars.bars()]


def stream() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(COLUMNS)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def single_floats() -> bytes:
    sink = pa.BufferOutputStream()
    columns = {k: pa.array(v, pa.int64() if k == "t" else pa.float32()) for k, v in COLUMNS.items()}
    arrow_parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def nested() -> bytes:
    sink = pa.BufferOutputStream()
    more = {"tokens": pa.array([["a"]] * len(ROWS)), "market": pa.array([{"id": 1}] * len(ROWS))}
    arrow_parquet.write_table(pa.table(COLUMNS | more), sink)
    return bytes(sink.getvalue())


def headed(name: str, row: Any = lambda r: r) -> str:
    return csv(header=name + VALUES, row=row)


READ: dict[str, str | bytes] = {
    "of_arrow.arrows": stream(),
    "single_floats.parquet": single_floats(),
    **{f"{name}.csv": headed(name) for name in (
        "open_time_ms", "klineOpenTime", "ts_ms", "epoch_s", "startedAt", "bar_start")},
    "both_are_closes.csv": headed("time,close_time", lambda r: [r[0] + STEP, r[0] + STEP, *r[1:]]),
    "bar_end.csv": headed("bar_end", lambda r: [r[0] + STEP, *r[1:]]),
    "german.csv": csv(
        header="Datum,Uhrzeit,Eröffnung,Hoch,Tief,Schlusskurs,Volumen", sep=";",
        row=lambda r: [utc(r[0], "%Y-%m-%d"), utc(r[0], "%H:%M"), *(
            str(v).replace(".", ",") for v in r[1:])]).encode("cp1252"),
    "french.csv": csv(header="Date,Ouverture,Plus haut,Plus bas,Clôture,Volume", sep=";"),
    "spanish.csv": csv(header="Fecha,Apertura,Máximo,Mínimo,Último,Volumen"),
    "newest_price.csv": csv(header="Date,Price,Open,High,Low,Vol.", row=lambda r: [
        r[0], r[4], *r[1:4], r[5]]),
    "stars.csv": csv(header="Date,Open*,High,Low,Close**,Volume"),
    "swiss.csv": csv(sep=";", row=lambda r: [
        r[0], *(f"{v:,.5f}".replace(",", "\u2019") for v in r[1:])]),
    "said_to_be_utc.csv": dated("%Y-%m-%d %H:%M", "date").replace("date", "date,tz" + VALUES, 1)
    .replace('",', '",UTC,'),
    "two_arrays.json": json.dumps(RECORDS[:9]) + json.dumps(RECORDS[9:]),
    "comma_lines.json": ",\n".join(map(json.dumps, RECORDS)) + ",\n",
    "by_coin.json": json.dumps({"BTC": RECORDS, "ETH": ETHS}),
    "by_interval.json": json.dumps({"BTC": {"5m": RECORDS, "1h": ETHS[:3]}}),
    "received.jsonl": lines([{"ts": row["data"]["T"] + 70, "msg": row} for row in pushed(venue())]),
    "lengths_by_close.json": json.dumps(
        UNNAMED + [{**row, "T": row["t"] + HOUR - 1, "o": "1", "l": "1"} for row in UNNAMED[::12]]),
    "of_something_else.csv": csv(header=HEADER + ",x", row=lambda r: [*r, "abc"]),
    "name.csv": csv(header=HEADER + ",Name", row=lambda r: [*r, "Bitcoin"]),
    "row_names.csv": csv(header=HEADER + ",id", row=lambda r: [*r, utc(r[0], "BTC-%Y-%m-%d-%H%M")]),
    **{f"{name}.csv": headed(name, lambda r: [r[0] + STEP, *r[1:]]) for name in (
        "Time (close)", "Date (end of bar)", "timestamp [bar close]", "close_ts", "Close Date",
        "datetime_close", "timeEnd", "closing_time")},
    "hyphens.csv": dated("%Y-%m-%d-%H-%M", "date" + VALUES),
    "hyphens_with_s.csv": dated("%Y-%m-%d_%H-%M-%S", "date" + VALUES),
    "HYPERLIQUID-5m.csv": csv(),
    "encoded_twice.json": json.dumps(json.dumps(RECORDS)),
    "nested.parquet": nested(),
    "no_names.csv": csv(header=HEADER + ",market_type,pair_id", row=lambda r: [*r, "spot", 7]),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_a_program_wrote_is_read_to_the_last_bit(name: str, tmp_path: Path) -> None:
    assert rows_of(read(written(tmp_path / name, READ[name]))) == ROWS


REFUSED: dict[str, tuple[str, str]] = {
    **{f"{column}.csv": (csv(header=f"{HEADER},{column}", row=lambda r: [*r, "ETHUSDT"]),
                         "is of ETHUSDT, not BTC") for column in (
        "Name", "trading_pair", "token", "sym", "contract_code", "id")},
    "full_name.csv": (csv(header=HEADER + ",crypto", row=lambda r: [*r, "Ethereum"]), "is of Ethe"),
    "euros.csv": (csv(header=HEADER + ",symbol,currency", row=lambda r: [*r, "BTC", "EUR"]),
                  "is of BTC priced in EUR, not BTC"),
    "currency.csv": (csv(header=HEADER + ",currency", row=lambda r: [*r, "ETH"]), "is of ETH, not"),
    "meta.json": (json.dumps({"meta": {"symbol": "BTC", "currency": "EUR"}, "rows": RECORDS}),
                  "prices are in EUR, not in dollars"),
    "solana.csv": (csv(), "names SOL, not BTC"),
    "ETH5m.csv": (csv(), "names ETH, not BTC"),
    "city.csv": (dated("%Y-%m-%d %H:%M", "Date (America/New_York)" + VALUES), "say which with"),
    "zones.csv": (dated("%Y-%m-%d %H:%M", "date").replace("date", "date,timezone" + VALUES, 1)
                  .replace('",', '",Europe/Berlin,'), "timezone says Europe/Berlin: say --tz"),
    "shortened.csv": (csv(row=lambda r: [*r[:5], "1.2K" if r[5] > 40 else r[5]]), "'1.2K' is no"),
    "ethbtc.csv": (csv(), "names ethbtc, not BTC"),
    "btc_eur_5m.csv": (csv(), "names btc/eur, not BTC"),
    "DYDX-5m.csv": (csv(), "names DYDX, not BTC"),
    "two_headers.csv": (csv(ROWS[:9]) + csv(ROWS[9:], "t,close,high,low,open,volume", lambda r: [
        r[0], r[4], r[2], r[3], r[1], r[5]]), r"another order \(close is where open was\)"),
    "marraskuu.csv": (dated("%d marraskuu %Y %H:%M"), "time is not understood"),
    "half_an_array.json": (json.dumps(RECORDS)[:-30], "fetch or write it again"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_taken_for_something_else_is_refused(name: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)


RATES = [(START + 37 + k * HOUR, 1e-5 + k * 1e-7) for k in range(24)]
FUNDING: dict[str, str] = {
    "realized.json": json.dumps([
        {"fundingRate": rate + 1e-6, "realizedRate": rate, "fundingTime": t} for t, rate in RATES]),
    "lists.json": json.dumps({"time": [t for t, _ in RATES], "rate": [r for _, r in RATES]}),
    "pandas.json": json.dumps({name: {str(k): row[i] for k, row in enumerate(RATES)}
                               for i, name in enumerate(("time", "fundingRate"))}),
    **{f"unit_{k}.csv": csv([(t, rate * factor) for t, rate in RATES], f"time,{name}")
       for k, (name, factor) in enumerate({
           "rate_8hr": 8, "daily_funding_rate": 24, "rate/day": 24, "rate (bp)": 1e4,
           "Funding Rate in %": 100}.items())},
    "freqtrade.json": json.dumps([[*rate, 0.0, 0.0, 0.0, 0.0] for rate in RATES]),
    "by_coin.json": json.dumps({
        coin: [{"time": t, "fundingRate": rate * factor} for t, rate in RATES]
        for coin, factor in (("BTC", 1), ("ETH", 2))}),
    "for_8h.csv": csv(RATES, "time,fundingRate,interval", row=lambda r: [r[0], r[1] * 8, "8h"]),
    "effective.json": json.dumps([
        {"ticker": "BTC-USD", "rate": str(rate), "price": "60000", "effectiveAt": t}
        for t, rate in RATES]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNDING)
def test_rates_as_other_programs_write_them_are_hourly_fractions(name: str, tmp_path: Path) -> None:
    wanted = replace(described(), coin="BTC", now_ms=NOW)
    table = read_funding(written(tmp_path / name, FUNDING[name]), wanted)
    assert table.time.tolist() == [t for t, _ in RATES]
    assert table.rate.tolist() == pytest.approx([rate for _, rate in RATES])


@pytest.mark.parametrize("form", ["\u2212{}", "({})", "\u2212{}%", "({}%)"])
def test_a_negative_rate_is_not_lost_for_the_sign_that_it_has(form: str, tmp_path: Path) -> None:
    percent = 100 if "%" in form else 1
    rows = [(t, -rate if k == 7 else rate) for k, (t, rate) in enumerate(RATES)]
    plain = "{}%" if percent > 1 else "{}"
    text = csv(rows, "time,rate", row=lambda r: [
        r[0], (form if r[1] < 0 else plain).format(abs(r[1]) * percent)])  # fmt: skip
    table = read_funding(written(tmp_path / "a.csv", text), replace(described(), now_ms=NOW))
    assert table.rate.tolist() == pytest.approx([rate for _, rate in rows])


def test_rates_of_no_full_hour_are_refused(tmp_path: Path) -> None:
    for past in (30, 45):
        text = csv([(t + past * 60_000, rate) for t, rate in RATES], "time,rate")
        with pytest.raises(BadInput, match=f"{past} minutes past the hour.* say --tz"):
            read_funding(written(tmp_path / "a.csv", text), replace(described(), now_ms=NOW))
    late = csv([(t + 180_000, rate) for t, rate in RATES], "time,rate")
    table = read_funding(written(tmp_path / "a.csv", late), replace(described(), now_ms=NOW))
    assert len(table.time) == len(RATES)


def test_a_time_that_a_person_names_is_a_close_if_its_name_says_so(tmp_path: Path) -> None:
    text = csv(header="opened,Bar closed" + VALUES, row=lambda r: [r[0], r[0] + STEP, *r[1:]])
    file = written(tmp_path / "a.csv", text)
    assert rows_of(read(file, columns="time=Bar closed")) == ROWS
    assert rows_of(read(file, columns="time=opened")) == ROWS
    late = read(file, columns="time=Bar closed", stamp="open")
    assert late.bars.t[0] == START + STEP


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder: write the names of its files"):
        read(tmp_path)


def test_rates_for_no_time_that_the_venue_knows_are_refused(tmp_path: Path) -> None:
    odd = csv(RATES, "time,fundingRate,interval", row=lambda r: [*r, "5m"])
    with pytest.raises(BadInput, match="24 without the hours of its rate"):
        read_funding(written(tmp_path / "odd.csv", odd), replace(described(), now_ms=NOW))


def test_bitmex_stamps_its_bars_by_their_close(tmp_path: Path) -> None:
    header = "timestamp,symbol" + VALUES + ",homeNotional"
    rows = csv(header=header, row=lambda r: [r[0] + STEP, "XBTUSD", *r[1:5], 1e6, r[5]])
    table = read(written(tmp_path / "xbt.csv", rows), columns="volume=homeNotional")
    assert rows_of(table) == ROWS


def test_payments_are_known_also_with_their_currency(tmp_path: Path) -> None:
    paid = csv(RATES, "time,payment (USDC),rate", row=lambda r: [r[0], -1, r[1]])
    with pytest.raises(BadInput, match="payments of a person"):
        read_funding(written(tmp_path / "paid.csv", paid), replace(described(), now_ms=NOW))


def test_a_late_line_in_latin_is_counted_and_spoils_nothing(tmp_path: Path) -> None:
    rows = candles(600)
    text = csv(rows) + "Quelle: B\u00f6rse\n"
    table = read(written(tmp_path / "late.csv", text.encode("latin-1")))
    assert rows_of(table) == rows
    assert table.report.left_out == {"with 1 columns instead of 6": 1}
