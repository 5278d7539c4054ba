"""Files of candles as people have them: read to the last bit, or refused with what to do."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as arrow_parquet

from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
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
    klines,
    lines,
    pushed,
    utc,
    venue,
    written,
)

CSV = csv()
FRAME = pd.DataFrame(ROWS, columns=HEADER.split(","))
INDEXED = FRAME.assign(t=pd.to_datetime(FRAME.t, unit="ms", utc=True)).set_index("t")
RECORDS = FRAME.to_dict("records")
LISTS = [list(row) for row in ROWS]
MT5 = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"


def read(path: Path, coin: str = "BTC", ms: int = STEP, now: int = NOW, **said: Any) -> TableOfBars:
    wanted = replace(described(**said), coin=coin, interval_ms=ms, now_ms=now)
    return read_bars(path, wanted)


def rows_of(table: TableOfBars) -> list[Row]:
    return [(b.t, b.open, b.high, b.low, b.close, b.volume) for b in table.bars.bars()]


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return packed.getvalue()


def grouped(mark: str, decimal: str, row: Row) -> list[str]:
    values = [f"{v:,.5f}".replace(",", "@").replace(".", decimal) for v in row[1:]]
    return [str(row[0]), *(value.replace("@", mark) for value in values)]


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    arrow_parquet.write_table(table, sink)
    return sink.getvalue()


def local(row: Row) -> list[Any]:
    at = datetime.fromtimestamp(row[0] / 1000, ZoneInfo("Europe/Berlin"))
    return [at.strftime("%Y-%m-%d %H:%M"), *row[1:]]


def by_index(frame: pd.DataFrame, orient: Any) -> str:
    return str(frame.to_json(orient=orient, date_format="iso"))


READ: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    # containers and encodings
    "no_suffix": (CSV, {}),
    "lies.parquet": (CSV, {}),
    "lies.json": (gzip.compress(CSV.encode()), {}),
    "a.csv.bz2": (bz2.compress(CSV.encode()), {}),
    "a.csv.xz": (lzma.compress(CSV.encode()), {}),
    "a.csv.zst": (pa.compress(CSV.encode(), codec="zstd", asbytes=True), {}),
    "mac.zip": (zipped("d/", "d/a.csv", "__MACOSX/d/._a.csv"), {}),
    "bom.csv": (b"\xef\xbb\xbf" + CSV.encode(), {}),
    "utf16.csv": (CSV.encode("utf-16"), {}),
    "utf16_no_bom.csv": (CSV.encode("utf-16-be"), {}),
    "crlf.csv": (CSV.replace("\n", "\r\n"), {}),
    "latin.csv": (CSV.replace("open", "Er\xf6ffnung").encode("latin-1"),
                  {"columns": "open=Er\xf6ffnung"}),
    # delimited text
    "tabs.txt": (csv(sep="\t"), {}),
    "bars.txt": (csv(sep="|"), {}),
    "spaces.txt": (csv(sep=" "), {}),
    "comma_space.csv": (csv(sep=", "), {}),
    "quoted.csv": (csv(row=lambda r: [f'"{v}"' for v in r]), {}),
    "sep_line.csv": ("sep=;\n" + csv(sep=";"), {}),
    "preamble.csv": ("Exported by X\n\nBTCUSDT 5 minutes\n" + CSV, {}),
    "footer.csv": (CSV + "Total: 24\n# end\n\n", {}),
    "trailing.csv": (csv(row=lambda r: [*r, ""]), {}),
    "trailing_two.csv": (csv(row=lambda r: [*r, "", ""]), {}),
    "trailing_header.csv": (csv(header=HEADER + ",,", row=lambda r: [*r, ""]), {}),
    "stamp_of_day.csv": (csv(header="Date,Timestamp" + HEADER[1:], row=lambda r: [
        utc(r[0], "%Y-%m-%d"), utc(r[0], "%H:%M"), *r[1:]]), {}),
    "market.csv": (csv(header=HEADER + ",symbol,market", row=lambda r: [*r, "BTC", "perp"]), {}),
    "twice.csv": (CSV + CSV, {}),
    "newest_first.csv": (csv(ROWS[::-1]), {}),
    "decimal_comma.csv": (csv(sep=";", row=lambda r: [str(v).replace(".", ",") for v in r]), {}),
    "german.csv": (csv(sep=";", row=lambda r: grouped(".", ",", r)), {}),
    "french.csv": (csv(sep=";", row=lambda r: grouped("\u202f", ",", r)), {}),
    "swiss.csv": (csv(sep=";", row=lambda r: grouped("'", ".", r)), {}),
    "english.csv": (csv(sep="\t", row=lambda r: grouped(",", ".", r)), {}),
    # no header
    "six.csv": (csv(header=""), {}),
    "BTCUSDT-5m-2026-03.csv": (klines(), {}),
    "us.csv": (klines(per_ms=1000), {}),
    "mt4.csv": (csv(header="", row=lambda r: [utc(r[0], "%Y.%m.%d"), utc(r[0], "%H:%M"), *r[1:]]),
                {}),
    "ascii.csv": (csv(header="", sep=";", row=lambda r: [utc(r[0], "%Y%m%d %H%M%S"), *r[1:]]), {}),
    "by_number.json": (json.dumps([[r[0] // 1000, r[3], r[2], r[1], r[4], r[5]] for r in ROWS]),
                       {"columns": "time=1,low=2,high=3,open=4,close=5,volume=6"}),
    # names of columns
    "mt5.csv": (csv(header=MT5, sep="\t", row=lambda r: [
        utc(r[0], "%Y.%m.%d"), utc(r[0], "%H:%M:%S"), *r[1:5], 17, r[5], 2]), {}),
    "units.csv": (csv(header="Date,Open (USD),High (USD),Low (USD),Close (USD),Volume (BTC)"), {}),
    "cdd.csv": ("https://www.CryptoDataDownload.com\n" + csv(
        ROWS[::-1], "unix,date,symbol,open,high,low,close,Volume USD,Volume BTC",
        lambda r: [r[0] // 1000, utc(r[0]), "BTC/USD", *r[1:5], 7e5, r[5]]), {}),
    "adjusted.csv": (csv(header="Date,Open,High,Low,Close,Adj Close,Volume",
                         row=lambda r: [utc(r[0]), *r[1:5], 1, r[5]]), {}),
    "yfinance.csv": ("Price,Close,High,Low,Open,Volume\nTicker" + ",BTC-USD" * 5 + "\nDate,,,,,\n"
                     + csv(header="", row=lambda r: [utc(r[0]), r[4], r[2], r[3], r[1], r[5]]), {}),
    "index.csv": (csv(header=",open,high,low,close,volume"), {}),
    "from_to.csv": (csv(header="time,high,low,open,volumefrom,volumeto,close",
                        row=lambda r: [r[0] // 1000, r[2], r[3], r[1], r[5], 1, r[4]]), {}),
    "numbered.csv": (csv(header="Datum,Auf,Hoch,Tief,Zu,Menge", sep=";"),
                     {"columns": "time=1,open=2,high=3,low=4,close=5,volume=6"}),
    "OHLCV_USD-5m.csv": (CSV, {}),
    "go.csv": (dated("%Y-%m-%d %H:%M:%S +0000 UTC"), {}),
    "browser.csv": (dated("%d/%m/%Y, %I:%M:%S\u202f%p"), {"day_first": True}),
    "said.csv": (csv(header="Datum,Auf,Hoch,Tief,Zu,Menge", sep=";"),
                 {"columns": "time=Datum,open=Auf,high=Hoch,low=Tief,close=Zu,volume=Menge"}),
    # times
    "time_in_ms.csv": (csv(header="Open time (ms)" + HEADER[1:]), {}),
    "fraction_of_s.csv": (csv(row=lambda r: [r[0] / 1000, *r[1:]]), {}),
    "compact.csv": (dated("%Y%m%d%H%M"), {}),
    "named_month.csv": (dated("%d-%b-%Y %H:%M"), {}),
    "twelve_hours.csv": (dated("%b %d, %Y %I:%M %p"), {}),
    "two_digits.csv": (dated("%y-%m-%d %H:%M"), {}),
    "rfc.csv": (dated("%a, %d %b %Y %H:%M:%S GMT"), {}),
    "day_said.csv": (dated("%d/%m/%Y %H:%M"), {"day_first": True}),
    "zone_said.csv": (csv(row=local), {"tz": "Europe/Berlin"}),
    "offsets.csv": (csv(row=lambda r: [
        utc(r[0] + 3_600_000 * (r[0] // STEP % 3)) + f"+0{r[0] // STEP % 3}:00", *r[1:]]), {}),
    # stamps
    "close_999.csv": (csv(row=lambda r: [r[0] + STEP - 1, *r[1:]]), {}),
    "close_59.csv": (csv(row=lambda r: [utc(r[0] + STEP - 1000), *r[1:]]), {}),
    "close_time.csv": (csv(header="close_time" + HEADER[1:], row=lambda r: [r[0] + STEP, *r[1:]]),
                       {}),
    "close_said.csv": (csv(row=lambda r: [r[0] + STEP, *r[1:]]), {"stamp": "close"}),
    "T.csv": (csv(header="T" + HEADER[1:], row=lambda r: [r[0] + STEP - 1, *r[1:]]), {}),
    # JSON
    "split.json": (by_index(FRAME, "split"), {}),
    "columns.json": (by_index(INDEXED, "columns"), {}),
    "index.json": (by_index(INDEXED, "index"), {}),
    "values.json": (by_index(FRAME, "values"), {}),
    "table.json": (by_index(INDEXED, "table"), {}),
    "lists.json": (json.dumps(FRAME.to_dict("list")), {}),
    "ccxt.json.gz": (gzip.compress(json.dumps(LISTS).encode()), {}),
    "pages.json": (json.dumps([LISTS[:9], LISTS[9:]]), {}),
    "wrapped.json": (json.dumps({"status": "ok", "result": {"symbol": "BTCUSDT", "rows": RECORDS}}),
                     {}),
    "answer.json": (json.dumps({"retCode": 0, "result": {"symbol": "BTCUSDT", "list": [
        [str(v) for v in r] + ["1"] for r in ROWS[::-1]]}}), {}),
    "numbered.json": (json.dumps({"Meta": {"2. Code": "BTC"}, "Series": {utc(r[0]): {
        "1. open": r[1], "2. high": r[2], "3. low": r[3], "4. close": r[4], "5. volume": r[5]}
        for r in ROWS}}), {}),
    "snapshot.json": (json.dumps(venue(), indent=1), {}),
    "snapshot.jsonl": (lines(venue()), {}),
    "mixed.json": (json.dumps(venue(ROWS[:1], interval="1h") + venue() + venue(coin="ETH")), {}),
    # Arrow
    "unnamed.parquet": (parquet(pa.Table.from_pandas(INDEXED.rename_axis(None))), {}),
    "range.parquet": (parquet(pa.Table.from_pandas(FRAME.set_index("t"))), {}),
    "unnamed-range.parquet": (
        parquet(pa.Table.from_pandas(FRAME.set_index("t").rename_axis(None))), {}
    ),
    "tokyo.parquet": (parquet(pa.Table.from_pandas(INDEXED.tz_convert("Asia/Tokyo"))), {}),
    "packed.parquet": (parquet(pa.table({
        name: pa.array(FRAME[name].astype(str)).dictionary_encode() for name in FRAME}
        | {"symbol": pa.array(["BTC"] * len(ROWS)).dictionary_encode()})), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_shape_is_read_to_the_last_bit(name: str, tmp_path: Path) -> None:
    content, said = READ[name]
    assert rows_of(read(written(tmp_path / name, content), **said)) == ROWS


ETH = csv(header=HEADER + ",symbol", row=lambda r: [*r, "ETH/USDC:USDC"])
ONE_DAY = csv(row=lambda r: [utc(r[0], "%Y-%m-%d"), *r[1:]])
WHOLE = [(r[0], 60_001, 60_019, 59_982, 60_000, 1234) for r in ROWS]
REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "two.zip": (zipped("a.csv", "b.csv"), {}, r"holds 2 files \(a.csv, b.csv\), not one"),
    "sheet.xlsx": (zipped("[Content_Types].xml"), {}, "is a workbook: save the sheet as CSV"),
    "sheet.ods": (zipped("mimetype", "content.xml"), {}, "is a workbook: save the sheet as CSV"),
    "cut.csv.gz": (gzip.compress(CSV.encode())[:-20], {}, "cannot be read .*fetch or write it"),
    "page.csv": ("<!DOCTYPE html><html>404", {}, "is a web page"),
    "empty.csv": ("", {}, "it is empty"),
    "header_only.csv": (HEADER + "\n", {}, "has no rows of a table"),
    "bytes.csv": (bytes(range(256)) * 9, {}, "is neither text nor Parquet"),
    "other_marks.csv": (csv(header="").join([HEADER.replace(",", ";") + "\n", ""]), {},
                        "above its rows, which have other columns"),
    "short.csv": ("Aika,Auf,Oben,Unten\n" + csv(header=""), {}, "above its rows"),
    "received.csv": (csv(header="received_at" + HEADER[1:]), {}, "no column for the time"),
    "commas.csv": (csv(row=lambda r: [str(v).replace(".", ",") for v in r]), {},
                   "header of 6 columns over rows of 11"),
    "or_thousands.csv": (csv(WHOLE, row=lambda r: [f'"{v:,}"' for v in r[:1]] and [
        r[0], *(f'"{v:,}"' for v in r[1:])]), {}, r"open '60,001' may be a decimal or thousands"),
    "or_decimals.csv": (csv(WHOLE, sep=";", row=lambda r: [
        r[0], *(f"{v:,}".replace(",", ".") for v in r[1:])]), {}, "say --decimal"),
    "letters.csv": (csv(row=lambda r: [*r[:5], f"{r[5]:.2f}K"]), {}, "volume '.*K' is no number"),
    "other_order.json": (json.dumps([[r[0], r[1], r[4], r[2], r[3], r[5]] for r in ROWS]), {},
                         "24 of 24 rows contradict .* --columns"),
    "eight.json": (json.dumps([[*r, 1, 2] for r in ROWS]), {}, "8 columns without a header"),
    "no_volume.csv": (csv(header=HEADER[:-7], row=lambda r: r[:5]), {}, "no column for the volume"),
    "capital.csv": (csv(header=HEADER + ",marketCap", row=lambda r: [*r, 1]), {},
                    "volume counts something else than BTC"),
    "eth_bars.csv": (CSV, {}, "names eth, not BTC"),
    "quote.csv": (csv(header=HEADER[:-6] + "Volume USDT"), {}, "Volume USDT counts something else"),
    "ticks.csv": (csv([(*r[:5], 0) for r in ROWS]), {}, "volume of 0 in all rows"),
    "twice.csv": (csv(header=HEADER + ",Close", row=lambda r: [*r, 1]), {}, "2 columns for close"),
    "nix.csv": (CSV, {"columns": "open=nix"}, "has no column 'nix': it has t, open"),
    "ambiguous.csv": (dated("%d/%m/%Y %H:%M"), {}, "say --day-first or --month-first"),
    "two_orders.csv": (csv([(t, *ROWS[0][1:]) for t in ("13/01/2026", "01/13/2026")]), {},
                       "no column of dates of one order"),
    "two_formats.csv": (dated("%Y-%m-%d %H:%M") + csv(
        header="", row=lambda r: [utc(r[0], "%d.%m.%Y %H:%M"), *r[1:]]), {}, "of two formats"),
    "two_units.csv": (klines(ROWS[:9]) + klines(ROWS[9:], 1000), {}, "microseconds in row 10"),
    "half_zoned.csv": (csv(row=lambda r: [utc(r[0]) + "Z" * (r[0] % 7 > 3), *r[1:]]), {},
                       "carry a zone and some do not"),
    "serial.csv": (csv(row=lambda r: [r[0] / 86_400_000 + 25_569, *r[1:]]), {}, "day number"),
    "rounded.csv": (csv(row=lambda r: [f"{r[0]:.5E}", *r[1:]]), {}, "rounded by a spreadsheet"),
    "local.csv": (dated("%Y-%m-%d %H:%M", "Local time" + HEADER[1:]), {}, "say which with --tz"),
    "zone_named.csv": (dated("%Y-%m-%d %H:%M", "Date (UTC+8)" + HEADER[1:]), {},
                       r"names a time zone \(UTC\+8\)"),
    "zone.csv": (dated("%Y-%m-%d %H:%M"), {"tz": "Berlin"}, "'Berlin' is no time zone"),
    "T_or_t.csv": (csv(header="T" + HEADER[1:]), {}, "say --stamp open or --stamp close"),
    "phase.csv": (csv(row=lambda r: [r[0] + 120_000, *r[1:]]), {}, "open 2m after"),
    "two_times.csv": (csv(header="time,timestamp" + HEADER[1:],
                          row=lambda r: [r[0], r[0] + 70_000, *r[1:]]), {}, "and differ"),
    "two_texts.csv": (csv(header="time,datetime" + HEADER[1:],
                          row=lambda r: [utc(r[0] + 3_600_000), utc(r[0]), *r[1:]]), {},
                      "time and datetime may be the time, and differ"),
    "averages.json": (json.dumps([[*r[:5], r[4], r[5]] for r in ROWS]), {}, "6 holds prices"),
    "days.csv": (ONE_DAY, {}, "rows of one time that differ: open of 2026-03-01 00:00"),
    "stacked.csv": (CSV + csv([(r[0], 1, 1, 1, 1, 1) for r in ROWS], ""), {}, "and 23 more times"),
    "eth.csv": (ETH, {}, "is of ETH/USDC:USDC, not BTC"),
    "euro.csv": (csv(header=HEADER + ",pair", row=lambda r: [*r, "BTC/EUR"]), {}, "is of BTC/EUR"),
    "ETHUSDT-5m.csv": (CSV, {}, "names ETHUSDT, not BTC"),
    "above.csv": ("Symbol: ETHUSDT\n" + CSV, {}, "names ETHUSDT, not BTC"),
    "keyed.json": (json.dumps({"ETH": RECORDS}), {}, "names ETH, not BTC"),
    "inner.json": (json.dumps({"data": {"ETH": {"candles": RECORDS}}}), {}, "names ETH, not BTC"),
    "says.json": (json.dumps({"symbol": "ETH-USD", "candles": RECORDS}), {}, "of ETH-USD, not BTC"),
    "several.json": (json.dumps({"old": RECORDS, "new": RECORDS}), {}, r"tables \(old, new\)"),
    "hours.json": (json.dumps(venue(interval="1h")), {}, "bars of 1h: give it with that"),
    "hours.csv": (csv(candles(step=3_600_000)), {}, "bars 1h apart, not 5m: say --interval 1h"),
    "weeks.csv": (csv(candles(step=7 * 86_400_000)), {"ms": 86_400_000}, "7d apart"),
    "BTC-1h-one.csv": (csv(ROWS[:1]), {}, "say --interval 1h"),
    "part.csv": (csv(candles(4, 60_000, START + 60_000)), {}, "no whole 5m bar of its 1m bars"),
    "ahead.csv": (CSV, {"now": START}, "no closed candle: 24 not closed yet are left out"),
    "bad.csv": (csv(row=lambda r: [r[0], *[0] * 5]), {}, "24 where a price is not positive"),
    "numbers.json": (json.dumps(venue(interval="9" * 400)), {}, "holds bars of 9999"),
    "escape.csv": (csv(header=HEADER + ",coin", row=lambda r: [*r, "\x1b[31mE"]), {},
                   r"is of \?\[31mE, not BTC"),
    "contradict.csv": (csv(header="t,low,high,open,close,volume"), {}, "are other columns than"),
    "by_rows.json": (json.dumps(venue(candles(step=3_600_000))), {}, "of 5m, but lie 1h apart"),
    "ethusdt_1m.csv": (CSV, {}, "names ethusdt, not BTC"),
    "needless.csv": (CSV, {"tz": "Europe/Berlin"}, "leave out --tz"),
    "deep.json": ("[" * 99_999, {}, "nested too deeply|no JSON"),
    "scalars.json": ("[1, 2, 3]", {}, "3 that are no records"),
    "conflict.jsonl": (lines(pushed(venue() + venue([(START, 1, 1, 1, 1, 99)]))), {}, "differ"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_sure_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, said, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(written(tmp_path / name, content), **said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "coin",
    [
        *("BTC", "btc", "BTC/USDC:USDC", "BTCUSDT", "BTC-PERP", "BTC_USDC", "BTCUSD_PERP", "XBT"),
        *("BINANCE:BTCUSDT", "COINBASE:BTC-USD", "XXBTZUSD", "X:BTCUSD", "tBTCUSD", "BTCUSDT.P"),
    ],
)
def test_a_coin_is_known_by_the_names_of_exchanges(coin: str, tmp_path: Path) -> None:
    both = csv(header=HEADER + ",symbol", row=lambda r: [*r, coin])
    both += csv([(r[0], 1, 1, 1, 1, 1) for r in ROWS], "", lambda r: [*r, "ETHBTC"])
    found = read(written(tmp_path / "a.csv", both))
    assert rows_of(found) == ROWS
    assert found.report.left_out == {"of other coins (ETHBTC)": 24}


@pytest.mark.parametrize(
    "interval", ["5m", "5", "300", "5min", "PT5M", "FIVE_MINUTE", "M5", "5 minutes", "5T"]
)
def test_an_interval_is_known_by_its_names(interval: str, tmp_path: Path) -> None:
    both = csv(header=HEADER + ",interval", row=lambda r: [*r, interval])
    both += csv([(ROWS[0][0], 1, 1, 1, 1, 1)], "", lambda r: [*r, "4h"])
    assert rows_of(read(written(tmp_path / "a.csv", both))) == ROWS


@pytest.mark.parametrize("order", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y"])
def test_days_above_twelve_tell_the_order_of_a_whole_column(order: str, tmp_path: Path) -> None:
    rows = candles(40, 86_400_000)
    file = written(tmp_path / "a.csv", csv(rows, row=lambda r: [utc(r[0], order), *r[1:]]))
    assert rows_of(read(file, ms=86_400_000)) == rows


def test_hours_that_a_change_of_the_clock_repeats_or_skips_are_left_out(tmp_path: Path) -> None:
    for start, reason in ((1_792_886_400_000, "twice"), (1_774_742_400_000, "not exist")):
        rows = candles(48, STEP, start)
        found = read(written(tmp_path / "a.csv", csv(rows, row=local)), tz="Europe/Berlin")
        lost = {k: v for k, v in found.report.left_out.items() if reason in k}
        assert sum(lost.values()) == (24 if reason == "twice" else 0)
        assert set(rows_of(found)) <= set(rows)
    gap = csv(row=lambda r: [utc(r[0] - START + 1_774_747_800_000), *r[1:]])
    found = read(written(tmp_path / "a.csv", gap), tz="Europe/Berlin")
    assert found.report.left_out == {"at a local time that does not exist": 12}


def test_short_bars_are_joined_to_long_ones_that_are_whole(tmp_path: Path) -> None:
    rows = candles(25, 60_000)
    found = read(written(tmp_path / "a.csv", csv(rows[:7] + rows[8:])))
    assert found.report.notes[-1] == "joined 1m to 5m: 20 of 24 rows in 4 bars"
    assert found.report.left_out == {"in 5m bars that are not whole": 4}
    first = rows[:5]
    assert rows_of(found)[0] == (
        START,
        first[0][1],
        max(r[2] for r in first),
        min(r[3] for r in first),
        first[-1][4],
        pytest.approx(sum(r[5] for r in first)),
    )
    seconds = candles(120, 1000)
    assert len(read(written(tmp_path / "b.csv", csv(seconds)), ms=60_000).bars) == 2


def test_of_the_states_of_a_bar_the_last_one_stays(tmp_path: Path) -> None:
    early = [(t, o, o, o, o, v / 2) for t, o, _, _, _, v in ROWS]
    states = [row for pair in zip(early, ROWS, strict=True) for row in pair]
    chatter = [{"channel": "pong"}, {"channel": "trades", "data": [{"coin": "BTC", "px": "1"}]}]
    for content in (
        lines(chatter + pushed(venue(states))),
        lines(pushed(venue(states[::-1]))),
        json.dumps(
            {
                "note": "x",
                "rows": [{"recv_ns": 1, "frame": message} for message in pushed(venue(states))],
            }
        ),
        lines(venue(states)),
    ):
        found = read(written(tmp_path / "a.jsonl", content))
        assert rows_of(found) == ROWS
        assert found.report.left_out["earlier states of a bar"] == len(ROWS)
    with pytest.raises(BadInput, match="differ"):
        read(written(tmp_path / "a.csv", csv(states)))


def test_open_bars_of_other_exchanges_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"e": "kline", "s": "BTCUSDT", "k": row | {"L": 5, "x": closed}}
        for row in venue()
        for closed in (False, True)
    ]
    found = read(written(tmp_path / "a.jsonl", lines(rows)))
    assert rows_of(found) == ROWS
    assert found.report.left_out == {"not closed yet by x": 24}


def test_rows_that_are_none_are_counted_by_reason(tmp_path: Path) -> None:
    text = CSV + "\n".join(
        [
            HEADER,
            "# remark",
            "Total,24",
            f"{START},nan,1,1,1,1",
            "x,1,1,1,1,1",
            f"{START},0,0,0,0,0",
            "",
        ]
    )
    found = read(written(tmp_path / "a.csv", text))
    assert rows_of(found) == ROWS
    assert found.report.left_out == {
        "that repeat the header": 1,
        "comment lines": 1,
        "with 2 columns instead of 6": 1,
        "whose open is not a number": 1,
        "whose time is not understood": 1,
        "where a price is not positive": 1,
    }
    assert found.report.rows == len(ROWS) + 6
    cut = read(written(tmp_path / "a.jsonl", lines(venue())[:-30]))
    assert cut.report.left_out == {"lines that are no JSON": 1}
    assert rows_of(cut) == ROWS[:-1]


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_number_that_is_cut_off_at_the_end_is_not_taken_for_a_whole_one(
    lost: int, tmp_path: Path
) -> None:
    text = csv([*ROWS[:-1], (*ROWS[-1][:5], 31.12345)])
    assert len(read(written(tmp_path / "a.csv", text[:-1])).bars) == len(ROWS)  # no newline
    found = read(written(tmp_path / "a.csv", text[: -1 - lost]))
    last = found.bars.volume[-1]
    assert last == pytest.approx(31.12345, abs=1e-4) or len(found.bars) == len(ROWS) - 1
    if lost > 1:
        assert sum(found.report.left_out.values()) == 1


def test_a_day_and_an_hour_in_two_columns_belong_together(tmp_path: Path) -> None:
    rows = candles(30, 3_600_000)
    text = csv(
        rows,
        "Date,Hour" + HEADER[1:],
        lambda r: [utc(r[0], "%Y-%m-%d"), int(utc(r[0], "%H")), *r[1:]],
    )
    assert rows_of(read(written(tmp_path / "a.csv", text), ms=3_600_000)) == rows


def test_a_stray_quotation_mark_loses_one_row(tmp_path: Path) -> None:
    text = CSV.replace(f"{ROWS[3][0]},", f'{ROWS[3][0]},"')
    found = read(written(tmp_path / "a.csv", text))
    assert rows_of(found) == ROWS[:3] + ROWS[4:] or found.report.lost == len(ROWS) - len(found.bars)


def test_numbers_are_exact_also_where_a_float_is_hard_to_read(tmp_path: Path) -> None:
    hard = ["2.2250738585072014", "0.1000000000000000055511151231257827", "9007199254740993.5e-10"]
    hard += ["123456789.12345679", "5.0000000000000004", "8.41e21"[:4] + "0000000000000001"]
    for k, text in enumerate(hard):
        row = f"{START * 10**6 + 1},{text},{text},{text},{text},{text}"
        names = HEADER.split(",")
        record = (
            "{" + ",".join(f'"{n}":{v}' for n, v in zip(names, row.split(","), strict=True)) + "}"
        )
        for name, content in (("a.csv", f"{HEADER}\n{row}\n"), ("a.json", f"[{record}]")):
            found = read(written(tmp_path / f"{k}{name}", content))
            assert rows_of(found) == [(START, *[float(text)] * 5)]


def test_what_was_judged_is_said(tmp_path: Path) -> None:
    cases = {
        "times in microseconds": klines(per_ms=1000),
        "no header: read as time, open, high, low, close, volume": csv(header=""),
        "stamped by the close": csv(row=lambda r: [r[0] + STEP - 1, *r[1:]]),
        "volume from Volume BTC": csv(header=HEADER[:-6] + "Volume BTC"),
        "separated by semicolons": csv(sep=";"),
        "times without a zone read as UTC": dated("%Y-%m-%d %H:%M"),
        "read as Latin-1 text, because it is no UTF-8": "Kurse der B\xf6rse\n" + CSV,
    }
    for note, text in cases.items():
        file = written(tmp_path / "a.csv", text.encode("latin-1"))
        assert note in read(file).report.notes


def test_bytes_are_told_as_they_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", CSV)
    told: list[int] = []
    read_bars(file, on_bytes=told.append)
    assert sum(told) == file.stat().st_size


def test_an_index_that_numbers_the_rows_is_no_time(tmp_path: Path) -> None:
    numbered = parquet(pa.Table.from_pandas(FRAME.drop(columns="t")))
    with pytest.raises(BadInput, match="time"):
        read(written(tmp_path / "x.parquet", numbered))


def test_a_few_bars_with_gaps_between_them_have_the_interval_that_is_asked_for(
    tmp_path: Path,
) -> None:
    apart = [ROWS[0], ROWS[17]]
    assert rows_of(read(written(tmp_path / "x.csv", csv(apart)))) == apart
    with pytest.raises(BadInput, match="50m"):
        read(written(tmp_path / "x.csv", csv(candles(24, 10 * STEP))))
