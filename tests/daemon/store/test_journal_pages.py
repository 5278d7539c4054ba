from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.store.journal_kinds import SCORED
from daemon.store.journal_pages import LONGEST_PAGE, kinds_of, newest_seq
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.daemon.fake_venue import BTC

ETH = SlotName("ETH", "5m")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as opened:
        yield opened


entries = st.lists(
    st.tuples(
        st.sampled_from([BTC, ETH, None]),
        st.integers(0, 9),
        st.sampled_from([SCORED, "drift", "swapped", "pruned"]),
    ),
    max_size=30,
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "slot": st.sampled_from([BTC, ETH]),
        "kinds": st.lists(st.sampled_from([SCORED, "drift", "swapped", "made_up"])),
        "since_ms": st.integers(0, 10),
        "before": st.integers(1, 35),
        "limit": st.integers(1, 8),
    },
)


@settings(max_examples=60, deadline=None)
@given(entries, filters)
def test_the_newest_entries_are_those_of_the_whole_journal_that_pass_the_filters(
    written: list[tuple[SlotName | None, int, str]], asked: dict[str, Any]
) -> None:
    scored = dict.fromkeys([BTC, ETH], 0)
    with Store(":memory:") as store:
        for of, at_ms, kind in written:
            slot, when = of, at_ms
            if kind == SCORED:  # the bars of a slot are scored in order
                slot = of or BTC
                when = scored[slot] = max(scored[slot], at_ms)
            store.append_journal(slot, when, kind, {})
        kinds = asked.get("kinds")
        expected = [
            entry
            for entry in store.journal()
            if entry.slot == asked.get("slot", entry.slot)
            and (entry.kind != SCORED if kinds is None else entry.kind in kinds)
            and entry.at_ms >= asked.get("since_ms", 0)
            and entry.seq < asked.get("before", 99)
        ]
        limit = asked.get("limit", LONGEST_PAGE)
        assert store.journal_newest(**asked) == expected[::-1][:limit]


def test_pages_follow_each_other_without_a_gap_and_are_never_longer_than_allowed(
    store: Store,
) -> None:
    for number in range(450):
        store.append_journal(BTC, number, "drift", {"n": number})
    pages, before = [], None
    while page := store.journal_newest(before=before, limit=10_000):
        pages.append(len(page))
        before = page[-1].seq
    assert pages == [LONGEST_PAGE, LONGEST_PAGE, 50]


def test_an_entry_that_a_bad_disk_changed_is_left_out_and_the_page_is_full_all_the_same(
    store: Store,
) -> None:
    for number in range(5):
        store.append_journal(BTC, number, "drift", {"n": number})
    with store.database.writing() as db:
        db.execute("UPDATE journal SET body = '{\"n' WHERE seq = 4")
    assert [entry.seq for entry in store.journal_newest(limit=3)] == [5, 3, 2]


def test_the_kinds_are_those_that_a_slot_has_without_the_scores(store: Store) -> None:
    assert (kinds_of(store.database, None), newest_seq(store.database)) == ([], 0)
    for slot, kind in [(BTC, SCORED), (BTC, "swapped"), (BTC, "drift"), (ETH, "alert")]:
        store.append_journal(slot, 1, kind, {})
    assert kinds_of(store.database, BTC) == ["drift", "swapped"]
    assert kinds_of(store.database, None) == ["alert", "drift", "swapped"]
    assert newest_seq(store.database) == 4


@pytest.mark.parametrize("slot", [None, BTC])
def test_no_filter_reads_the_scores_of_years_to_find_a_few_entries(
    store: Store, slot: SlotName | None
) -> None:
    with store.database.writing() as db:
        for number in range(20_000):
            kind = "drift" if number % 1000 == 0 else SCORED
            db.execute(
                "INSERT INTO journal VALUES (?, 'BTC-5m', ?, ?, '{}')", (number, number, kind)
            )
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        db.set_progress_handler(count, 100)
    for asked in (
        {},
        {"since_ms": 10_000},
        {"kinds": ["drift"]},
        {"kinds": ["x"], "before": 19_000},
    ):
        store.journal_newest(slot, limit=10, **asked)
    store.journal_newest(slot, kinds=[SCORED], limit=10)
    assert steps < 100  # 10,000 instructions of SQLite; one scan takes ten times as many
