"""The venue's archive files, built from the replay exchange's trades, give its bars back."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.demo.market import generate
from daemon.demo.tape import Tape
from daemon.demo.trades import TRADERS, TradeGenerator
from daemon.ingest.importer import BarsReport, import_files
from daemon.ingest.venue_archive import is_archive, read_archive
from daemon.market_data.order_flow import Cohorts
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS, SlotName

STEP = 300_000
BEGIN = 1_749_999_600_000  # a full hour
HOURS = 3
RECORDING = generate(12 * (HOURS + 1), STEP, 5, start_ms=BEGIN, change_at=None)
SLOT = SlotName(RECORDING.coin, "5m")
COHORTS = Cohorts(frozenset(TRADERS[:20]), frozenset(TRADERS[20:40]))
Row = dict[str, Any]
Layout = Callable[[list[Row]], list[object]]


@cache
def trades() -> tuple[Row, ...]:
    """Every trade of the recording, in the order of time."""
    told = TradeGenerator(Tape(RECORDING))
    end = told.position(BEGIN + (HOURS + 1) * HOUR_MS)
    rows = [row for text in told.frames(0, end) for row in json.loads(text)["data"]]
    return tuple(sorted(rows, key=lambda row: row["time"]))


def iso(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}123456"


def fills(row: Row) -> list[list[object]]:
    """Both sides of a trade, buyer first, as the archive has them."""
    common = {k: row[k] for k in ("coin", "px", "sz", "time", "tid", "hash")}
    common |= {"startPosition": "0.0", "dir": "Open Long", "closedPnl": "0.0", "oid": 1}
    sides = zip(row["users"], "BA", strict=True)
    return [[user, common | {"side": s, "crossed": s == row["side"]}] for user, s in sides]


def by_block(rows: list[Row]) -> list[object]:
    # Other coins' fills and a conversion of dust are in every block.
    return [
        {
            "local_time": iso(time + 90),
            "block_time": iso(time),
            "block_number": 1_000_000 + number,
            "events": [pair for row in block for pair in fills(row)]
            + fills(block[0] | {"coin": "OTHER", "tid": 1})
            + [["0xdust", fills(block[0] | {"tid": 0})[0][1]]],
        }
        for number, (time, group) in enumerate(groupby(rows, lambda row: row["time"]))
        for block in (list(group),)
    ]


def by_fill(rows: list[Row]) -> list[object]:
    return [pair for row in rows for pair in fills(row)]


def by_trade(rows: list[Row]) -> list[object]:
    def one(row: Row) -> Row:
        sides = [
            {"user": u, "start_pos": "0", "oid": row["tid"] + k, "twap_id": None}
            for k, u in enumerate(row["users"])
        ]
        kept = {k: row[k] for k in ("coin", "side", "px", "sz", "hash")}
        return kept | {"time": iso(row["time"]), "side_info": sides, "trade_dir_override": "Na"}

    return [one(row) for row in rows]


LAYOUTS = (by_block, by_fill, by_trade)


def hourly(folder: Path, layout: Layout, hours: range = range(HOURS)) -> list[Path]:
    paths = []
    for hour in hours:
        begin = BEGIN + hour * HOUR_MS
        rows = [row for row in trades() if begin <= row["time"] < begin + HOUR_MS]
        paths.append(folder / f"{hour}.lz4")
        text = "".join(json.dumps(line) + "\n" for line in layout(rows))
        paths[-1].write_bytes(lz4.frame.compress(text.encode()))
    return paths


def recorded(first: int, last: int) -> list[Bar]:
    names = ("t", "open", "high", "low", "close", "volume", "n")
    columns = [getattr(RECORDING, name)[first:last].tolist() for name in names]
    return [Bar(*row) for row in zip(*columns, strict=True)]


def beat(rows: list[Row]) -> Iterator[Row]:
    """Other coins trade every half minute, so that quiet times are not holes."""
    for time in range(rows[0]["time"], rows[-1]["time"], 30_000):
        yield rows[0] | {"coin": "OTHER", "time": time, "tid": time}


def with_beat(layout: Layout) -> Layout:
    return lambda rows: layout(sorted([*rows, *beat(rows)], key=lambda row: row["time"]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_bars_equal_the_candles_and_the_cut_ones_are_left_out(tmp_path, layout) -> None:
    found = read_archive(hourly(tmp_path, with_beat(layout)), SLOT)
    # The first bar may have begun before the files, the last may go on after them.
    expected = recorded(1, 12 * HOURS - 1)
    assert [b.t for b in found.bars] == [b.t for b in expected]
    assert found.bars == expected
    assert (found.partial, found.repeated) == (2, 0)
    assert found.flows == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_in_any_order_and_twice_give_the_same_bars(tmp_path: Path, layout: Layout) -> None:
    paths = hourly(tmp_path, with_beat(layout))
    straight = read_archive(paths, SLOT)
    twice = read_archive([paths[2], paths[0], paths[1], paths[0], paths[2]], SLOT)
    assert twice.bars == straight.bars
    assert twice.repeated > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_flow_of_cohorts_is_that_of_the_takers(tmp_path: Path, layout: Layout) -> None:
    found = read_archive(hourly(tmp_path, with_beat(layout)), SLOT, COHORTS)
    for flow in found.flows:
        rows = [row for row in trades() if row["time"] // STEP * STEP == flow.t]
        sums = {"top": 0.0, "bottom": 0.0}
        for row in rows:
            bought = row["side"] == "B"
            taker, size = row["users"][0 if bought else 1], float(row["sz"])
            for name in sums:
                sums[name] += (size if bought else -size) * (taker in getattr(COHORTS, name))
        assert (flow.s_top, flow.s_bot) == pytest.approx((sums["top"], sums["bottom"]), abs=1e-9)
        assert flow.seen == pytest.approx(sum(float(row["sz"]) for row in rows))
    assert len(found.flows) == len(found.bars)


def test_bars_beside_a_missing_hour_are_left_out(tmp_path: Path) -> None:
    paths = hourly(tmp_path, with_beat(by_block))
    found = read_archive([paths[0], paths[2]], SLOT)
    assert found.bars == [*recorded(1, 11), *recorded(25, 35)]
    assert found.partial == 4


def test_a_bar_without_trades_between_others_is_flat(tmp_path: Path) -> None:
    def quiet(rows: list[Row]) -> list[object]:
        kept = [row for row in rows if row["time"] // STEP * STEP != BEGIN + 5 * STEP]
        return with_beat(by_block)(kept)

    (bar,) = [
        b for b in read_archive(hourly(tmp_path, quiet), SLOT).bars if b.t == BEGIN + 5 * STEP
    ]
    close = float(RECORDING.close[4])
    assert bar == Bar(BEGIN + 5 * STEP, close, close, close, close, 0.0)


def test_an_archive_is_imported_with_its_flow_and_says_what_it_did(tmp_path: Path) -> None:
    paths = hourly(tmp_path, with_beat(by_block))
    size: list[int] = []
    with Store(":memory:") as store:
        store.put_bars(SLOT, recorded(3, 5), Provenance.REST)
        (report,) = import_files(
            store, SLOT, paths, now_ms=BEGIN, cohorts=COHORTS, on_bytes=size.append
        )
        assert isinstance(report, BarsReport)
        assert (report.added, report.overlap.equal, report.overlap.differ) == (32, 2, 0)
        assert "2 rows left out, bars that the files do not hold from end to end" in str(report)
        frame = store.frame(SLOT)
        assert np.count_nonzero(frame["s_top"]) > 20
        assert np.isfinite(frame["s_top"]).all()
    assert sum(size) == sum(path.stat().st_size for path in paths)


def test_an_archive_of_other_coins_names_them(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no trade of DOGE; there is .*OTHER"):
        read_archive(hourly(tmp_path, by_block, range(1)), SlotName("DOGE", "5m"))


def test_a_damaged_archive_is_one_line_that_names_the_place(tmp_path: Path) -> None:
    (path,) = hourly(tmp_path, by_block, range(1))
    whole = path.read_bytes()
    good = json.dumps(by_block(list(trades()[:3]))[0]).encode() + b"\n"
    cases = {
        "cannot be read past line": whole[: len(whole) // 2],
        "line 2: not a line of the venue's archive": lz4.frame.compress(good + b'{"coin":1}\n'),
        "line 1: not a line of the venue's archive": lz4.frame.compress(b"hello\n"),
        "is empty": lz4.frame.compress(b""),
        "cannot be read past line 0": b"not lz4 at all",
    }
    for sentence, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(BadInput, match=sentence) as caught:
            read_archive([path], SLOT)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="cannot be read past line 0"):
        read_archive([tmp_path / "none.lz4"], SLOT)


def test_an_archive_that_holds_no_bar_from_end_to_end_is_refused_with_the_count(
    tmp_path: Path,
) -> None:
    path = tmp_path / "0.lz4"
    lines = "".join(json.dumps(line) + "\n" for line in by_block(list(trades()[:3])))
    path.write_bytes(lz4.frame.compress(lines.encode()))
    with Store(":memory:") as store, pytest.raises(BadInput, match=r"\(3 trades of BTC\) gives no"):
        list(import_files(store, SLOT, [path], now_ms=BEGIN + HOUR_MS))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_crossed_first", [True, False])
def test_a_trade_of_an_address_with_itself_has_no_taker(
    tmp_path: Path, layout: Layout, *, is_crossed_first: bool
) -> None:
    middle = trades()[len(trades()) // 2 :]
    own = next(row for row in middle if (row["side"] == "B") == is_crossed_first)
    own = own | {"users": [TRADERS[0]] * 2}
    near = [row for row in trades() if abs(row["time"] - own["time"]) < 3 * STEP]
    others = [row for row in near if row["time"] != own["time"]]
    rows = sorted([*others, own], key=lambda row: row["time"])
    text = "".join(json.dumps(line) + "\n" for line in layout(rows))
    (tmp_path / "own.lz4").write_bytes(lz4.frame.compress(text.encode()))
    taken: list[tuple[int, str, float]] = []
    cohorts = Cohorts(frozenset({TRADERS[0]}), frozenset())
    found = read_archive(
        [tmp_path / "own.lz4"], SLOT, cohorts, on_taker=lambda *row: taken.append(row)
    )
    assert sum(size for at, _, size in taken if at == own["time"]) == 0
    bar = own["time"] // STEP * STEP
    flow = next(flow for flow in found.flows if flow.t == bar)
    took = [
        float(row["sz"]) * (1 if row["side"] == "B" else -1)
        for row in others
        if row["time"] // STEP * STEP == bar and row["users"]["BA".index(row["side"])] == TRADERS[0]
    ]
    assert flow.s_top == pytest.approx(sum(took), abs=1e-12)
    assert flow.seen == pytest.approx(
        sum(float(row["sz"]) for row in rows if row["time"] // STEP * STEP == bar)
    )


def test_a_packed_table_is_no_file_of_the_archive() -> None:
    names = ("8.lz4", "20260301-08.lz4", "bars.csv.lz4", "candles.json.lz4")
    assert [is_archive(Path(name)) for name in names] == [True, True, False, False]
