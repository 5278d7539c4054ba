"""Send heartbeats to the service manager while the daemon makes progress.

A running event loop is not enough: a loop that handles bars may wait for ever for a disk or a
lock. So each of those loops records its progress. If one makes none, heartbeats stop and the
service manager restarts the daemon. Every start recovers the state.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import structlog

from daemon.core.log_once import LogOnce
from daemon.core.loop_progress import LoopProgress
from daemon.core.tasks import running
from daemon.mqtt.messages import SlotState
from daemon.service.systemd_notify import SystemdNotifier
from hyperdrift.clock import Clock

log = structlog.get_logger()

# Two heartbeats may be late, or one item of work may take half the limit.
_BEATS_PER_LIMIT: Final = 4
_BEAT_S: Final = 10.0
# A start may wait for the venue or a disk without limit, but the event loop has to run meanwhile.
_START_S: Final = 120.0
# The boot of a host waits for "ready". So after this time the status says what the start waits for.
_READY_WITHIN_S: Final = 15.0
_SHOWN_SLOTS: Final = 4
_HOUR_S: Final = 3600
_TWO_DAYS_S: Final = 48 * _HOUR_S


class Watchdog:
    """Tells the service manager the daemon's state: starting, ready, alive or stopping.

    Args:
        supervisor: The service manager.
        clock: Times the heartbeats.
    """

    def __init__(self, supervisor: SystemdNotifier, clock: Clock) -> None:
        self._supervisor, self._clock = supervisor, clock
        limit_s = supervisor.watchdog_s
        self._every_s = min(_BEAT_S, limit_s / _BEATS_PER_LIMIT) if limit_s else _BEAT_S
        self._loops: Callable[[], Iterable[LoopProgress]] = tuple
        self._excused: Callable[[], bool] = lambda: False
        self._describe: Callable[[], str] = lambda: "starting"
        self._began_s, self._told_ready = clock.monotonic(), False
        self._is_over, self._stuck = False, LogOnce()

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Send heartbeats until the block ends, then report that the daemon stops.

        A start that takes longer than 15 s is reported as ready too, with what it waits for as
        the status: it must not hold up the boot of the host.
        """
        try:
            async with running(self._run(), "heartbeat"):
                yield
        finally:
            self._supervisor.status("stopping")
            self._supervisor.stopping()

    @property
    def is_supervised(self) -> bool:
        """Whether a service manager started this process."""
        return self._supervisor.is_there

    @property
    def start(self) -> str:
        """How far the start is, in words; empty once it is over."""
        return "" if self._is_over else self._describe()

    def doing(self, describe: Callable[[], str]) -> None:
        """Use the text that `describe` returns as the status line from now on."""
        self._describe = describe
        self._supervisor.status(describe())

    def waits(self, why: str) -> None:
        """Tell that the start waits for the store, and why."""
        self.doing(lambda: f"waiting for the store: {why}")

    def ready(
        self,
        loops: Callable[[], Iterable[LoopProgress]],
        excused: Callable[[], bool] = lambda: False,
    ) -> None:
        """Report that the start is over; from now on these loops must make progress.

        Args:
            loops: Returns the loops that handle bars now.
            excused: Returns whether they wait for something that a restart cannot help.
        """
        self._loops, self._excused, self._is_over = loops, excused, True
        self._tell_ready()
        self._supervisor.status(self._describe())

    async def _run(self) -> None:
        while self._supervisor.is_there:
            self._beat()
            left_s = _READY_WITHIN_S - self._waited_s()
            in_time = self._told_ready or left_s > self._every_s
            await self._clock.sleep(self._every_s if in_time else left_s)

    def _beat(self) -> None:
        self._supervisor.status(self._describe())
        if not self._is_over:
            if self._waited_s() >= _READY_WITHIN_S:
                self._tell_ready()
            if self._told_ready:
                self._supervisor.alive()
            else:
                self._supervisor.starting(_START_S)
            return
        stuck = [loop.name for loop in self._loops() if not loop.is_alive()]
        if self._excused():
            stuck = []
        if not stuck:
            self._supervisor.alive()
            self._stuck.ends()
        elif self._stuck.begins():
            log.error("heartbeat.stopped", stuck=stuck, outcome="unless it goes on, a restart")

    def _waited_s(self) -> float:
        return self._clock.monotonic() - self._began_s

    def _tell_ready(self) -> None:
        if not self._told_ready:
            self._told_ready = True
            self._supervisor.ready()


def summary(states: Iterable[tuple[str, SlotState]], no_broker: str = "") -> str:
    """Return one line with the phase, the age of the model and the win rate of each slot.

    Args:
        states: Each slot with its state.
        no_broker: Why there is no connection to the broker, empty if there is one.
    """
    slots = [f"{name}: {_slot_line(state)}" for name, state in states]
    more = len(slots) - _SHOWN_SLOTS
    shown = slots[:_SHOWN_SLOTS] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(shown + ([f"no broker: {no_broker}"] if no_broker else []))


def _slot_line(state: SlotState) -> str:
    if state.trouble:
        return state.trouble
    doing = state.phase
    if state.retrain is not None:
        told = state.retrain
        doing += f" ({told.said if told.waits else f'{told.step}, {told.percent:.0f} %'})"
    elif state.challenge is not None and state.challenge.waits:
        doing += f" ({state.challenge.said})"
    if state.model_id is None or state.model_age_s is None:
        why = state.waiting_for.removeprefix("wait: ")
        return f"no model yet, {why}" if why and state.retrain is None else f"{doing}, no model yet"
    in_days = state.model_age_s >= _TWO_DAYS_S
    age = f"{state.model_age_s / _HOUR_S / (24 if in_days else 1):.0f} {'d' if in_days else 'h'}"
    rate = "not known yet" if state.win_rate is None else f"{state.win_rate:.0%} of {state.trades}"
    return f"{doing}, model {age} old, win rate {rate}"
