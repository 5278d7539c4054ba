"""The volume counts coins; what other columns prove to be contracts or dollars is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
from daemon.ingest.tables.reading import described
from hyperdrift.errors import BadInput
from tests.daemon.ingest.tables.shapes import NOW, ROWS, STEP, Row, csv, written

OKX = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
HTX = "id,open,close,low,high,amount,vol,count"


def read(path: Path, ms: int = STEP, **said: Any) -> TableOfBars:
    return read_bars(path, replace(described(**said), coin="BTC", interval_ms=ms, now_ms=NOW))


def volumes(table: TableOfBars) -> list[float]:
    return [float(volume) for volume in table.bars.volume]


def dollars(row: Row) -> float:
    """Return the turnover of a bar, whose average price lies inside it."""
    return round(float(row[5] * (row[1] + row[4]) / 2), 4)


def okx(name: str, *, contracts: float) -> str:
    return csv(header=OKX, row=lambda r: [
        name, *r[1:5], r[5] * contracts, r[5], dollars(r), r[0], 1])  # fmt: skip


def htx(row: Row) -> list[Any]:
    t, open_, high, low, close, volume = row
    return [t // 1000, open_, close, low, high, volume, dollars(row), 5]


def inverse(row: Row) -> list[Any]:
    return [*row[:5], round(dollars(row) / 100), row[0] + STEP - 1, row[5], 5, 1, 1, 0]


OF_BYBIT = json.dumps({"result": {"symbol": "BTCUSD", "list": [
    [str(v) for v in (*row[:5], round(dollars(row)), row[5])] for row in ROWS]}})  # fmt: skip
OF_GATE = json.dumps(
    [
        {"t": t // 1000, "o": o, "h": h, "l": low, "c": c, "v": round(v * 10_000), "sum": sum_}
        for (t, o, h, low, c, v), sum_ in zip(ROWS, map(dollars, ROWS), strict=True)
    ]
)
REFUSED: dict[str, tuple[str, str, str]] = {
    "contracts.csv": (okx("BTC-USDT-SWAP", contracts=100), "", "say --columns volume=vol_ccy"),
    "turnover.csv": (csv(header=HTX, row=htx), "time=id", "say --columns volume=amount"),
    "coin_margined.csv": (csv(header="", row=inverse), "",
                          "say --columns time=1,open=2,high=3,low=4,close=5,n=9,volume=8"),
    "inverse.json": (OF_BYBIT, "", "say --columns time=1,open=2,high=3,low=4,close=5,volume=7"),
    "contracts.json": (OF_GATE, "", "v counts contracts of 0.0001 BTC, by its sum"),
    "base.csv": (csv(header="t,open,high,low,close,volume,base_volume",
                     row=lambda r: [*r[:5], dollars(r), r[5]]), "", "volume=base_volume"),
    "alone.csv": (csv([(*r[:5], 5000 * dollars(r)) for r in ROWS]), "", "dollars a day"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_volume_that_counts_something_else_is_refused(name: str, tmp_path: Path) -> None:
    content, columns, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(written(tmp_path / name, content), columns=columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["contracts.csv", "turnover.csv", "coin_margined.csv"])
def test_the_column_that_the_line_names_counts_coins(name: str, tmp_path: Path) -> None:
    content, columns, sentence = REFUSED[name]
    named = sentence.removeprefix("say --columns ")
    table = read(written(tmp_path / name, content), columns=f"{columns},{named}".strip(","))
    assert volumes(table) == [row[5] for row in ROWS]


def test_a_volume_beside_its_turnover_is_read(tmp_path: Path) -> None:
    for content in (
        csv(header=OKX, row=lambda r: ["BTC-USDT", *r[1:6], dollars(r), dollars(r), r[0], 1]),
        csv(header="t,open,high,low,close,volume,turnover", row=lambda r: [*r, dollars(r)]),
        csv(header="t,open,high,low,close,volume,base_volume", row=lambda r: [*r, r[5]]),
        csv(header="t,open,high,low,close,volume,amount", row=lambda r: [*r, 1]),
        csv(header="", row=lambda r: [*r, 17]),
        csv(
            header="t,open,high,low,close,volume,taker_volume,taker_quote_volume,usd_in_k",
            row=lambda r: [
                *r,
                r[5] * (r[0] // STEP % 7),
                dollars(r) * (r[0] // STEP % 7),
                dollars(r) / 1000,
            ],
        ),
    ):
        assert volumes(read(written(tmp_path / "a.csv", content))) == [row[5] for row in ROWS]


def test_a_price_of_a_round_number_proves_nothing(tmp_path: Path) -> None:
    rows = [(r[0], 100.0, 100.5 + r[5] / 100, 99.5, 100.0, r[5]) for r in ROWS]
    text = csv(rows, "t,open,high,low,close,volume,base_volume", lambda r: [*r, r[5]])
    assert volumes(read(written(tmp_path / "a.csv", text))) == [row[5] for row in rows]
