"""The newest bars as they are kept in memory, beside other connections that change the table."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Bar, Funding, Provenance
from daemon.scoring.recent_bars import RecentBars
from daemon.store.bar_columns import BarColumns
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

SLOT, OTHER = SlotName("BTC", "5m"), SlotName("ETH", "5m")
STEP, BEGIN, LAST = SLOT.interval_ms, 1_750_000_200_000, 4


class Put(NamedTuple):
    """A bar that the venue or a file brings."""

    at: int
    volume: float
    source: Provenance


def bar(at: int, volume: float = 1.0) -> Bar:
    price = 100.0 + at
    return Bar(BEGIN + at * STEP, price, price + 1, price - 1, price, volume)


def put(store: Store, new: Put) -> None:
    if new.source is Provenance.IMPORT:
        of = BarColumns.of([bar(new.at, new.volume)])
        store.imports.put_bars(SLOT, of, f"{new.at}-{new.volume}.csv", 0)
    else:
        store.put_bars(SLOT, [bar(new.at, new.volume)], new.source)


def same(recent: RecentBars, reader: Store, at: int) -> None:
    found = recent.frame(reader, bar(at).t)
    expected = reader.frame(SLOT, last=LAST, to_t=bar(at).t)
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    with open_store(tmp_path) as writer, open_store(tmp_path, read_only=True) as reader:
        yield writer, reader


steps = st.one_of(
    st.builds(
        Put, st.integers(0, 11), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(Provenance)
    ),
    st.integers(0, 11).map(lambda at: ("read", at)),
    st.integers(0, 11).map(lambda at: ("delete", at)),
    st.integers(0, 11).map(lambda at: ("rate", at)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40))
def test_a_frame_is_that_of_the_table_whatever_changed_since_the_last_one(
    script: list[Put | tuple[str, int]],
) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        open_store(Path(name)) as writer,
        open_store(Path(name), read_only=True) as reader,
    ):
        recent = RecentBars(SLOT, LAST)
        writer.put_bars(SLOT, [bar(at) for at in range(6)], Provenance.STREAM)
        for step in script:
            match step:
                case Put():
                    put(writer, step)
                case ("delete", at):
                    with writer.database.writing() as db:
                        db.execute("DELETE FROM bars WHERE t = ?", (bar(at).t,))
                case ("rate", at):
                    writer.put_funding("BTC", [Funding(bar(at).t, 1e-5 * at)])
                case (_, at):
                    same(recent, reader, at)
        same(recent, reader, 11)


def test_only_new_bars_are_fetched_until_a_bar_changes(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = stores
    writer.put_bars(SLOT, [bar(at) for at in range(10)], Provenance.STREAM)
    recent, fetched, bars = RecentBars(SLOT, LAST), [], Store.bars

    def counted(store: Store, slot: SlotName, *args: int, **given: int) -> dict[str, np.ndarray]:
        found = bars(store, slot, *args, **given)
        fetched.append(len(found["t"]))
        return found

    monkeypatch.setattr(Store, "bars", counted)
    for at in (6, 7, 9):
        recent.frame(reader, bar(at).t)
    assert fetched == [LAST, 1, 2]
    writer.put_bars(OTHER, [bar(9, 3.0)], Provenance.REST)
    recent.frame(reader, bar(9).t)
    writer.put_bars(SLOT, [bar(8)], Provenance.REST)  # the same numbers, now of record
    recent.frame(reader, bar(9).t)
    assert fetched[3:] == [0, 0]
    writer.put_bars(SLOT, [bar(8, 3.0)], Provenance.REST)
    assert recent.frame(reader, bar(9).t)["volume"].tolist() == [1.0, 1.0, 3.0, 1.0]
    assert fetched[5:] == [LAST]


def test_a_trade_that_moves_from_one_bar_to_the_next_is_seen(stores: tuple[Store, Store]) -> None:
    writer, reader = stores
    writer.put_bars(SLOT, [bar(at, 2.0 if at == 7 else 1.0) for at in range(10)], Provenance.STREAM)
    recent = RecentBars(SLOT, LAST)
    same(recent, reader, 9)
    writer.put_bars(SLOT, [bar(7, 1.0), bar(8, 2.0)], Provenance.REST)  # the sums are the same
    same(recent, reader, 9)
