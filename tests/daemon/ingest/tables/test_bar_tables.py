import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from daemon.core.bars import Bar, Funding
from daemon.ingest.tables.bar_tables import read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import Wanted
from hyperdrift.errors import BadInput

START = 1_750_000_200_000
STEP = 300_000
ROWS = 6


def table(**changes: object) -> pd.DataFrame:
    t = START + STEP * np.arange(ROWS)
    columns = {
        "t": t,
        "open": 100.0,
        "high": 102.0,
        "low": 99.0,
        "close": 101.0,
        "volume": np.arange(ROWS, dtype=float),
    }
    return pd.DataFrame(columns | changes)


def saved(tmp_path: Path, frame: pd.DataFrame, suffix: str = ".csv") -> Path:
    path = tmp_path / f"bars{suffix}"
    match suffix:
        case ".csv" | ".csv.gz":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case ".feather":
            frame.to_feather(path)
        case ".jsonl":
            frame.to_json(path, lines=True, orient="records", date_unit="ms")
        case ".json":
            frame.to_json(path, orient="records", date_unit="ms")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".feather", ".jsonl", ".json"])
def test_every_format_gives_the_same_bars(tmp_path: Path, suffix: str) -> None:
    found = read_bars(saved(tmp_path, table(), suffix))
    assert found.bars.t.tolist() == [START + k * STEP for k in range(ROWS)]
    assert found.bars.t.dtype == np.int64
    assert found.bars.volume.tolist() == list(range(ROWS))
    assert found.interval_ms == STEP
    assert found.report[:3] == (ROWS, ROWS, {})
    assert found.bars.bars()[2] == Bar(START + 2 * STEP, 100, 102, 99, 101, 2)


def stamps(t: np.ndarray, form: str, zone: str = "UTC") -> list[str]:
    return [pd.Timestamp(ms, unit="ms", tz=zone).strftime(form) for ms in t.tolist()]


@pytest.mark.parametrize(
    "times",
    [
        lambda t: t // 1000,
        lambda t: t * 1000,
        lambda t: t * 1_000_000,
        lambda t: t / 1000,
        lambda t: stamps(t, "%Y-%m-%d %H:%M:%S"),
        lambda t: stamps(t, "%Y-%m-%dT%H:%M:%SZ"),
        lambda t: stamps(t, "%Y-%m-%dT%H:%M:%S%z"),
        lambda t: stamps(t, "%Y-%m-%dT%H:%M:%S%z", "Asia/Tokyo"),
    ],
    ids=["s", "us", "ns", "float s", "text", "Z", "offset", "Tokyo"],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_unit_of_time_is_recognised(tmp_path: Path, times, suffix: str) -> None:
    frame = table()
    frame["t"] = times(frame["t"].to_numpy())
    assert read_bars(saved(tmp_path, frame, suffix)).bars.t.tolist() == table()["t"].tolist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_columns_of_dates_are_taken_in_any_resolution_and_zone(tmp_path, unit, zone) -> None:
    dates = pd.Series(pd.to_datetime(table()["t"], unit="ms")).dt.as_unit(unit)
    if zone:
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(zone)
    frame = table().drop(columns="t").assign(date=dates)
    assert read_bars(saved(tmp_path, frame, ".parquet")).bars.t.tolist() == table()["t"].tolist()
    indexed = frame.set_index("date")
    assert read_bars(saved(tmp_path, indexed, ".parquet")).bars.t.tolist() == table()["t"].tolist()


def test_the_venues_own_rows_are_taken_although_two_columns_differ_only_by_case(tmp_path) -> None:
    rows = [
        {"T": t + STEP - 1, "t": t, "s": "BTC", "i": "5m", "o": "100.0", "h": "102.0"}
        | {"l": "99.0", "c": "101.0", "v": "1.5", "n": 3}
        for t in table()["t"].tolist()
    ]
    path = tmp_path / "bars.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_bars(path).bars.t.tolist() == table()["t"].tolist()


def test_names_in_capitals_and_with_spaces_are_recognised(tmp_path: Path) -> None:
    frame = table().rename(columns={"t": " Timestamp", "open": "Open", "volume": "VOLUME "})
    assert len(read_bars(saved(tmp_path, frame)).bars) == ROWS


def test_bad_rows_are_counted_and_left_out_and_doubles_collapsed(tmp_path: Path) -> None:
    frame = pd.concat([table()] * 2, ignore_index=True).sample(frac=1, random_state=3)
    faults = table().head(5).copy()
    faults["close"] = [np.nan, 98.0, 103.0, -1.0, 101.0]
    faults["volume"] = [1.0, 1.0, 1.0, 1.0, -2.0]
    faults["t"] += 100 * STEP
    off_grid = table().head(1).assign(t=START + 1)
    found = read_bars(saved(tmp_path, pd.concat([frame, faults, off_grid])))
    assert found.bars.t.tolist() == table()["t"].tolist()
    assert found.report.rows == 18
    assert found.report.left_out == {
        "repeated": 6,
        "whose close is not a number": 1,
        "where a price is not positive": 1,
        "where the volume is negative": 1,
        "where open or close lies outside low..high": 2,
        "off the grid of the interval": 1,
    }
    assert found.report.first_bad == "row 13: whose close is not a number"


def test_the_interval_may_be_said_or_found(tmp_path: Path) -> None:
    path = saved(tmp_path, table())
    assert read_bars(path).interval_ms == STEP
    assert read_bars(path, Wanted(interval_ms=STEP)).report.kept == ROWS
    with pytest.raises(BadInput, match="fewer than two usable rows, which tell no interval"):
        read_bars(saved(tmp_path, table().head(1)))
    with pytest.raises(BadInput, match="rows 7s apart that open"):
        read_bars(saved(tmp_path, table(t=START + 7000 * np.arange(ROWS))))


def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path: Path) -> None:
    cases = {
        r"bars.csv has no column for the volume; there are t, open, .*: name it with --columns": (
            table().drop(columns="volume")
        ),
        "bars.csv has no column for the time; there are open": table().drop(columns="t"),
        "is no time in s, ms, us or ns": table(t=np.arange(ROWS)),
        "has no rows of a table": table().head(0),
    }
    for sentence, frame in cases.items():
        with pytest.raises(BadInput, match=sentence) as caught:
            read_bars(saved(tmp_path, frame))
        assert "\n" not in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "feather", "jsonl", "json"):
        path = tmp_path / f"bad.{suffix}"
        with pytest.raises(BadInput, match=f"{path} is not there; write the name of a file"):
            read_bars(path)
        path.write_bytes(b"\x00\xff\xfe{{{")
        with pytest.raises(BadInput):
            read_bars(path)


def test_funding_keeps_its_raw_stamps(tmp_path: Path) -> None:
    stamps = [START + 79, START + 3_600_000 + 4]
    frame = pd.DataFrame({"time": [*stamps[::-1], stamps[0]], "fundingRate": ["x", "2e-5", "2e-5"]})
    found = read_funding(saved(tmp_path, frame))
    assert found.rates() == [Funding(stamps[0], 2e-5)]
    assert found.report.left_out == {"repeated": 1, "whose rate is not a number": 1}
    assert found.report.first_bad == "row 1: whose rate is not a number"
    with pytest.raises(BadInput, match="holds candles, no rates: leave out --kind funding"):
        read_funding(saved(tmp_path, table()))
