"""What addresses took is kept within bounds, and cohorts are in force from their time on."""

from collections.abc import Iterator

import numpy as np
import pytest

from daemon.store import taker_table
from daemon.store.feature_frame import Flow
from daemon.store.store import Store
from daemon.store.taker_table import MOST_TAKERS, NOBODY, CohortList, largest
from hyperdrift.slot_name import DAY_MS, SlotName

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
ADDRESSES = tuple(f"0x{number:040x}" for number in range(400))
KEEP_MS = 10 * DAY_MS


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as made:
        yield made


def read(store: Store, slot: SlotName = SLOT) -> dict[int, dict[str, float]]:
    rows = taker_table.read(store.database, slot, 0, 2**60)
    names = taker_table.addresses(store.database)
    found: dict[int, dict[str, float]] = {}
    for taker, t, signed in zip(*(column.tolist() for column in rows), strict=True):
        found.setdefault(t, {})[names[taker]] = signed
    return found


def test_what_was_put_is_read_and_a_later_copy_of_a_bar_replaces_it(store: Store) -> None:
    db, (one, two, three) = store.database, ADDRESSES[:3]
    taker_table.put(db, SLOT, {0: {one: 1.5, two: -2.0}, STEP: {three: 4.0}}, KEEP_MS)
    taker_table.put(db, SLOT, {STEP: {three: 5.0, one: 0.25}}, KEEP_MS)
    taker_table.put(db, SLOT, {2 * STEP: {}}, KEEP_MS)
    taker_table.put(db, SlotName("ETH", "5m"), {0: {two: 9.0}}, KEEP_MS)
    assert read(store) == {0: {one: 1.5, two: -2.0}, STEP: {three: 5.0, one: 0.25}}


def test_of_a_bar_the_takers_with_the_largest_net_volume_are_kept() -> None:
    takers = {address: (-1) ** k * float(k) for k, address in enumerate(ADDRESSES)} | {"": 1e9}
    kept = largest(takers)
    assert set(kept) == set(ADDRESSES[-MOST_TAKERS:])
    assert largest(kept) == kept


def test_old_bars_and_addresses_that_nobody_needs_are_removed(store: Store) -> None:
    db = store.database
    taker_table.put(db, SLOT, {0: {ADDRESSES[0]: 1.0, ADDRESSES[1]: 1.0}}, KEEP_MS)
    taker_table.put(db, SLOT, {9 * DAY_MS: {ADDRESSES[1]: 1.0}}, KEEP_MS)
    taker_table.put(db, SLOT, {11 * DAY_MS: {ADDRESSES[2]: 1.0}}, KEEP_MS)
    assert sorted(read(store)) == [9 * DAY_MS, 11 * DAY_MS]
    assert set(taker_table.addresses(db).values()) == set(ADDRESSES[1:3])


def test_a_year_of_a_busy_coin_has_a_bounded_size(tmp_path) -> None:
    with Store(tmp_path / "s") as store:
        rng = np.random.default_rng(0)
        bars = {
            k * STEP: {
                ADDRESSES[n]: float(rng.normal()) for n in rng.permutation(400)[:MOST_TAKERS]
            }
            for k in range(48)
        }
        before = store.database.read("PRAGMA page_count")[0][0]
        taker_table.put(store.database, SLOT, bars, KEEP_MS)
        pages = store.database.read("PRAGMA page_count")[0][0] - before
        names = store.database.read("SELECT count(*) FROM takers")[0][0]
    a_day = (pages * 4096 - names * 150) * 288 / 48
    assert a_day < 750_000


def test_a_list_is_in_force_from_its_time_on(store: Store) -> None:
    db = store.database
    first = CohortList(5 * STEP, frozenset(ADDRESSES[:2]), frozenset(ADDRESSES[2:3]))
    later = CohortList(9 * STEP, frozenset(), frozenset(ADDRESSES[:1]))
    taker_table.put_lists(db, SLOT, [later, first])
    assert taker_table.lists(db, SLOT) == [first, later]
    told = [taker_table.list_in_force(db, SLOT, k * STEP) for k in (4, 5, 8, 9, 99)]
    assert told == [NOBODY, first, first, later, later]
    takers = {ADDRESSES[0]: 1.0, ADDRESSES[1]: 2.0, ADDRESSES[2]: -4.0, ADDRESSES[3]: 8.0}
    assert first.split(takers) == (3.0, -4.0)


def test_flow_is_written_again_for_the_bars_of_a_list_only(store: Store) -> None:
    db, (one, two, three) = store.database, ADDRESSES[:3]
    bars = {k * STEP: {one: 1.0 + k, two: -2.0, three: 7.0} for k in range(5)}
    taker_table.put(db, SLOT, bars, KEEP_MS)
    store.put_flow(SLOT, [Flow(k * STEP, 0.0, 0.0, 10.0) for k in range(4)])
    found = CohortList(STEP, frozenset({one}), frozenset({two}))
    taker_table.rewrite_flow(db, SLOT, found, STEP, 3 * STEP - 1)
    rows = db.read("SELECT t, s_top, s_bot, seen FROM flow ORDER BY t")
    assert rows == [
        (0, 0.0, 0.0, 10.0),
        (STEP, 2.0, -2.0, 10.0),
        (2 * STEP, 3.0, -2.0, 10.0),
        (3 * STEP, 0.0, 0.0, 10.0),
    ]
