from pathlib import Path

import pytest

from daemon.demo.fleet.sources import read_recordings, start_of
from daemon.demo.recording import Recording
from hyperdrift.errors import BadInput
from tests.daemon.demo.markets import market

HOURS = market(480, seed=8).resampled("1h")


def write(folder: Path, name: str, recording: Recording) -> Path:
    r, path = recording, folder / name
    columns = zip(r.t, r.open, r.high, r.low, r.close, r.volume, strict=True)
    rows = "".join(",".join(map(str, row)) + "\n" for row in columns)
    path.write_text("t,open,high,low,close,volume\n" + rows)
    return path


def test_a_folder_gives_every_coin_and_interval_in_it_and_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, "BTC-5m.csv", market(200))
    write(tmp_path, "ETH-1h.csv", HOURS)
    (tmp_path / "BTC-funding.csv").write_text("time,rate\n1750032000100,0.00001\n")
    (tmp_path / "notes.txt").write_text("hello")
    found = read_recordings([tmp_path])
    assert [(r.coin, r.interval) for r in found] == [("BTC", "5m"), ("ETH", "1h")]
    assert found[0].funding_rate.tolist() == [0.00001]


def test_several_files_may_hold_one_coin_at_several_intervals(tmp_path: Path) -> None:
    files = [write(tmp_path, "BTC-5m.csv", market(200)), write(tmp_path, "BTC-1h.csv", HOURS)]
    assert [r.interval for r in read_recordings(files)] == ["5m", "1h"]


def test_two_files_of_one_slot_are_refused_with_both_names(tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    files = [write(folder, "BTC-5m.csv", market(200)) for folder in (tmp_path, other)]
    with pytest.raises(BadInput, match=f"{files[1]} and {files[0]} both hold BTC-5m"):
        read_recordings(files)


def test_a_folder_without_candles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no candles; it needs files with names like"):
        read_recordings([tmp_path])


def test_a_replay_begins_by_the_shortest_bars() -> None:
    fine = market(200)
    assert start_of([HOURS, fine], 50) == fine.t[50]
    for history in (0, 200):
        with pytest.raises(BadInput, match="between 1 and 199, the bars of BTC-5m"):
            start_of([HOURS, fine], history)
