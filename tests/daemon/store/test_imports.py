"""A forgotten import leaves a store that equals one that never had it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from daemon.core.bars import Bar, Funding, Hole, Provenance
from daemon.store.bar_columns import BarColumns
from daemon.store.feature_frame import Flow
from daemon.store.imported.rates import Rates
from daemon.store.imported.sources import BARS, FUNDING, Scope
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS
from tests.daemon.fake_venue import BTC, START, STEP, bar

LAST = 1
VENUES = [p for p in Provenance if p is not Provenance.IMPORT]
numbers = st.sets(st.integers(0, LAST), min_size=1).map(sorted)
volumes = st.integers(0, 3).map(float)
closes = st.sampled_from([99.0, 100.0, 101.0])
bars = st.builds(
    lambda which, volume, close: [bar(k, volume, close) for k in which], numbers, volumes, closes
)
hours = st.sets(st.integers(0, 1), min_size=1).map(sorted)
rates = st.sampled_from([1e-5, 2e-5, 3e-5])
stamps = st.sampled_from([0, 79])
flows = st.builds(
    lambda which, seen, top: [Flow(START + k * STEP, top, -top, seen) for k in which],
    numbers,
    volumes,
    st.sampled_from([0.25, 0.5]),
)
names = st.sampled_from(["a.csv", "b.csv"])
ends = st.integers(0, LAST)


def hour_of(number: int, stamp: int) -> int:
    return START // HOUR_MS * HOUR_MS + number * HOUR_MS + stamp


def settled(which: list[int], stamp: int, rate: float) -> list[Funding]:
    return [Funding(hour_of(k, stamp), rate) for k in which]


def everything(store: Store) -> dict[str, Any]:
    """Whatever a reader can ask of the bars and the funding, without names and moments."""
    far = START + 100 * STEP
    frame = store.frame(BTC)
    return {
        "held": store.held(BTC, 0, far),
        "bars": {name: column.tolist() for name, column in store.bars(BTC).items()},
        "frame": {name: np.nan_to_num(column, nan=-9).tolist() for name, column in frame.items()},
        "tails": [
            {n: np.nan_to_num(c, nan=-9).tolist() for n, c in store.frame(BTC, 2, to_t=t).items()}
            for t in range(START, START + LAST * STEP, STEP)
        ],
        "missing": store.missing(BTC),
        "gaps": store.gaps(BTC),
        "newest": [store.newest_t(BTC, p) for p in Provenance],
        "funding": store.funding("BTC", 0, far + 10 * HOUR_MS),
        "ends": (store.newest_funding_time("BTC"), store.oldest_funding_time("BTC")),
        "flow": store.newest_flow_t(BTC),
        "sources": [s._replace(name="", at_ms=0) for s in store.imports.sources(BTC)],
    }


@dataclass
class Event:
    """Something that happened to a store; `rows` is what is left of it."""

    do: Callable[[Store, list[Any], str], Any]
    rows: list[Any]
    kind: str = ""
    name: str = ""


def put_import(store: Store, rows: list[Any], name: str) -> str:
    only = BarColumns.of(row[0] for row in rows)
    return store.imports.put_bars(BTC, only, name, 0, flows=[f for _, f in rows if f]).name


def put_rates(store: Store, rows: list[Funding], name: str) -> str:
    time, rate = np.array([r.time for r in rows]), np.array([r.rate for r in rows])
    return store.imports.put_funding("BTC", Rates(time, rate), name, 0).name


class ImportsComeAndGo(RuleBasedStateMachine):
    """Every event but the imports that are forgotten again makes the same store."""

    @initialize()
    def begin(self) -> None:
        self.store = Store(":memory:")
        self.events: list[Event] = []

    @rule(new=bars, provenance=st.sampled_from(VENUES))
    def the_venue_says(self, new: list[Bar], provenance: Provenance) -> None:
        self.happen(Event(lambda s, rows, _: s.put_bars(BTC, rows, provenance), list(new)))

    @rule(which=hours, rate=rates)
    def the_venue_settles(self, which: list[int], rate: float) -> None:
        self.happen(Event(lambda s, rows, _: s.put_funding("BTC", rows), settled(which, 79, rate)))

    @rule(new=flows)
    def a_flow_is_seen(self, new: list[Flow]) -> None:
        self.happen(Event(lambda s, rows, _: s.put_flow(BTC, rows), new))

    @rule(new=bars, name=names, flow=st.none() | flows)
    def a_file_of_bars_comes(self, new: list[Bar], name: str, flow: list[Flow] | None) -> None:
        of = {f.t: f for f in flow or ()}
        self.happen(Event(put_import, [(b, of.get(b.t)) for b in new], BARS, name))

    @rule(which=hours, rate=rates, stamp=stamps, name=names)
    def a_file_of_rates_comes(self, which: list[int], rate: float, stamp: int, name: str) -> None:
        self.happen(Event(put_rates, settled(which, stamp, rate), FUNDING, name))

    @rule(data=st.data())
    def an_import_is_forgotten(self, data: st.DataObject) -> None:
        imports = [e for e in self.events if e.kind]
        if imports:
            event = data.draw(st.sampled_from(imports))
            self.store.imports.forget(Scope.of(BTC, event.kind), event.name)
            self.events.remove(event)

    @rule(first=ends, last=ends)
    def a_span_of_bars_is_forgotten(self, first: int, last: int) -> None:
        if any(e.kind == BARS for e in self.events):
            span = START + first * STEP, START + last * STEP
            self.store.imports.forget(Scope.of(BTC, BARS), None, *span)
            for event in self.events:
                if event.kind == BARS:
                    kept = [r for r in event.rows if not span[0] <= r[0].t <= span[1]]
                    event.rows = kept
            self.events = [e for e in self.events if e.rows]

    @invariant()
    def the_store_equals_one_without_what_was_forgotten(self) -> None:
        if hasattr(self, "store"):
            with Store(":memory:") as other:
                for number, event in enumerate(self.events):
                    event.do(other, event.rows, f"{number}.csv")
                assert everything(self.store) == everything(other)

    def happen(self, event: Event) -> None:
        named = event.do(self.store, event.rows, event.name)
        if event.kind:
            event.name = named
            same = (event.kind, named)
            self.events = [e for e in self.events if (e.kind, e.name) != same]
        self.events.append(event)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


TestImportsComeAndGo = ImportsComeAndGo.TestCase
TestImportsComeAndGo.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.fixture
def store():
    with Store(":memory:") as opened:
        yield opened


def columns(*bars: Bar) -> BarColumns:
    return BarColumns.of(bars)


def test_a_newer_import_wins_as_a_whole_and_not_by_volume(store: Store) -> None:
    old, new = [bar(k, volume=9.0) for k in range(4)], [bar(k, volume=1.0) for k in (1, 2)]
    store.imports.put_bars(BTC, columns(*old), "old.csv", 1)
    done = store.imports.put_bars(BTC, columns(*new), "new.csv", 2)
    assert (done.counts.revised, done.overlap.differ) == (2, 2)
    assert store.bars(BTC)["volume"].tolist() == [9.0, 1.0, 1.0, 9.0]
    listed = [(s.name, s.rows, s.in_force) for s in store.imports.sources(BTC)]
    assert listed == [("old.csv", 4, 2), ("new.csv", 2, 2)]


def test_the_same_file_again_is_one_source_and_is_the_newest(store: Store) -> None:
    first, second = columns(bar(0, volume=1.0)), columns(bar(0, volume=2.0))
    store.imports.put_bars(BTC, first, "a.csv", 1)
    store.imports.put_bars(BTC, second, "b.csv", 2)
    again = store.imports.put_bars(BTC, first, "a.csv", 3)
    assert again.name == "a.csv"
    assert store.bars(BTC)["volume"].tolist() == [1.0]
    assert [(s.name, s.at_ms) for s in store.imports.sources(BTC)] == [("b.csv", 2), ("a.csv", 3)]


def test_other_rows_under_the_same_name_are_a_source_of_their_own(store: Store) -> None:
    right, wrong = columns(bar(0)), columns(bar(0, close=101.0))
    assert store.imports.put_bars(BTC, right, "a.csv", 1).name == "a.csv"
    assert store.imports.put_bars(BTC, wrong, "a.csv", 2).name == "a.csv-2"
    store.imports.forget(Scope.of(BTC, BARS), "a.csv-2")
    assert store.bars(BTC)["close"].tolist() == [100.0]


def test_an_unknown_source_is_refused_with_the_names_that_there_are(store: Store) -> None:
    store.imports.put_bars(BTC, columns(bar(0)), "a.csv", 1)
    with pytest.raises(BadInput, match=r"--source b.csv: BTC-5m has no such import.*: a\.csv"):
        store.imports.forget(Scope.of(BTC, BARS), "b.csv")


def test_an_import_of_an_impossible_bar_stores_nothing(store: Store) -> None:
    broken = Bar(START + STEP, -1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(BadInput, match=r"the BTC-5m bar at t=.* cannot be stored"):
        store.imports.put_bars(BTC, columns(bar(0), broken), "a.csv", 1)
    assert (store.newest_t(BTC), store.imports.sources(BTC)) == (None, [])


def test_fills_that_repeat_a_forgotten_close_go_with_it(store: Store) -> None:
    store.put_bars(BTC, [bar(0, close=99.0)], Provenance.REST)
    store.imports.put_bars(BTC, columns(bar(1, close=101.0)), "eth.csv", 1)
    flat = [Bar(START + k * STEP, 101.0, 101.0, 101.0, 101.0, 0.0) for k in (2, 3)]
    store.put_bars(BTC, flat, Provenance.FILLED)
    gone = store.imports.forget(Scope.of(BTC, BARS), "eth.csv")
    assert store.imports.forget_fills(BTC, gone.ends) == 2
    assert store.newest_t(BTC) == START


def test_gaps_are_the_venues_and_stay(store: Store) -> None:
    store.note_gap(BTC, Hole(START, START + STEP))
    store.imports.put_bars(BTC, columns(bar(0), bar(1)), "a.csv", 1)
    store.imports.forget(Scope.of(BTC, BARS), "a.csv")
    assert store.gaps(BTC) == [Hole(START, START + STEP)]
