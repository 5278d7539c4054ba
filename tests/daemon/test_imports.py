"""Files that people bring are taken whole or refused with one line."""

from pathlib import Path

import pytest

from daemon.bars import SlotName
from daemon.errors import BadInput
from daemon.imports import import_files, label_table, open_store

BTC = SlotName("BTC", "5m")
START = 1_749_999_600_000  # a full hour


def csv(path: Path, step_ms: int, bars: int = 60, price: float = 100.0) -> Path:
    rows = (
        f"{START + step_ms * i},{price},{price + i},{price - 1},{price + i / 2},{1 + i}\n"
        for i in range(bars)
    )
    path.write_text("t,open,high,low,close,volume\n" + "".join(rows))
    return path


def test_bars_and_funding_go_into_the_store_and_each_file_gets_a_line(tmp_path: Path) -> None:
    rates = tmp_path / "funding.csv"
    rates.write_text(f"time,rate\n{START},0.00001\n{START + 3_600_000},0.00002\n")
    bars = csv(tmp_path / "bars.csv", 300_000)
    assert list(import_files(tmp_path, BTC, [bars], "bars")) == [
        (
            "bars.csv: 60 bars added, 0 revised, 0 already there, 0 kept as the venue has them, "
            "0 rows left out"
        )
    ]
    assert list(import_files(tmp_path, BTC, [rates], "funding")) == [
        "funding.csv: 2 rates, 0 rows left out"
    ]
    with open_store(tmp_path, read_only=True) as store:
        assert len(store.bars(BTC)["t"]) == 60
        assert store.newest_funding_time("BTC") == START + 3_600_000


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    bars = csv(tmp_path / "bars.csv", 300_000)
    (_, again) = import_files(tmp_path, BTC, [bars, bars], "bars")
    assert again.startswith("bars.csv: 0 bars added, 0 revised, 60 already there")


def test_bars_of_another_interval_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    hours = csv(tmp_path / "BTC-1h.csv", 3_600_000)
    with pytest.raises(BadInput, match="bars 60 minutes apart"):
        list(import_files(tmp_path, BTC, [hours], "bars"))
    with open_store(tmp_path, read_only=True) as store:
        assert len(store.bars(BTC)["t"]) == 0


def test_the_label_table_needs_bars(tmp_path: Path) -> None:
    with open_store(tmp_path):
        pass
    with pytest.raises(BadInput, match="import some or run the daemon"):
        label_table(tmp_path, BTC)
    list(import_files(tmp_path, BTC, [csv(tmp_path / "bars.csv", 300_000)], "bars"))
    assert "NEUTRAL" in label_table(tmp_path, BTC)
