"""The screen fits any terminal, and says what matters at each width."""

from dataclasses import replace

import pytest

from daemon.admin.top.screen import Drawn, draw
from daemon.admin.top.top_state import TopState, heard_line, heard_slot, pressed
from daemon.journal.line import JournalLine
from daemon.mqtt.messages import BotState, DaemonStatus, VenueState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress
from hyperdrift.slot_name import SlotName
from tests.daemon.admin.top.states import T0, shown, slot_state

VENUE = VenueState(
    connected=True, reconnects=0, weight_left=9, weight_per_minute=10, retries=0, throttled=0,
    clock_jumps=0,
)  # fmt: skip
HOSTILE = "\x1b[2J\nx\u202e漢字"


def text(drawn: Drawn) -> str:
    return "\n".join(line.plain for line in drawn.lines)


def full() -> TopState:
    """Return a screen with everything on it."""
    bots = (BotState(bot_id=HOSTILE, online=True, model_id="m" * 80),)
    state = shown(*(f"C{i}-5m" for i in range(200)), bots=bots, trouble=f"{HOSTILE} is away " * 9)
    job = RetrainProgress(job="j", step="fit the stack", percent=45.0)
    busy = slot_state(phase="retraining", retrain=job, drift={"gk_volatility": 2.0, "x": 0.5})
    state = heard_slot(state, SlotName("C0", "5m"), busy, T0)
    line = JournalLine(seq=1, at_ms=T0, slot="C0-5m", kind="alert", text=HOSTILE * 30)
    status = DaemonStatus(state="online", version="0.1.0", venue=VENUE, trouble="look " * 60)
    return replace(heard_line(state, line), daemon=status)


@pytest.mark.parametrize("height", [1, 5, 24, 60])
@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
def test_no_line_is_wider_or_lower_than_the_terminal(width: int, height: int) -> None:
    for state in (full(), TopState(), shown("BTC-5m"), pressed(full(), "enter")):
        for each in (state, replace(state, selected="C0-5m"), replace(state, trouble="gone " * 50)):
            drawn = draw(each, width, height, T0)
            assert 0 < len(drawn.lines) <= height
            assert max(line.cell_len for line in drawn.lines) <= width
            assert text(drawn).replace("\n", "").isprintable()


def test_two_hundred_slots_scroll_with_the_selected_one() -> None:
    state = full()
    for selected in ("C0-5m", "C150-5m", "C99-5m"):
        assert f" {selected} " in text(draw(replace(state, selected=selected), 80, 24, T0))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_row_and_what_it_needs_are_read_at_any_width(width: int) -> None:
    state = shown("BTC-5m", trouble="the disk is full; make room on it, or the bars are lost")
    seen = text(draw(state, width, 24, T0))
    for word in ("BTC-5m", "serving", "1d 1h", "52%", "40%", "0.1s"):
        assert word in seen
    assert "BTC-5m: The disk is full; make room on it, or the bars are lost." in " ".join(
        seen.split()
    )
    assert "q quit" in seen
    assert ("gk_volatility" in seen) == (width == 120)


def test_the_page_of_a_slot_has_its_events_its_drift_and_its_bots() -> None:
    state = pressed(replace(full(), selected="C0-5m"), "enter")
    seen = text(draw(state, 80, 60, T0))
    for word in ("retraining fit the stack 45 %", "next retrain", "what happened", "200%", "bots"):
        assert word in seen
    assert "##########|##########" in seen
    queued = RetrainProgress(job="j", step="waiting", percent=0.0, place=3, waiting=12)
    waits = heard_slot(state, SlotName("C0", "5m"), slot_state(retrain=queued), T0)
    assert "C0-5m  waiting, 3rd of 12" in text(draw(waits, 80, 60, T0))
    assert "waiting 3/12" in text(draw(replace(waits, opened=False), 120, 24, T0))
    asked = ChallengeProgress(job="j", reason="drift of x", place=3, waiting=12)
    asks = heard_slot(state, SlotName("C0", "5m"), slot_state(challenge=asked), T0)
    assert f"serving, {asked.said}" in text(draw(asks, 80, 60, T0))
    assert "asks 3/12" in text(draw(replace(asks, opened=False), 120, 24, T0))
    low = draw(state, 80, 10, T0)
    assert low.most_scrolled > 5
    end = draw(replace(state, scrolled=low.most_scrolled), 80, 10, T0)
    assert "no bot was heard of" in text(end)


def test_lost_news_are_told() -> None:
    state = replace(shown("BTC-5m"), trouble="the broker is away; what is shown is old")
    for each in (state, pressed(state, "enter")):
        assert "the broker is away" in text(draw(each, 60, 24, T0))
