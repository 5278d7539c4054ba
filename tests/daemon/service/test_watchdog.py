"""The heartbeat stops with the loop that bars go through, and says what the daemon does."""

import asyncio

import msgspec
import pytest

from daemon.core.loop_progress import LoopProgress
from daemon.mqtt.messages import SlotState
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress
from daemon.service.systemd_notify import SystemdNotifier
from daemon.service.watchdog import Watchdog, summary
from tests.captured import capture_logs
from tests.fakes import FakeClock

STATE = SlotState(
    phase="serving",
    model_id="20260101_000000_abc",
    model_age_s=3 * 3600,
    win_rate=0.52,
    trades=41,
    drift={},
    last_bar_t=0,
    lag_ms=0,
    retrain=None,
    mismatch=None,
)


class FakeSupervisor(SystemdNotifier):
    """Writes down what it is told."""

    def __init__(self, watchdog_s: float | None = 120.0) -> None:
        super().__init__({"NOTIFY_SOCKET": "/nowhere"})
        self.watchdog_s = watchdog_s
        self.told: list[str] = []

    def _send(self, text: str) -> None:
        self.told.append(text)


class PacedClock(FakeClock):
    """A clock whose sleepers wait until a test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.go.wait()
        self.go.clear()

    async def pass_one_beat(self) -> None:
        self.go.set()
        for _ in range(4):
            await asyncio.sleep(0)


async def test_it_asks_for_time_until_it_is_ready_and_says_that_it_stops() -> None:
    supervisor, clock = FakeSupervisor(), PacedClock()
    heart = Watchdog(supervisor, clock)
    async with heart.beating():
        heart.doing(lambda: "starting: waiting for the venue")
        await clock.pass_one_beat()
        heart.doing(lambda: "BTC-5m: collecting, no model yet")
        heart.ready(list)
        await clock.pass_one_beat()
    asked = supervisor.told.index("EXTEND_TIMEOUT_USEC=120000000")
    ready = supervisor.told.index("READY=1")
    alive = supervisor.told.index("WATCHDOG=1")
    assert asked < ready < alive
    assert "WATCHDOG=1" not in supervisor.told[:ready]
    assert supervisor.told[ready + 1] == "STATUS=BTC-5m: collecting, no model yet"
    assert supervisor.told[-1] == "STOPPING=1"


async def test_a_start_that_waits_is_ready_after_15_s_and_says_what_it_waits_for() -> None:
    supervisor, clock = FakeSupervisor(), PacedClock()
    heart = Watchdog(supervisor, clock)
    async with heart.beating():
        heart.doing(lambda: "waiting for the venue: it does not answer")
        await asyncio.sleep(0)
        for passed_ms in (10_000, 5_000):
            assert "READY=1" not in supervisor.told
            clock.ms += passed_ms
            await clock.pass_one_beat()
        assert clock.slept[:2] == [10.0, 5.0]
        assert supervisor.told[-2:] == ["READY=1", "WATCHDOG=1"]
        assert heart.start == "waiting for the venue: it does not answer"
        heart.doing(lambda: "BTC-5m: serving")
        heart.ready(list)
        assert heart.start == ""
    assert supervisor.told.count("READY=1") == 1


@pytest.mark.parametrize(("limit_s", "beat_s"), [(120.0, 10.0), (4.0, 1.0), (None, 10.0)])
async def test_it_beats_four_times_within_the_watchdogs_patience(
    limit_s: float | None, beat_s: float
) -> None:
    clock = PacedClock()
    async with Watchdog(FakeSupervisor(limit_s), clock).beating():
        await clock.pass_one_beat()
    assert set(clock.slept) == {beat_s}


async def test_a_loop_that_is_stuck_in_one_piece_of_work_silences_it_and_is_named_once() -> None:
    supervisor, clock = FakeSupervisor(), PacedClock()
    heart, healthy, stuck = (
        Watchdog(supervisor, clock),
        LoopProgress("deliver"),
        LoopProgress("keeper-BTC-5m"),
    )
    async with heart.beating():
        heart.ready(lambda: [healthy, stuck])
        with capture_logs() as logs, stuck.working():
            await clock.pass_one_beat()  # at the first look it may just have begun
            told = len(supervisor.told)
            for _ in range(3):
                with healthy.working():
                    await clock.pass_one_beat()
            assert "WATCHDOG=1" not in supervisor.told[told:]
        assert [line["stuck"] for line in logs] == [["keeper-BTC-5m"]]
        await clock.pass_one_beat()
        assert "WATCHDOG=1" in supervisor.told[told:]


def test_a_loop_is_alive_while_it_waits_or_gets_on_with_its_work() -> None:
    pulse = LoopProgress("deliver")
    assert pulse.is_alive()
    assert pulse.is_alive()
    with pulse.working():
        pass
    with pulse.working():
        assert pulse.is_alive()  # it has begun another since
        assert not pulse.is_alive()


async def test_without_a_manager_no_beat_is_made() -> None:
    clock = PacedClock()
    async with Watchdog(SystemdNotifier({}), clock).beating():
        await asyncio.sleep(0)
    assert clock.slept == []


def test_the_summary_has_age_win_rate_and_what_each_slot_does() -> None:
    replaced = msgspec.structs.replace
    assert summary([("BTC-5m", STATE)]) == "BTC-5m: serving, model 3 h old, win rate 52% of 41"
    new = replaced(STATE, phase="collecting", model_id=None, model_age_s=None, win_rate=None)
    assert summary([("BTC-5m", new)]) == "BTC-5m: collecting, no model yet"
    waits = msgspec.structs.replace(new, waiting_for="wait: collecting bars: it needs 5000")
    assert summary([("BTC-5m", waits)]) == "BTC-5m: no model yet, collecting bars: it needs 5000"
    fit = RetrainProgress(job="1", step="fit", percent=44.7)
    busy = replaced(STATE, phase="retraining", retrain=fit, model_age_s=5 * 86_400, win_rate=None)
    assert summary([("BTC-5m", busy)]) == (
        "BTC-5m: retraining (fit, 45 %), model 5 d old, win rate not known yet"
    )
    waiting = replaced(busy, retrain=replaced(fit, step="waiting", place=2, waiting=9))
    assert summary([("BTC-5m", waiting)]).startswith("BTC-5m: retraining (waiting, 2nd of 9), mo")
    asked = ChallengeProgress(job="1", reason="drift", place=2, waiting=9)
    assert summary([("BTC-5m", replaced(STATE, challenge=asked))]).startswith(
        "BTC-5m: serving (asks whether a retrain would help: waiting, 2nd of 9), model 3 h"
    )
    lost = msgspec.structs.replace(STATE, trouble="its model cannot be used: it is gone")
    assert summary([("BTC-5m", lost)]) == "BTC-5m: its model cannot be used: it is gone"
    assert summary([(str(n), new) for n in range(6)]).endswith("; and 2 more")
    assert summary([("BTC-5m", new)], "refused").endswith("no model yet; no broker: refused")
