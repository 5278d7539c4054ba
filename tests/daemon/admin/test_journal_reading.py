"""The journal as a person asks for it: since when, which slot, which kind, and what comes next."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.admin.journal_reading import (
    JournalFilter,
    ago,
    follow,
    known_kinds,
    known_slot,
    newest,
    note,
)
from daemon.config.schema import Config, DaemonSection
from daemon.journal.line import JournalLine
from daemon.store.data_folder import STORE_NAME, open_store
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from tests.fakes import FakeClock

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")
T0, HOUR_MS = 1_753_963_200_000, 3_600_000  # 2025-07-31 12:00 UTC


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as made:
        yield made


def fill(store: Store) -> None:
    """Journal five hours: scores, and each hour a drift, an alert about it and a decision."""
    for hour in range(5):
        at_ms = T0 + hour * HOUR_MS
        for _ in range(3):
            store.append_journal(BTC, at_ms, "BarScored", {"t": at_ms, "close": 1.0})
        store.append_journal(BTC, at_ms, "drift", {"text": f"drift {hour}"})
        store.append_journal(BTC, at_ms, "alert", {"text": f"drift {hour}"})
        store.append_journal(ETH, at_ms, "decision", {"text": f"wait: {hour}"})


def texts(lines: list[JournalLine]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", T0 - 90_000),
        ("2h", T0 - 2 * HOUR_MS),
        ("1.5 H", T0 - HOUR_MS * 3 // 2),
        ("3d", T0 - 72 * HOUR_MS),
        ("1w", T0 - 168 * HOUR_MS),
        ("2025-07-31", T0 - 12 * HOUR_MS),
        ("2025-07-31 13:30", T0 + HOUR_MS * 3 // 2),
        ("2025-07-31T14:00+02:00", T0),
    ],
)
def test_since_is_how_long_ago_or_a_time(text: str, ms: int) -> None:
    assert ago(text, T0) == ms


@pytest.mark.parametrize("text", ["", "2x", "yesterday", "h", "-2h", "2025-13-01"])
def test_any_other_since_is_one_line_that_says_what_to_write(text: str) -> None:
    with pytest.raises(BadInput, match="write how long ago, like 2h or 3d") as error:
        ago(text, T0)
    assert "\n" not in str(error.value)


def test_lines_come_newest_last_without_scores_and_repeats(store: Store) -> None:
    fill(store)
    read = newest(store, JournalFilter())
    assert texts(read.lines)[-4:] == [
        "Drift 3.", "No new retrain for now: 3.", "Drift 4.", "No new retrain for now: 4.",
    ]  # fmt: skip
    assert len(read.lines) == 10
    assert not read.is_cut
    assert note(store, JournalFilter(), read) == ""


def test_a_limit_keeps_the_newest_and_says_that_more_is_there(store: Store) -> None:
    fill(store)
    wanted = JournalFilter(limit=3, slot=BTC)
    read = newest(store, wanted)
    assert texts(read.lines) == ["Drift 2.", "Drift 3.", "Drift 4."]
    assert note(store, wanted, read).startswith("older entries are left out")
    whole = JournalFilter(limit=5, slot=BTC)
    assert note(store, whole, newest(store, whole)) == ""


def test_since_and_kinds_choose_scores_too(store: Store) -> None:
    fill(store)
    scores = known_kinds(store, ["barscored"])
    read = newest(store, JournalFilter(kinds=scores, since_ms=T0 + 4 * HOUR_MS))
    assert [line.kind for line in read.lines] == ["BarScored"] * 3
    every = newest(store, JournalFilter(kinds=known_kinds(store, ["all"])))
    assert len(every.lines) == 30


def test_more_lines_than_a_page_of_the_store_are_read(store: Store) -> None:
    for i in range(450):
        store.append_journal(BTC, T0 + i, "paused", {"text": f"{i}"})
    read = newest(store, JournalFilter(limit=1000))
    assert [line.at_ms - T0 for line in read.lines] == list(range(450))


def test_nothing_found_says_when_the_newest_entry_was(store: Store) -> None:
    wanted = JournalFilter(since_ms=T0 + 9 * HOUR_MS)
    assert note(store, wanted, newest(store, wanted)) == "nothing is in the journal yet"
    fill(store)
    said = note(store, wanted, newest(store, wanted))
    assert said == "nothing of that is in the journal; its newest entry is of 2025-07-31 16:00 UTC"


def test_an_unknown_slot_or_kind_is_one_line_with_a_suggestion(store: Store) -> None:
    store.append_journal(ETH, T0, "paused", {})
    config = Config()
    assert known_slot(config, store, "btc-5m") == BTC
    assert known_slot(config, store, "ETH-5m") == ETH  # was configured once
    for text in ("BTC-15m", "BTC", "BTC-5x"):
        with pytest.raises(BadInput, match="did you mean 'BTC-5m'"):
            known_slot(config, store, text)
    with pytest.raises(BadInput, match="did you mean 'drift'"):
        known_kinds(store, ["drfit"])
    with pytest.raises(BadInput, match="`all` shows every kind"):
        known_kinds(store, ["zzz"])


class Steps(FakeClock):
    """A clock that does one thing at each sleep, and then is cancelled."""

    def __init__(self, *things: Any) -> None:
        super().__init__()
        self.things = list(things)

    async def sleep(self, seconds: float) -> None:
        assert seconds <= 1
        if not self.things:
            raise asyncio.CancelledError
        self.things.pop(0)()


async def followed(folder: Path, wanted: JournalFilter, *things: Any) -> list[str]:
    """Do things, one a second; return what was shown."""
    shown: list[JournalLine] = []
    config = Config(daemon=DaemonSection(data_dir=str(folder)))
    with pytest.raises(asyncio.CancelledError):
        await follow(config, wanted, 0, Steps(*things), shown.append)
    return texts(shown)


async def test_following_shows_each_new_entry_once(store: Store, tmp_path: Path) -> None:
    def add(kind: str, text: str, slot: SlotName = BTC) -> Any:
        return lambda: store.append_journal(slot, T0, kind, {"text": text})

    new = (add("drift", "one"), lambda: None, add("BarScored", ""), add("alert", "two"))
    assert await followed(tmp_path, JournalFilter(), *new, add("alert", "two")) == ["One.", "Two."]
    only = JournalFilter(slot=ETH)
    assert await followed(tmp_path, only, add("drift", "x"), add("drift", "y", ETH)) == ["Y."]
    drifts = JournalFilter(kinds=frozenset({"drift"}))
    assert await followed(tmp_path, drifts) == []
    assert (await followed(tmp_path, drifts, lambda: None)) == ["One.", "X.", "Y."]


async def test_following_outlives_a_store_that_is_replaced(tmp_path: Path) -> None:
    def make() -> None:
        with open_store(tmp_path) as store:
            store.append_journal(BTC, T0, "drift", {"text": "back"})

    def lose() -> None:
        (tmp_path / STORE_NAME).unlink()

    assert await followed(tmp_path, JournalFilter(), lambda: None, make, lose) == ["Back."]


async def test_following_goes_on_in_a_store_that_begins_anew(store: Store, tmp_path: Path) -> None:
    fill(store)
    old, store_path = len(list(store.journal())), tmp_path / STORE_NAME

    def begin_anew() -> None:
        store.close()
        store_path.unlink()
        open_store(tmp_path).close()

    def add() -> None:
        with open_store(tmp_path) as new:
            new.append_journal(BTC, T0, "drift", {"text": "first of it"})

    assert old > 1
    drifts = JournalFilter(kinds=frozenset({"drift"}))
    shown = await followed(tmp_path, drifts, lambda: None, begin_anew, add)
    assert shown[-1] == "First of it."
