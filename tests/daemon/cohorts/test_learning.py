"""From archive files to a cohort file that the daemon reads."""

from pathlib import Path

import numpy as np
import pytest

from daemon.cohorts import cohort_csv
from daemon.cohorts.learning import Learnt, gridded, horizon_of, learn, trades_of_archive
from daemon.config.schema import Config, SlotSection
from daemon.ingest.taker_volumes import TakerVolumes
from daemon.market_data.order_flow import Cohorts, read_cohorts
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from tests.daemon.cohorts.archive_files import BOTTOM, HORIZON, TOP, WASHER, write

SLOT = SlotName("TEST", "5m")


def learnt(folder: Path, *, right: float, days: int = 8) -> Learnt:
    return learn(SLOT, trades_of_archive(write(folder, days, right=right), SLOT), HORIZON)


def test_who_knows_what_comes_is_found_and_the_daemon_reads_the_file(tmp_path: Path) -> None:
    told = learnt(tmp_path, right=0.9)
    assert [(m.address, m.cohort) for m in told.members] == [(TOP, "top"), (BOTTOM, "bottom")]
    assert told.members[0].mean_bp > 10
    assert told.bars == 8 * 288 - 1  # the last one may have been going on
    cohort_csv.write(tmp_path / "cohorts.csv", told.members)
    first = (tmp_path / "cohorts.csv").read_text().splitlines()[0]
    assert first == "address,cohort,bars,blocks,mean_bp,t,p,q"
    assert read_cohorts(tmp_path / "cohorts.csv") == Cohorts(frozenset({TOP}), frozenset({BOTTOM}))


def test_where_nobody_knows_anything_it_says_so(tmp_path: Path) -> None:
    told = learnt(tmp_path, right=0.5)
    assert told.members == ()
    assert told.tried == 29  # all but the one that trades with itself
    assert told.lines()[-1].startswith("nobody is surely better than chance; the surest is 0x")
    assert WASHER not in told.lines()[-1]


def test_too_few_bars_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"TEST-5m: 287 bars with trades are too few .*; 300 are"):
        learnt(tmp_path, right=0.9, days=1)


def test_bars_between_files_that_are_missing_have_no_close() -> None:
    volumes = TakerVolumes(300_000)
    for time, signed in ((0, 1.0), (10, 2.0), (300_000, 9.0), (600_000, -1.0), (5, 4.0)):
        volumes.add(time, "0xa", signed)
    trades = gridded(volumes, SLOT, [0, 600_000], [7.0, 8.0])
    assert np.array_equal(trades.close, [7.0, np.nan, 8.0], equal_nan=True)
    assert trades.flows.signed.tolist() == [3.0, 9.0, -1.0, 4.0]
    assert trades.flows.bar.tolist() == [0, 1, 2, 0]
    volumes.add(900_000, "0xb", 1.0)  # after a look it still grows
    assert volumes.addresses == ("0xa", "0xb")


def test_the_horizon_is_the_slots_own_or_the_intervals_default() -> None:
    config = Config(slots=(SlotSection(coin="BTC", interval="5m", horizon_bars=24),))
    assert horizon_of(config, SlotName("BTC", "5m")) == 24
    assert horizon_of(config, SlotName("ETH", "5m")) == 12
    with pytest.raises(BadInput, match="--horizon"):
        horizon_of(config, SlotName("ETH", "15m"))
