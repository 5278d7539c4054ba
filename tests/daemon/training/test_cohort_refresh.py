"""Before a retrain the cohorts are learnt from the trades heard, in a child process."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from daemon.cohorts.learning import heard
from daemon.cohorts.refresh import refresh
from daemon.config.schema import Config, DaemonSection, FeaturesSection, SlotSection
from daemon.core.bars import Bar, Provenance
from daemon.core.subprocesses import Limits
from daemon.ingest.importer import import_files
from daemon.market_data.order_flow import read_cohorts
from daemon.store import taker_table
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.feature_frame import Flow
from daemon.store.imported.sources import Scope
from daemon.store.store import Store
from daemon.training.cohort_refresh import _take, refresh_cohorts
from daemon.training.jobs import Jobs
from hyperdrift.slot_name import DAY_MS, SlotName
from tests.daemon.cohorts.archive_files import TOP, write
from tests.retrain.cohorts.planted_takers import takers

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
ADDRESSES = tuple(f"0x{number:040x}" for number in range(1, 41))
KNOWN = ADDRESSES[:20]
DAYS = 12


@dataclass
class Host:
    folder: Path
    store: ThreadedStore

    async def refresh(self, at_ms: int, *, learns: bool = True) -> list[dict[str, object]]:
        """Refresh at a time; return what was logged."""
        section = SlotSection(coin="BTC")
        config = Config(
            daemon=DaemonSection(data_dir=str(self.folder)),
            slots=(section,),
            features=FeaturesSection(learn_cohorts=learns),
        )
        jobs = Jobs(self.folder / "jobs", Limits())
        with capture_logs() as logged:
            await refresh_cohorts(config, section, self.store, jobs, at_ms)
        assert not list((self.folder / "jobs").glob("*cohorts*"))
        return [dict(line) for line in logged]


@pytest.fixture
def host(tmp_path: Path):
    store = ThreadedStore(open_store(tmp_path))
    yield Host(tmp_path, store)
    store.close()


def fill(store: Store) -> None:
    """Store twelve days of bars, whose flow is 0 because nobody is in force."""
    flows, close = takers(5, right=0.9, days=DAYS, addresses=len(ADDRESSES), skilled_a_day=80)
    kept: dict[int, dict[str, float]] = {k * STEP: {} for k in range(len(close))}
    for address, bar, signed in zip(*(column.tolist() for column in flows), strict=True):
        kept[bar * STEP][ADDRESSES[address]] = signed
    taker_table.put(store.database, SLOT, kept, 99 * DAY_MS)
    opened = np.r_[close[:1], close[:-1]]
    bars = [
        Bar(k * STEP, o, max(o, c), min(o, c), c, 50.0)
        for k, (o, c) in enumerate(zip(opened.tolist(), close.tolist(), strict=True))
    ]
    store.put_bars(SLOT, bars, Provenance.REST)
    store.put_flow(SLOT, [Flow(t, 0.0, 0.0, 50.0) for t in kept])


def _rows(store: Store, from_t: int, to_t: int) -> taker_table.TakerRows:
    return taker_table.read(store.database, SLOT, from_t, to_t)


async def test_earlier_bars_have_flow_at_once_and_each_refresh_adds_a_list(host: Host) -> None:
    await host.store.call(fill)
    (line,) = await host.refresh(DAYS * DAY_MS)
    assert (line["event"], line["from_t"]) == ("cohorts.learnt", DAYS * DAY_MS + STEP)
    lists = await host.store.call(lambda s: taker_table.lists(s.database, SLOT))
    assert lists[-1].top | lists[-1].bottom <= set(KNOWN)
    assert line["top"] == len(lists[-1].top)
    assert len(lists[-1].top) > 7
    written = read_cohorts(host.folder / "cohorts" / "BTC-5m.csv")
    assert written.top == lists[-1].top
    frame = await host.store.call(Store.frame, SLOT)
    first = lists[0].from_t // STEP
    assert not frame["s_top"][:first].any()
    names = await host.store.call(lambda s: taker_table.addresses(s.database))
    for one, after in pairwise(lists):
        span = slice(one.from_t // STEP, after.from_t // STEP)
        rows = await host.store.call(_rows, one.from_t, after.from_t - 1)
        ours = np.array([names[k] in one.top for k in rows.taker.tolist()])
        assert frame["s_top"][span].sum() == pytest.approx((rows.signed * ours).sum(), abs=1e-3)
        assert one.top
    await host.refresh((DAYS + 1) * DAY_MS)
    later = await host.store.call(lambda s: taker_table.lists(s.database, SLOT))
    assert later[:-1] == lists
    again = await host.store.call(Store.frame, SLOT)
    assert np.array_equal(again["s_top"], frame["s_top"])


async def test_what_cannot_be_learnt_is_logged_and_changes_nothing(host: Host) -> None:
    (line,) = await host.refresh(DAYS * DAY_MS)
    assert line["event"] == "cohorts.not_learnt"
    assert "no trades of it were kept" in str(line["why"])
    assert await host.store.call(lambda s: taker_table.lists(s.database, SLOT)) == []


async def test_without_the_key_nothing_is_learnt(host: Host) -> None:
    assert await host.refresh(DAYS * DAY_MS, learns=False) == []


async def test_what_the_archive_brought_is_learnt_from_and_can_be_forgotten(host: Host) -> None:
    slot = SlotName("TEST", "5m")
    files = write(host.folder, 6, right=0.95)
    (report,) = await host.store.call(
        lambda s: list(import_files(s, slot, files, now_ms=2**50, keep_takers_ms=99 * DAY_MS))
    )
    taken = await host.store.call(heard, slot)
    found = refresh(slot, taken, 12, int(taken.t[-1]) + STEP, is_first=True)
    assert found.lists[-1].top == {TOP}
    await _take(host.store, slot, found)
    frame = await host.store.call(Store.frame, slot)
    first = np.searchsorted(frame["t"], found.lists[0].from_t)
    assert not frame["s_top"][:first].any()
    assert np.count_nonzero(frame["s_top"][first:]) > 100
    scope = Scope.of(slot, "bars")
    await host.store.call(lambda s: s.imports.forget(scope, report.source))
    rows = await host.store.call(lambda s: s.database.read("SELECT count(*) FROM imported_flow"))
    assert rows == [(0,)]
