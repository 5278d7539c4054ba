"""Files of trades that are rotated, rewritten and mended: each trade is read, none is made up."""

import bz2
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.trade_files.closed_trade import FileTrade
from daemon.trade_files.trade_counts import described
from daemon.trade_files.trade_file import TradeFile
from tests.daemon.trade_files.reading import NOW_MS, Opened, read
from tests.daemon.trade_files.venue_fills import Leg, market

HEAD = "trade_id,side,opened_ms,closed_ms,pnl\n"


def row(i: int, pnl: str = "1.5") -> str:
    return f"t{i},buy,{NOW_MS - 90_000},{NOW_MS - 60_000 + i},{pnl}\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as out:
        out.write(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trades.csv"


def by_id(file: TradeFile) -> dict[str, FileTrade]:
    """Return the trades by id, the first of each, as the book takes them."""
    found: dict[str, FileTrade] = {}
    for trade in read(file):
        found.setdefault(trade.trade_id, trade)
    return found


@pytest.mark.parametrize(
    "name",
    [
        *(".1", "-20261130", ".2026-11-29", ".2026-11-30_10", "-1796000000"),
        *(".1.gz", "-20261130.xz", ".3.bz2", ".20261130-101500.gz"),
    ],
)
def test_what_a_rotation_set_aside_while_nobody_read_is_read_at_the_start(
    opened: Opened, path: Path, name: str
) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".bz2": bz2.compress,
    }
    aside = path.with_name(path.name + name)
    aside.write_bytes(pack.get(aside.suffix, bytes)((HEAD + row(0)).encode()))
    append(path, row(1))
    assert list(by_id(opened(path))) == ["t0", "t1"]


def test_of_many_rotations_all_are_read_and_the_oldest_is_first(opened: Opened, path: Path) -> None:
    made = market([Leg(Decimal(size), Decimal(px)) for size, px in (("1", 100), ("-1", 110))])
    opening, closing = (json.dumps(fill) + "\n" for fill in made.fills)
    for i in range(4):
        aside = path.with_name(f"trades.csv.{4 - i}")
        aside.write_text(opening if i == 0 else "\n")
        os.utime(aside, (1000 + i, 1000 + i))
    append(path, closing)
    (trade,) = by_id(opened(path)).values()
    assert trade.pnl == pytest.approx(made.trades[0].pnl)


@pytest.mark.parametrize(
    "name", ["trades-2.csv", "trades.csv.bak", "trades.csv~", "trades.csv.1.tmp", "trades.csv.new"]
)
def test_other_files_beside_it_are_not_read(opened: Opened, path: Path, name: str) -> None:
    path.with_name(name).write_text(HEAD + row(0))
    append(path, HEAD + row(1))
    assert list(by_id(opened(path))) == ["t1"]


def test_lines_that_were_copied_and_truncated_before_they_were_read_are_read_in_the_copy(
    opened: Opened, path: Path
) -> None:
    append(path, HEAD + row(0))
    file = opened(path)
    assert list(by_id(file)) == ["t0"]
    append(path, row(1))
    shutil.copy(path, f"{path}.1")
    os.truncate(path, 0)
    append(path, row(2))
    assert list(by_id(file)) == ["t0", "t1", "t2"]
    assert by_id(file) == {}


def test_a_bot_that_writes_on_into_the_renamed_file_loses_nothing(
    opened: Opened, path: Path
) -> None:
    with path.open("w") as out:
        out.write(HEAD + row(0) + row(1, pnl="-12")[:-1])
        out.flush()
        file = opened(path)
        assert list(by_id(file)) == ["t0"]
        assert described(file.counts.state()).endswith("1 line that waits for its end")
        path.rename(f"{path}.1")
        path.write_text("")
        assert by_id(file) == {}
        assert dict(file.counts.bad) == {"the last line of a file that ended has no newline": 1}
        out.write(".75\n" + row(2))
    assert [trade.pnl for trade in by_id(file).values()] == [1.5, -12.75, 1.5]
    assert not file.counts.bad
    assert not file.counts.state().others


@pytest.mark.parametrize("way", ["in_place", "renamed"])
def test_a_line_that_is_mended_counts_and_is_no_longer_told_of(
    opened: Opened, path: Path, way: str
) -> None:
    text = HEAD + row(0).replace("buy", "bux") + row(1)
    path.write_text(text)
    file = opened(path)
    assert list(by_id(file)) == ["t1"]
    assert file.counts.bad.total() == 1
    os.utime(path, (1000, 1000))  # clocks of file systems are coarse
    assert list(by_id(file)) == ["t1"]
    if way == "in_place":  # of the same length, and the end is as it was
        with path.open("r+") as out:
            out.write(text.replace("bux", "buy"))
    else:
        aside = path.with_name("aside")
        aside.write_text(text.replace("bux", "buy"))
        aside.replace(path)
    assert list(by_id(file)) == ["t0", "t1"]
    assert not file.counts.bad
    assert by_id(file) == {}


def test_a_file_that_was_no_text_and_is_mended_is_no_longer_told_of(
    opened: Opened, path: Path
) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)))
    file = opened(path)
    assert by_id(file) == {}
    assert "save it as CSV" in file.counts.trouble
    path.write_text(HEAD + row(0))
    assert list(by_id(file)) == ["t0"]
    assert file.counts.trouble == ""


def test_a_link_to_the_newest_of_a_file_a_day_reads_those_of_the_days_before(
    opened: Opened, path: Path
) -> None:
    days = [path.with_name(f"bot-2026-11-{day}.csv") for day in (28, 29, 30)]
    path.with_name("bot-all.csv").write_text(HEAD + row(9))
    for i, day in enumerate(days):
        day.write_text(HEAD + row(i))
        os.utime(day, (1000 + i, 1000 + i))
    path.symlink_to(days[1])
    days[2].unlink()
    file = opened(path)
    assert list(by_id(file)) == ["t0", "t1"]
    days[2].write_text(HEAD + row(2))
    path.unlink()
    path.symlink_to(days[2])
    assert "t2" in by_id(file)
    append(days[2], row(3))
    assert list(by_id(file)) == ["t3"]
    append(days[1], row(4))  # what closed before midnight is written after it
    assert "t4" in by_id(file)


def test_a_packed_file_that_cannot_be_read_is_told_of_and_stops_nothing(
    opened: Opened, path: Path
) -> None:
    path.with_name("trades.csv.2.gz").write_bytes(gzip.compress(row(0).encode())[:-9])
    append(path, HEAD + row(1))
    file = opened(path)
    assert "t1" in by_id(file)
    assert file.counts.bad["a file that was set aside cannot be read"] == 1
    assert "trades.csv.2.gz" in file.counts.first_bad


def test_an_array_that_is_replaced_again_and_again_is_counted_as_it_is_now(
    opened: Opened, path: Path
) -> None:
    file = opened(path)
    for count in range(1, 6):
        rows = [{"trade_id": i, "status": "open"} for i in range(count, max(0, count - 3), -1)]
        aside = path.with_name("aside")
        aside.write_text(json.dumps(rows))
        aside.replace(path)
        by_id(file)
        assert file.counts.others["open"] == min(3, count)


def test_rows_that_end_with_carriage_returns_alone_do_not_wait_for_the_next_one(
    opened: Opened, path: Path
) -> None:
    file, end = opened(path), "\r"
    path.write_bytes((HEAD + row(0)).replace("\n", end).encode())
    assert list(by_id(file)) == ["t0"]
    with path.open("ab") as out:
        out.write(row(1).replace("\n", end).encode())
    assert list(by_id(file)) == ["t1"]


def rotate(path: Path, way: str) -> None:
    """Rotate as logrotate does: `.1` is the newest that was set aside."""
    for i in range(8, 0, -1):
        for packed in ("", ".gz"):
            aside = path.with_name(f"{path.name}.{i}{packed}")
            if aside.exists():
                aside.rename(path.with_name(f"{path.name}.{i + 1}{packed}"))
    newest = path.with_name(f"{path.name}.1")
    if way == "copied":
        shutil.copy(path, newest)
        os.truncate(path, 0)
    else:
        path.rename(newest)
    if way == "packed":
        with gzip.open(f"{newest}.gz", "wb") as out:
            out.write(newest.read_bytes())
        newest.unlink()


STEPS = st.tuples(
    st.integers(0, 3),  # lines
    st.sampled_from(["", "", "copied", "renamed", "packed", "held"]),
    st.sampled_from(["read", "", "restart"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=7))
def test_however_a_file_is_rotated_read_and_read_anew_each_trade_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("trades") / "trades.csv"
    file, known, found = TradeFile(path, {}, now_ms=lambda: NOW_MS), 0, dict[str, FileTrade]()
    append(path, HEAD)
    for count, way, then in steps:
        append(path, "".join(row(known + i, pnl=f"{known + i}.5") for i in range(count)))
        known += count
        if way == "held":  # the bot has half a line in the file that is renamed, and ends it later
            with path.open("a") as out:
                out.write(row(known, pnl="1")[:-1])
                out.flush()
                rotate(path, "renamed")
                append(path, "")
                found = by_id(file) | found if then == "read" else found
                out.write(f"{known:04}.5\n")
            known += 1
        elif way:
            rotate(path, way)
        if then == "restart":
            file.close()
            header, file = file.header, TradeFile(path, {}, now_ms=lambda: NOW_MS)
            file.header = header
        elif then:
            found = by_id(file) | found
    found = by_id(file) | found
    file.close()
    assert sorted(found) == sorted(f"t{i}" for i in range(known))
    assert all(trade.pnl % 10_000 == int(name[1:]) + 0.5 for name, trade in found.items())
    assert not file.counts.bad
