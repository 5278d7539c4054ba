"""Files that hold a table for each coin: the one of the coin is read, and no other."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import described
from hyperdrift.errors import BadInput
from tests.daemon.ingest.tables.shapes import HEADER, NOW, ROWS, START, STEP, Row, csv, written

NAMES = HEADER.split(",")
LISTS = [list(row) for row in ROWS]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
ONES = [[row[0], 1.0, 1.0, 1.0, 1.0, 1.0] for row in ROWS]
COLUMNS = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)}
META = [{"name": name, "type": "Float64"} for name in NAMES]


def yahoo(times: float = 1) -> pd.DataFrame:
    """Return the bars of two coins under a header of two levels."""
    frame = pd.DataFrame(COLUMNS).rename(columns=str.title)
    frame.index = pd.to_datetime(frame.pop("T"), unit="ms", utc=True).rename("Datetime")
    frame["Volume"] = (frame["Volume"] * times).round(6 if times == 1 else 0)
    pair = {"ETH-USD": frame * 0 + 1, "BTC-USD": frame}
    return pd.concat(pair, axis=1, names=["Ticker", "Price"])


def parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


def joined(frame: pd.DataFrame, mark: str) -> pd.DataFrame:
    return frame.set_axis([mark.join(names) for names in frame.columns], axis=1)


def levels() -> dict[str, str | bytes]:
    both = yahoo()
    swapped = both.swaplevel(axis=1).sort_index(axis=1)
    return {
        "two_levels.parquet": parquet(both),
        "two_levels_swapped.parquet": parquet(swapped),
        "two_levels_reset.parquet": parquet(both.reset_index()),
        "one_coin.parquet": parquet(both[["BTC-USD"]]),
        "two_levels.csv": both.to_csv(),
        "two_levels_swapped.csv": swapped.to_csv(),
        "one_coin.csv": swapped.drop(columns="ETH-USD", level="Ticker").to_csv(),
        "no_names.csv": both.rename_axis([None, None], axis=1).to_csv(),
        "split.json": str(both.to_json(orient="split", date_format="iso")),
        "coin_first.csv": joined(both, "_").to_csv(),
        "coin_last.parquet": parquet(joined(swapped, " ")),
        "merged_cells.csv": ";ETH;;;;;BTC;;;;\nDate" + ";Open;High;Low;Close;Volume" * 2 + "\n"
        + csv(header="", sep=";", row=lambda r: [r[0], 1, 1, 1, 1, 1, *r[1:]]),
        "units.csv": csv().replace("volume\n", "volume\nms,USD,USD,USD,USD,BTC\n", 1),
        "small_letters.csv": joined(both, "_").rename(columns=str.lower).to_csv(),
    }  # fmt: skip


READ: dict[str, str | bytes] = levels() | {
    name: json.dumps(document)
    for name, document in {
        "lists.json": {"ETH": ONES, "BTC": LISTS, "SOL": ONES},
        "one_list.json": {"BTC": LISTS},
        "records.json": {"BTC": RECORDS, "ETH": RECORDS[:3]},
        "pairs.json": {"ETH/USDC:USDC": ONES, "BTC/USDC:USDC": LISTS},
        "small_letters.json": {"pepe": ONES, "btc": LISTS},
        "coins_and_intervals.json": {"ETH": {"5m": ONES}, "BTC": {"5m": LISTS, "1h": ONES[:2]}},
        "intervals_and_coins.json": {"1h": {"BTC": ONES[:2]}, "5m": {"BTC": LISTS, "ETH": ONES}},
        "keys_with_intervals.json": {"BTC_5m": LISTS, "BTC_1h": ONES[:2], "ETH_5m": ONES},
        "columns.json": {"BTC": COLUMNS, "ETH": COLUMNS},
        "inside.json": {"code": 0, "data": {"BTC": LISTS, "ETH": ONES}},
        "objects.json": [{"symbol": "ETH", "bars": ONES}, {"symbol": "BTC", "bars": LISTS}],
        "one_object.json": [{"symbol": "BTC", "interval": "5m", "bars": LISTS}],
        "names_beside_rows.json": {"fields": NAMES, "items": LISTS},
        "clickhouse.json": {"meta": META, "data": LISTS, "rows": 24},
        "clickhouse_records.json": {"meta": META, "data": RECORDS, "rows": 24},
        "influx.json": {"results": [{"series": [{"columns": NAMES, "values": LISTS}]}]},
        "mongo.json": [{**row, "_id": {"$oid": "a"}, "t": {"$date": {"$numberLong": str(row["t"])}}}
                       for row in RECORDS],
    }.items()
}  # fmt: skip


def read(path: Path, **said: Any) -> TableOfBars:
    wanted = replace(described(**said), coin="BTC", interval_ms=STEP, now_ms=NOW)
    return read_bars(path, wanted)


def rows_of(table: TableOfBars) -> list[Row]:
    return [(b.t, b.open, b.high, b.low, b.close, b.volume) for b in table.bars.bars()]


@pytest.mark.parametrize("name", READ)
def test_the_table_of_the_coin_is_read_to_the_last_bit(name: str, tmp_path: Path) -> None:
    table = read(written(tmp_path / name, READ[name]))
    assert rows_of(table) == ROWS
    assert table.report.left_out == {}


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "others.json": (json.dumps({"ETH": ONES, "SOL": ONES}), "is of ETH, SOL, not BTC"),
    "markets.json": (json.dumps({"BTC/USDT": ONES, "BTC/USDC:USDC": LISTS}),
                     r"several tables \(BTC/USDT, BTC/USDC:USDC\)"),
    "others.parquet": (parquet(yahoo()[["ETH-USD"]]), "is of ETH-USD, not BTC"),
    "units.csv": (csv().replace("volume\n", "volume\nms,USD,USD,USD,USD,USD\n", 1),
                  r"volume \(USD\) counts something else than BTC"),
    "dollars.csv": (yahoo(1000).to_csv(), "Volume counts dollars, as Yahoo does"),
    "dollars.parquet": (parquet(yahoo(1000)), "say --columns volume=Volume if it counts them"),
    "adjusted.csv": (csv(header="Date,Open,High,Low,Close,Adj Close,Volume", row=lambda r: [
        *r[:5], r[4], int(r[5] * 1000)]), "as Yahoo does: write it in BTC"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_tables_that_none_is_sure_of_are_refused(name: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_which_of_the_tables_was_taken_is_said(tmp_path: Path) -> None:
    table = read(written(tmp_path / "a.json", json.dumps({"ETH": ONES, "BTC": LISTS})))
    assert "of 2 tables the one of BTC" in table.report.notes


def test_a_volume_that_a_person_names_is_taken_although_it_is_of_yahoo(tmp_path: Path) -> None:
    table = read(written(tmp_path / "a.csv", yahoo(1000).to_csv()), columns="volume=Volume")
    assert table.bars.volume.tolist() == [round(row[5] * 1000) for row in ROWS]


def test_rates_of_several_coins_are_told_apart_too(tmp_path: Path) -> None:
    rates = [[START + 37 + k * 3_600_000, 1e-5 + k * 1e-7] for k in range(24)]
    twice = [[t, rate * 2] for t, rate in rates]
    file = written(tmp_path / "a.json", json.dumps({"ETH": twice, "BTC": rates}))
    table = read_funding(file, replace(described(), coin="BTC", now_ms=NOW))
    assert table.time.tolist() == [t for t, _ in rates]
    assert table.rate.tolist() == [rate for _, rate in rates]
