"""Decide which bars of one slot are handed on, from frames, REST answers and times.

The stream may lose the last state of a bar, and it shows no bar without trades. REST shows
both, but it lags, and it has no bars after the last trade. The assembler makes one series
from both. It has each bar once, in order, and every gap in it is reported.

It does no I/O. `advance` is a generator: it yields the next step and takes the answer. If a
step fails, the caller drops the generator. A step changes no decision before it is done, so
the next `advance` begins at that step again. Frames and provisional bars may come between
any two steps.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from daemon.core.bars import Bar, Hole, Provenance
from daemon.hyperliquid.anomaly_log import CALM_MS
from daemon.market_data.assembly_steps import (
    Answer,
    AskBars,
    AwaitRates,
    FindCopies,
    FutureBar,
    GiveUp,
    HandOn,
    LearnClock,
    Note,
    Step,
    StoreConfirmed,
    StoreFlat,
    StoreShown,
)
from daemon.market_data.bar_close import (
    LONGEST_FILL_BARS,
    QUIET_AFTER_MS,
    VenueMoment,
    flat_bars,
    grace_ms,
)
from daemon.market_data.price_checks import PriceChecks, plausible
from daemon.market_data.stream_cache import Coverage, StreamCache

# A bar that did not come from REST is asked for again with each call, for this many bars.
_REREAD_BARS: Final = 48
# If the clock was set longer ago, it is set again before it alone decides that a bar is closed.
_CLOCK_AGE_S: Final = 10.0
_NO_LIMIT: Final = 2**62


@dataclass(slots=True)
class BarTally:
    """Counts of a slot's bars since the start.

    Attributes:
        confirmed: Bars that REST confirmed.
        provisional: Bars that were handed on as the stream showed them.
        filled: Filled bars that were handed on.
        revised: Bars that REST changed after they were handed on.
        refused: Bars that cannot have begun yet.
        gaps: Bars in gaps.
    """

    confirmed: int = 0
    provisional: int = 0
    filled: int = 0
    revised: int = 0
    refused: int = 0
    gaps: int = 0


class BarAssembler:
    """Decides on the bars of one slot; every time is venue time in ms UTC.

    Args:
        step_ms: Length of one bar, ms.
        coverage: The time that the present socket covers; the stream's listener updates it.

    Attributes:
        shown: The newest bars as the stream showed them.
        tally: Counts of the bars.
        after: Open time of the newest bar that was handed on or is in a gap.
        confirmed: Open time of the newest bar that REST confirmed.
    """

    def __init__(self, step_ms: int, coverage: Coverage) -> None:
        self._step, self._coverage = step_ms, coverage
        self.shown, self.tally = StreamCache(), BarTally()
        self._notes: list[Note] = []
        self._prices = PriceChecks(self._notes.append)
        self._future_ms: int | None = None  # when the venue last showed a bar from the future
        self._is_deciding = False
        self.begin(0, None, None)

    def begin(self, after: int, record: int | None, close: float | None) -> None:
        """Begin to hand on the bars that follow `after`.

        Args:
            after: Open time of the last bar that is not to be handed on, ms UTC.
            record: Open time of the newest bar of record in the store, None if there is none.
            close: Close price of the newest bar up to `after`; None if it is not known.
        """
        self.after = self._asked = after  # `_asked`: the newest bar that REST has settled
        self.confirmed = after if record is None else min(after, record)
        self._from_t = self.confirmed + (self._step if record is None else 0)
        self._close = close
        # Bars handed on that REST has not confirmed.
        self._stand_ins: set[int] = set()

    @property
    def has_stand_ins(self) -> bool:
        """Whether bars were handed on that REST has not confirmed."""
        return bool(self._stand_ins)

    @property
    def settled(self) -> int:
        """Open time of the newest bar that REST has told of, or left out; 0 before the first."""
        return self._asked

    @property
    def refused(self) -> int:
        """Bars refused for their time or their prices."""
        return self.tally.refused + self._prices.refused

    def take_notes(self) -> list[Note]:
        """Return the notes to log since the last call."""
        notes = self._notes.copy()
        self._notes.clear()
        return notes

    def next_close_ms(self, at: VenueMoment) -> int:
        """Return the close time of the next bar to ask REST about, ms UTC."""
        # If the clock was set back since, REST was asked too early: ask again.
        return min(self._asked, at.closed_t(self._step)) + 2 * self._step

    def may_have_begun(self, bar: Bar, at: VenueMoment) -> bool:
        """Tell whether a bar can have begun by now, so that the stream may show it."""
        return bar.t <= at.now_ms + at.uncertainty_ms + self._step

    def frame(self, bar: Bar, at: VenueMoment) -> Bar | None:
        """Keep a bar as the stream shows it; it is not handed on before REST was asked.

        Returns:
            The bar before it, if the frame shows that one to be over: store it.
        """
        if not self.may_have_begun(bar, at):
            self._refuse_future(bar, "stream", at)
            return None
        over = self.shown.take(bar, self._coverage.socket)
        # The next bar has begun: the stream does not show this one again.
        return self._kept(over) if over is not None and over.t > self.confirmed else None

    def offer(self, close_ms: int, at: VenueMoment) -> tuple[Bar, Provenance] | None:
        """Return the bar that closed at `close_ms`, ms UTC, if the stream alone proves it final.

        Return None also if it was handed on already, or if bars before it are missing.
        """
        t = close_ms - self._step
        if t != self.after + self._step or self._close is None:
            return None
        final_ms = close_ms + grace_ms(at.uncertainty_ms)
        if bar := self.shown.final(t, final_ms, self._coverage):
            return (bar, Provenance.STREAM) if plausible(bar, self._close) else None
        if self.shown.is_quiet(t, final_ms, self._coverage):
            return flat_bars(Hole(t, t), self._close, self._step)[0], Provenance.FILLED
        return None

    def lead(self, bar: Bar, provenance: Provenance) -> HandOn | None:
        """Hand on a stored bar before REST confirms it; return None if REST was faster."""
        if self._is_deciding or bar.t != self.after + self._step:
            return None
        return self._handed_on(bar, provenance, led=True)

    def advance(self, at: VenueMoment) -> Generator[Step, Answer, bool]:
        """Ask REST once, and hand on the bars that are certain.

        Args:
            at: The venue's time now.

        Yields:
            The next step; send its answer.

        Returns:
            Whether all closed bars were handed on; if not, ask again soon.
        """
        is_behind = self.after < at.closed_t(self._step)
        answer = yield AskBars(self._from_t, is_behind)
        at, rows = yield from self._without_future(answer)
        rows, most = self._believed(rows, at)
        evident = rows[-1].t - self._step if rows else self.confirmed  # a later bar exists
        if answer.closed_t is not None:
            evident = answer.closed_t
        if evident < at.closed_when_asked_t(self._step):
            # Our clock alone counts only after a look at the venue's clock, which may have stopped.
            if at.age_s > _CLOCK_AGE_S:
                at = (yield LearnClock()).at
            if at.is_trusted:
                evident = max(evident, at.closed_when_asked_t(self._step))
        closed = min(most, evident)
        certain = [bar for bar in rows if bar.t <= closed]
        with self._deciding():
            yield from self._confirm(certain)
        at = (yield AwaitRates(closed + self._step, is_behind)).at
        with self._deciding():
            at = yield from self._hand_on(certain, closed, at)
        due = at.closed_when_asked_t(self._step)  # by the clock as it is set now
        if self.after < due or closed < due:
            return False
        self._asked = max(self._asked, min(self.after, closed))
        return True

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Hand on no provisional bar inside the `with`: decisions depend on the bar before."""
        self._is_deciding = True
        try:
            yield
        finally:
            self._is_deciding = False

    def _without_future(
        self, answer: Answer
    ) -> Generator[Step, Answer, tuple[VenueMoment, Sequence[Bar]]]:
        """Leave out bars that cannot have begun; look at the venue's clock before that."""
        at, rows = answer.at, answer.rows
        if rows and rows[-1].t > at.now_ms:
            at = (yield LearnClock()).at
            latest_ms = at.now_ms + at.uncertainty_ms
            if rows[-1].t > latest_ms:
                self._refuse_future(rows[-1], "rest", at)
            rows = [bar for bar in rows if bar.t <= latest_ms]
        return at, rows

    def _believed(self, rows: Sequence[Bar], at: VenueMoment) -> tuple[Sequence[Bar], int]:
        """Leave out bars from the first doubted one on.

        Returns:
            The bars before it, and the largest open time that they can have.
        """
        shown = self.shown.bar(self.after + self._step)
        doubted = self._prices.first(rows, self._close, at.now_ms, shown)
        if doubted is None:
            return rows, _NO_LIMIT
        return [bar for bar in rows if bar.t < doubted], doubted - self._step

    def _confirm(self, certain: Sequence[Bar]) -> Generator[Step, Answer, None]:
        """Yield the step that stores REST's bars; count the bars that this confirms."""
        if not certain:
            return
        seen = [bar for bar in certain if bar.t <= self.after]
        yield StoreConfirmed(seen, [bar for bar in certain if bar.t > self.after])
        proved = {bar.t for bar in certain}
        fresh = {t for t in proved if t > self.confirmed or t in self._stand_ins}
        self.tally.confirmed += len(fresh)
        self.confirmed = max(self.confirmed, certain[-1].t)
        oldest = self.confirmed - _REREAD_BARS * self._step
        self._stand_ins = {t for t in self._stand_ins - proved if t >= oldest}
        # The newest bar is read once more, in case it was taken for closed too early.
        self._from_t = min([*self._stand_ins, self.confirmed])

    def _hand_on(
        self, certain: Sequence[Bar], closed: int, at: VenueMoment
    ) -> Generator[Step, Answer, VenueMoment]:
        """Hand on the bars up to `closed`; stop before a bar that REST may still show."""
        known = {bar.t: (bar, Provenance.REST) for bar in certain}
        while (t := self.after + self._step) <= closed:
            if t in known:
                at = (yield self._handed_on(*known[t])).at
                continue
            if at.now_ms < t + self._step + QUIET_AFTER_MS:
                break
            later = next((bar.t for bar in certain if bar.t > t), None)
            at, found = yield from self._stand_in(t, later, closed)
            known |= found
        return at

    def _handed_on(self, bar: Bar, provenance: Provenance, *, led: bool = False) -> HandOn:
        self.tally.provisional += provenance is Provenance.STREAM
        self.tally.filled += provenance is Provenance.FILLED
        if provenance in {Provenance.STREAM, Provenance.FILLED}:
            self._stand_ins.add(bar.t)
        self.after, self._close = bar.t, bar.close
        return HandOn(bar, provenance, led)

    def _stand_in(
        self, t: int, later: int | None, closed: int
    ) -> Generator[Step, Answer, tuple[VenueMoment, dict[int, tuple[Bar, Provenance]]]]:
        """Replace bars from `t` on that REST lacks: by stored copies, filled bars or a gap.

        Args:
            t: Open time of the first bar that is missing.
            later: Open time of the next bar that REST has; None if it has none after `t`.
            closed: Open time of the newest closed bar.

        Returns:
            The venue's time now, and the replacing bars by open time.
        """
        if (shown := self.shown.bar(t)) and (kept := self._kept(shown)):
            yield StoreShown(kept)
        to_t = closed if later is None else later - self._step
        answer = yield FindCopies(Hole(t, to_t))
        held = {copy.bar.t: (copy.bar, copy.provenance) for copy in answer.copies}
        if t in held:
            return answer.at, held
        hole = Hole(t, min(held, default=to_t + self._step) - self._step)
        if self._close is None:
            self.after = hole.to_t  # no bar came before it: nothing is lost
            return answer.at, {}
        if later is not None and hole.to_t - t >= LONGEST_FILL_BARS * self._step:
            answer = yield GiveUp(hole)
            self.tally.gaps += (hole.to_t - t) // self._step + 1
            self.after = hole.to_t
            return answer.at, {}
        if later is None:
            hole = Hole(t, t)  # the next bars may still come, or are replaced one by one
        flat = flat_bars(hole, self._close, self._step)
        answer = yield StoreFlat(flat)
        return answer.at, {bar.t: (bar, Provenance.FILLED) for bar in flat}

    def _kept(self, bar: Bar) -> Bar | None:
        """Return a bar of the stream, or None if its prices are doubted."""
        if plausible(bar, self._close):
            return bar
        self._prices.refuse_shown(bar, self._close)
        return None

    def _refuse_future(self, bar: Bar, source: str, at: VenueMoment) -> None:
        """Count a bar that cannot have begun yet; note it if none came for a while before."""
        self.tally.refused += 1
        if self._future_ms is None or abs(at.now_ms - self._future_ms) >= CALM_MS:
            self._notes.append(FutureBar(bar, source))
        self._future_ms = at.now_ms
