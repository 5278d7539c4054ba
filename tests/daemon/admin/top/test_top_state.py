"""News and keys give the next state of the screen."""

from daemon.admin.top import top_state
from daemon.admin.top.top_state import TopState, heard_daemon, heard_line, heard_slot, pressed
from daemon.journal.line import JournalLine
from daemon.mqtt.messages import DaemonStatus
from daemon.mqtt.retrain_messages import RetrainProgress
from hyperdrift.slot_name import SlotName
from tests.daemon.admin.top.states import T0, shown, slot_state


def after(state: TopState, *keys: str) -> TopState:
    for key in keys:
        state = pressed(state, key)
    return state


def order(state: TopState) -> list[str]:
    return [row.slot for row in state.sorted_rows()]


def test_the_slot_that_needs_somebody_is_on_top() -> None:
    state = shown("BTC-5m", "ETH-5m", "SOL-5m")
    state = heard_slot(state, SlotName("ETH", "5m"), slot_state(trouble="it is away"), T0)
    job = RetrainProgress(job="x", step="fit", percent=3.0)
    busy = slot_state(phase="retraining", retrain=job)
    state = heard_slot(state, SlotName("SOL", "5m"), busy, T0)
    assert order(state) == ["ETH-5m", "SOL-5m", "BTC-5m"]


def test_keys_sort_and_the_same_key_again_reverses() -> None:
    state = shown("BTC-5m", "ETH-5m", "SOL-5m")
    state = heard_slot(state, SlotName("ETH", "5m"), slot_state(win_rate=0.3), T0)
    state = heard_slot(state, SlotName("SOL", "5m"), slot_state(win_rate=None), T0)
    assert order(after(state, "w")) == ["SOL-5m", "ETH-5m", "BTC-5m"]
    assert order(after(state, "w", "w")) == ["BTC-5m", "ETH-5m", "SOL-5m"]
    assert order(after(state, "w", "w", "s")) == ["BTC-5m", "ETH-5m", "SOL-5m"]
    for key in top_state.SORTS:
        assert sorted(order(after(state, key))) == order(after(state, "s"))


def test_the_selected_slot_stays_selected_when_the_order_changes() -> None:
    state = after(shown("A-5m", "B-5m", "C-5m"), "down")
    assert state.selected == "B-5m"
    assert after(state, "s", "s").selected_row() == state.rows["B-5m"]
    assert after(state, "end").selected == "C-5m"
    assert after(state, "end", "j", "k", "up", "up", "up").selected == "A-5m"
    gone = heard_daemon(state, DaemonStatus(state="online", slots=("A-5m",)))
    row = gone.selected_row()
    assert row is not None
    assert row.slot == "A-5m"


def test_enter_opens_a_slot_and_escape_leaves_it() -> None:
    state = after(shown("A-5m", "B-5m"), "j", "enter")
    assert (state.opened, state.selected) == (True, "B-5m")
    assert after(state, "j", "j", "k").scrolled == 1
    assert after(state, "w").sort == "urgency"
    assert not after(state, "escape").opened
    assert after(state, "q").has_ended
    assert after(TopState(), "enter", "j", "w", "?") == TopState(sort="win")


def test_an_event_is_kept_once_and_old_ones_go() -> None:
    def line(at_ms: int) -> JournalLine:
        return JournalLine(seq=0, at_ms=at_ms, slot="A-5m", kind="drift", text=f"at {at_ms}")

    state = heard_line(TopState(), line(2), line(2), line(1))
    assert [one.at_ms for one in state.lines["A-5m"]] == [1, 2]
    state = heard_line(state, *(line(at_ms) for at_ms in range(500)))
    assert [one.at_ms for one in state.lines["A-5m"]] == list(range(300, 500))
