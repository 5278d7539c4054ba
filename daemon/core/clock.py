"""The venue's clock, and a task that watches the host's clock.

A `VenueClock` decides when a bar closes and how long to wait for it. So a recording that is
replayed at 500 times real time behaves like the live venue.
"""

from typing import Final

import structlog

from hyperdrift.clock import Clock

log = structlog.get_logger()

# A venue's clock may drift. A larger step than this is a jump, which needs an explanation.
_JUMP_MS: Final = 10_000
_REPEATED_S: Final = 3600.0
# For so long, wall time, a fast answer is preferred to a later one that took longer.
_SHARP_S: Final = 600.0
# A clock may be set back during a wait. So each wait is split into parts of at most this.
_LONGEST_WAIT_S: Final = 30.0
# A time service steps the clock if the error is too large to correct by changing its speed.
_LOOK_S, _STEP_S = 5.0, 5.0


async def watch_steps(clock: Clock) -> None:
    """Log, until cancelled, each time that somebody sets the host's clock.

    Bars do not depend on that clock. Commands do: it decides whether one is too old.
    """
    ahead_s = clock.now_ms() / 1000 - clock.monotonic()
    while True:
        await clock.sleep(_LOOK_S)
        was_s, ahead_s = ahead_s, clock.now_ms() / 1000 - clock.monotonic()
        if abs(by_s := ahead_s - was_s) >= _STEP_S:
            log.warning(
                "host.clock_stepped",
                by_s=round(by_s, 1),
                remedy="unless this host slept, check its time service (`timedatectl`); "
                "`hyperdrift doctor` compares it with the venue's",
            )


class VenueClock:
    """The venue's time: learnt from its `exchangeStatus`, then advanced by the monotonic clock.

    `speed` is venue seconds per wall second: 1 on the real venue, more on a replay
    exchange. Before the first `learn` the wall clock is used, but a time that the venue was
    known to have passed, `passed_ms`, if the wall clock is behind it or a replay is followed.

    A jump is accepted in three cases. The host's clock explains it: the host slept, or the
    venue was wrong before. Or it undoes the last jump. Or the venue repeats it for an hour.
    Before that `is_trusted` is False and the time advances as if there were no jump; only a
    later bar then proves that a bar is closed. A replay may be halted, so a replay's step
    back is accepted at once. It can only close bars later.
    """

    def __init__(self, clock: Clock, speed: float = 1.0, passed_ms: int | None = None) -> None:
        self._clock, self._speed = clock, speed
        self._wall_ms, self._at = float(clock.now_ms()), clock.monotonic()
        self._venue_ms = self._wall_ms
        self._is_estimated = speed == 1 or passed_ms is not None
        if passed_ms is not None and (speed != 1 or passed_ms > self._wall_ms):
            self._venue_ms = float(passed_ms)
        self._is_learnt = False
        self._left: tuple[float, float] | None = None  # venue ms and moment before the last jump
        self._pending_jump: tuple[float, float] | None = (
            None  # a jump not accepted yet: ms, and when
        )
        self.uncertainty_ms = 0.0
        self.jumps = 0

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        return self._speed

    @property
    def is_learnt(self) -> bool:
        """Whether the venue has told its time."""
        return self._is_learnt

    @property
    def is_known(self) -> bool:
        """Whether the time is near the venue's: learnt, or else that of this host or of a bar."""
        return self._is_learnt or self._is_estimated

    @property
    def is_trusted(self) -> bool:
        """Whether the venue's newest time agrees with its earlier ones."""
        return self._pending_jump is None

    @property
    def is_vague(self) -> bool:
        """Whether the answer that gave the time took longer than a second."""
        return self.uncertainty_ms > 1000 * self._speed

    def now_ms(self) -> int:
        """Return the best estimate of the venue's time, ms UTC."""
        return self.at_ms(self._clock.monotonic())

    def monotonic(self) -> float:
        """Return this moment on the monotonic clock, in s."""
        return self._clock.monotonic()

    def at_ms(self, monotonic: float) -> int:
        """Return the venue's time, ms UTC, at a moment of the monotonic clock, in s."""
        return round(self._carried(monotonic))

    def age_s(self) -> float:
        """Return the venue seconds since the time was last learnt; infinity if it never was."""
        if not self._is_learnt:
            return float("inf")
        return (self._clock.monotonic() - self._at) * self._speed

    def learn(self, venue_ms: int, sent: float, received: float) -> None:
        """Learn the venue's time from one answer.

        The venue stamped the answer after `sent` and before `received`. The clock assumes
        `received`, so it runs late rather than early and never closes a bar too soon.

        Args:
            venue_ms: The `time` of the answer, ms UTC.
            sent: When the request was sent, s of the monotonic clock.
            received: When the answer was received, s of the monotonic clock.
        """
        jump_ms = venue_ms - self._carried(received)
        took_ms = (received - sent) * 1000 * self._speed
        margin_ms = _JUMP_MS + took_ms + self.uncertainty_ms + 1000 * abs(self._speed - 1)
        is_jump = self._is_learnt and abs(jump_ms) > margin_ms
        if is_jump:
            is_explained = self._explains(venue_ms, received, jump_ms, margin_ms)
            if not is_explained and not self._is_repeated(jump_ms, received, margin_ms):
                return
            self.jumps += is_explained
            self._left = (self._venue_ms, self._at)
        self._pending_jump = None
        is_vaguer = took_ms > 2 * self.uncertainty_ms + 1000 * self._speed
        if self._is_learnt and not is_jump and is_vaguer and received - self._at < _SHARP_S:
            return  # a slow answer that agrees is less exact than what is known
        self._is_learnt = True
        self._venue_ms, self._at = float(venue_ms), received
        self._wall_ms = float(self._clock.now_ms())
        self.uncertainty_ms = took_ms

    async def sleep_until(self, venue_ms: float) -> None:
        """Wait until the venue's clock shows `venue_ms`."""
        while (left := venue_ms - self.now_ms()) > 0:
            await self._clock.sleep(min(left / 1000 / self._speed, _LONGEST_WAIT_S))

    async def sleep(self, venue_s: float) -> None:
        """Wait `venue_s` seconds of venue time."""
        await self._clock.sleep(venue_s / self._speed)

    def _carried(self, monotonic: float) -> float:
        return self._venue_ms + (monotonic - self._at) * 1000 * self._speed

    def _explains(self, venue_ms: int, received: float, jump_ms: float, margin_ms: float) -> bool:
        """Return whether the host's clock or the last jump explains this jump."""
        if self._left is not None:
            undone_ms = venue_ms - self._left[0] - (received - self._left[1]) * 1000 * self._speed
            if abs(undone_ms) <= margin_ms:
                return True
        if self._speed != 1:
            return jump_ms < 0
        wall_ms = self._clock.now_ms()
        slept_ms = self._venue_ms + wall_ms - self._wall_ms
        return min(abs(venue_ms - wall_ms), abs(venue_ms - slept_ms)) <= margin_ms

    def _is_repeated(self, jump_ms: float, received: float, margin_ms: float) -> bool:
        """Return whether the venue has repeated this jump for an hour."""
        if self._pending_jump is None or abs(self._pending_jump[0] - jump_ms) > margin_ms:
            self._pending_jump = (jump_ms, received)
            self.jumps += 1
            return False
        return (received - self._pending_jump[1]) * self._speed >= _REPEATED_S
