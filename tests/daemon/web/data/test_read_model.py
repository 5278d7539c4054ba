from pathlib import Path
from typing import Any

import pytest

from daemon.mqtt.messages import FeedState, VenueState
from daemon.store.database import StoreUnavailable
from daemon.store.journal_kinds import SCORED
from daemon.web.data.read_model import Views
from hyperdrift.slot_name import SlotName
from tests.daemon.web.data.history import SLOT, Past, replaced
from tests.fakes import FakeClock

FIRST, SECOND = "20250615_150640_ba55f4789d38", "20250615_150740_ba55f4789d38"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return replaced(tmp_path_factory.mktemp("models"))


async def test_an_owner_who_reads_nothing_else_finds_out_why_the_model_was_replaced(
    past: Past,
) -> None:
    view = await past.views().slot(SLOT)
    assert view.why_live == (
        f"It replaced {FIRST} on 2025-06-16 20:05 UTC because mom_1's relation to the other "
        "features has changed since 2025-06-16 16:25 UTC (the evidence is 2.0 x the alarm line); "
        "it passed 11 gates, and its log loss was 0.11% better."
    )
    kinds = [mark.kind for mark in view.timeline]
    assert kinds == ["trained", "live", "drift", "trained", "live"]
    assert [mark.model_id for mark in view.timeline] == [FIRST, FIRST, "", SECOND, SECOND]
    entries = {entry.seq: entry.kind for entry in past.store.journal()}
    assert [entries[mark.seq] for mark in view.timeline] == [
        *("retrain_finished", "swapped", "drift", "retrain_finished", "swapped")
    ]


async def test_the_page_of_a_slot_has_its_versions_bars_drift_and_journal(past: Past) -> None:
    view = await past.views().slot(SLOT)
    assert [(line.model_id, line.live, line.previous) for line in view.versions] == [
        (SECOND, True, False),
        (FIRST, False, True),
    ]
    assert [bar.t for bar in view.bars] == sorted((bar.t for bar in view.bars), reverse=True)
    assert len(view.bars) == 24
    assert view.bars[0].t == view.summary.state.last_bar_t
    assert {bar.decision for bar in view.bars} == {"DOWN", "NEUTRAL", "UP"}
    assert view.drift[0].evidence == max(bar.evidence for bar in view.drift)
    assert {bar.feature for bar in view.drift} == set(view.summary.state.drift)
    assert SCORED not in {line.kind for line in view.journal}
    assert [line.seq for line in view.journal] == sorted(
        (line.seq for line in view.journal), reverse=True
    )
    assert "mom_1" in next(line.text for line in view.journal if line.kind == "drift")


async def test_the_line_of_equity_ends_where_the_figures_of_the_state_do(past: Past) -> None:
    view = await past.views().slot(SLOT)
    earned = view.summary.state.earning["signals"]["since_start"]
    assert len(view.equity) == earned["count"]
    assert view.equity[-1].total_bp == pytest.approx(
        earned["mean_bp"] * earned["count"], abs=0.005 * earned["count"]
    )
    assert view.summary.equity == view.equity[-60:]


async def test_a_restart_shows_what_the_running_daemon_shows(past: Past) -> None:
    now, later = past.views(), past.restarted().views()
    assert await later.overview() == await now.overview()
    assert await later.slot(SLOT) == await now.slot(SLOT)
    assert await later.journal() == await now.journal()
    assert await later.version(SLOT, SECOND) == await now.version(SLOT, SECOND)


async def test_the_first_page_says_that_it_runs_or_which_slots_need_somebody(
    tmp_path: Path,
) -> None:
    calm, sick = Past(tmp_path / "calm"), Past(tmp_path / "sick")
    sick.trouble = "no bars of SOL come: see whether it is listed"
    paused = Past(tmp_path / "paused")
    paused.retrain_off()
    views = Views(
        {SLOT: calm, SlotName("ETH", "5m"): paused, SlotName("SOL", "5m"): sick},
        status=lambda: calm.status,
        broker=str,
        clock=FakeClock(),
        now_ms=lambda: calm.now_ms,
        store=calm.threaded,
        registry=calm.registry,
    )
    page = await views.overview()
    assert [one.slot for one in page.slots] == ["SOL-5m", "ETH-5m", "BTC-5m"]
    assert [one.urgency for one in page.slots] == ["act", "look", "busy"]
    assert (page.urgency, page.headline) == ("act", "It runs, and SOL-5m needs you.")
    assert page.slots[0].needs == "No bars of SOL come: see whether it is listed."


async def test_nothing_is_said_anew_of_a_slot_that_published_nothing_new(past: Past) -> None:
    views = past.views()
    first, second = await views.overview(), await views.overview()
    assert first.slots[0] is second.slots[0]
    past.published = None
    assert (await views.overview()).slots[0] is not first.slots[0]


async def test_many_slots_let_a_bar_go_first_every_so_often(past: Past) -> None:
    clock = FakeClock()
    slots = {SlotName(f"C{number}", "5m"): past for number in range(200)}
    views = Views(
        slots,
        status=lambda: past.status,
        broker=str,
        clock=clock,
        now_ms=lambda: past.now_ms,
        store=past.threaded,
        registry=past.registry,
    )
    assert len((await views.overview()).slots) == 200
    assert clock.slept == [0] * 10


async def test_the_journal_is_read_in_pages_and_by_kind(past: Past) -> None:
    views = past.views()
    page = await views.journal(limit=3)
    rest = await views.journal(limit=200, before=page.older)
    whole = await views.journal(limit=200)
    assert (*page.lines, *rest.lines) == whole.lines
    assert whole.older is None
    assert {SCORED, "drift", "decision"} <= set(whole.kinds)
    assert whole.slots == ("BTC-5m",)
    drifts = await views.journal(SLOT, ["drift"], limit=5)
    assert [line.kind for line in drifts.lines] == ["drift"]
    scores = await views.journal(SLOT, [SCORED], limit=5)
    assert [line.kind for line in scores.lines] == [SCORED] * 5
    late = await views.journal(since_ms=past.now_ms)
    assert late.lines == ()


async def test_a_version_shows_its_gates_its_figures_and_why_it_was_trained(past: Past) -> None:
    view = await past.views().version(SLOT, SECOND)
    assert view is not None
    assert view.cause == (
        "It was trained because mom_1's relation to the other features has changed since "
        "2025-06-16 16:25 UTC (the evidence is 2.0 x the alarm line)."
    )
    assert view.has_report
    assert view.gates[0].sentence == "fine"
    assert view.scores["skill"] == 0.03
    assert view.libraries["onnxruntime"] == "1.2"
    assert view.line.live


@pytest.mark.parametrize("model_id", ["", "x", "../BTC-5m", "20250615", "a\0b", "x" * 5000])
async def test_a_version_that_does_not_exist_is_none(past: Past, model_id: str) -> None:
    assert await past.views().version(SLOT, model_id) is None


class Refusing:
    """A store on a disk that refuses."""

    async def call(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk is full")


async def test_while_the_disk_refuses_the_pages_show_what_the_memory_has(past: Past) -> None:
    views = Views(
        {SLOT: past},
        status=lambda: past.status,
        broker=str,
        clock=FakeClock(),
        now_ms=lambda: past.now_ms,
        store=Refusing(),
        registry=past.registry,
    )
    view = await views.slot(SLOT)
    assert (view.journal, view.timeline, view.why_live, view.bars) == ((), (), "", ())
    assert view.summary.state.model_id == SECOND
    assert len(view.equity) > 0
    assert (await views.journal()).lines == ()
    assert await views.version(SLOT, SECOND) is not None


async def test_the_page_of_the_feed_has_every_slot_once_there_is_a_feed(tmp_path: Path) -> None:
    past = Past(tmp_path)
    assert (await past.views().feed()).slots == ()
    counts = FeedState(confirmed=3, provisional=0, filled=1, revised=0, refused=0, gaps=0)
    venue = VenueState(
        connected=True,
        reconnects=0,
        weight_left=900,
        weight_per_minute=1000,
        retries=0,
        throttled=0,
        clock_jumps=0,
    )
    past.status = past.online(venue=venue, feed={"BTC-5m": counts})
    page = await past.views().feed()
    assert page.venue == venue
    assert [(line.slot, line.feed) for line in page.slots] == [("BTC-5m", counts)]


async def test_hostile_text_of_an_operator_comes_through_as_it_is(tmp_path: Path) -> None:
    past = Past(tmp_path)
    why = '<script>"&\N{RIGHT-TO-LEFT OVERRIDE}'
    past.command("pause", why)
    assert why in (await past.views().journal()).lines[-1].text
