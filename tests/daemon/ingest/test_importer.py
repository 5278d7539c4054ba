"""Files that people bring are taken whole or refused with one line."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from daemon.core.bars import Funding, Provenance
from daemon.ingest.importer import BarsReport, Report, import_files
from daemon.ingest.tables.bar_tables import read_bars
from daemon.store.bar_columns import Difference
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

BTC = SlotName("BTC", "5m")
START = 1_749_999_600_000  # a full hour
NOW = START + 10_000 * 3_600_000


def csv(path: Path, step_ms: int, bars: int = 60, price: float = 100.0) -> Path:
    rows = (
        f"{START + step_ms * i},{price},{price + i},{price - 1},{price + i / 2},{1 + i}\n"
        for i in range(bars)
    )
    path.write_text("t,open,high,low,close,volume\n" + "".join(rows))
    return path


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as opened:
        yield opened


def imported(store: Store, *files: Path, kind: str = "bars", now_ms: int = NOW) -> list[Report]:
    return list(import_files(store, BTC, files, kind, now_ms=now_ms))


def test_bars_and_funding_go_into_the_store_and_each_file_gets_a_line(store, tmp_path) -> None:
    rates = tmp_path / "funding.csv"
    rates.write_text(f"time,rate\n{START},0.00001\n{START + 3_600_000},0.00002\n")
    bars = csv(tmp_path / "bars.csv", 300_000)
    undo = "; to take it back: hyperdrift bars forget --coin BTC"
    assert list(map(str, imported(store, bars))) == [
        f"bars.csv: 60 bars added, 0 already there{undo} --interval 5m --source bars.csv"
    ]
    assert list(map(str, imported(store, rates, kind="funding"))) == [
        f"funding.csv: 2 rates added, 0 already there{undo} --kind funding --source funding.csv"
    ]
    assert len(store.bars(BTC)["t"]) == 60
    assert store.funding("BTC", 0, NOW)[-1].time == START + 3_600_000


def test_the_same_file_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    bars = csv(tmp_path / "bars.csv", 300_000)
    imported(store, bars)
    before = store.held(BTC, 0, NOW)
    (again,) = imported(store, bars)
    assert str(again).startswith("bars.csv: 0 bars added, 60 already there;")
    assert store.held(BTC, 0, NOW) == before


def test_an_overlap_is_compared_and_what_the_venue_said_stays(store, tmp_path) -> None:
    path = csv(tmp_path / "bars.csv", 300_000)
    bars = read_bars(path).bars.bars()
    other = msgspec.structs.replace(bars[4], high=bars[4].high * 1.25)
    store.put_bars(BTC, [*bars[:4], other], Provenance.REST)
    pushed = msgspec.structs.replace(bars[5], volume=bars[5].volume / 2)
    store.put_bars(BTC, [pushed], Provenance.STREAM)
    (report,) = imported(store, path)
    assert isinstance(report, BarsReport)
    assert (report.added, report.revised, report.kept) == (54, 1, 1)
    assert (report.overlap.equal, report.overlap.differ) == (4, 2)
    largest = Difference(bars[5].t, "volume", 3.0, 6.0, 1.0)
    assert report.overlap.largest == largest
    assert [d.column for d in report.overlap.examples] == ["high", "volume"]
    assert store.held(BTC, bars[4].t, bars[4].t)[0].bar.high == other.high
    assert store.held(BTC, bars[5].t, bars[5].t)[0].bar == bars[5]
    assert "2 differ" in str(report)
    assert "volume of 2025-06-15 15:25: stored 3, here 6 (100.00%)" in str(report)
    assert json.loads(json.dumps(report.document()))["overlap"]["largest"]["relative"] == 1.0


def test_the_first_bad_row_is_named_and_the_good_ones_are_taken(store, tmp_path) -> None:
    path = csv(tmp_path / "bars.csv", 300_000)
    lines = path.read_text().splitlines()
    lines[18] = lines[18].replace(",99.0,", ",nan,")
    lines[30] = lines[30].replace(",99.0,", ",-1,")
    path.write_text("\n".join(lines))
    (report,) = imported(store, path)
    assert str(report).startswith(
        "bars.csv: 58 bars added, 0 already there; "
        "2 rows left out, 1 whose low is not a number, 1 where a price is not positive; "
        "the first bad one is row 18: whose low is not a number"
    )
    assert len(store.missing(BTC)) == 2


def test_a_bar_that_has_not_closed_is_left_out(store: Store, tmp_path: Path) -> None:
    path = csv(tmp_path / "bars.csv", 300_000)
    (report,) = imported(store, path, now_ms=START + 59 * 300_000 + 299_999)
    assert store.newest_t(BTC) == START + 58 * 300_000
    assert "1 rows left out, 1 not closed yet" in str(report)


def test_a_rate_that_is_stored_differently_stays(store: Store, tmp_path: Path) -> None:
    rates = tmp_path / "funding.csv"
    rates.write_text(f"time,rate\n{START},0.00001\n{START + 3_600_000},0.00002\n")
    store.put_funding("BTC", [Funding(START, 0.00005)])
    (report,) = imported(store, rates, kind="funding")
    expected = "funding.csv: 1 rates added, 0 already there, 1 differ from the venue's and"
    assert str(report).startswith(expected)
    assert store.funding("BTC", 0, NOW)[0].rate == 0.00005


def test_bars_of_another_interval_are_refused_and_nothing_is_stored(store, tmp_path) -> None:
    hours = csv(tmp_path / "BTC-1h.csv", 3_600_000)
    with pytest.raises(BadInput, match="bars 1h apart, not 5m: say --interval 1h"):
        imported(store, hours)
    assert len(store.bars(BTC)["t"]) == 0


def test_freqtrades_own_files_are_taken(store: Store, tmp_path: Path) -> None:
    table = pd.read_csv(csv(tmp_path / "bars.csv", 300_000))
    dates = pd.to_datetime(table.pop("t"), unit="ms", utc=True)
    table.insert(0, "date", dates)
    table.to_feather(tmp_path / "BTC_USDC_USDC-5m-futures.feather")
    imported(store, tmp_path / "BTC_USDC_USDC-5m-futures.feather")
    assert store.bars(BTC)["t"].tolist() == [START + k * 300_000 for k in range(60)]
