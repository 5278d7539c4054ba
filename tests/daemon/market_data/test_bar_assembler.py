"""No order of frames, answers, reconnects and clock steps breaks the series of bars.

There is no event loop and no clock here: the assembler is told every time.
"""

import ast
import inspect
from collections.abc import Generator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from daemon.core.bars import Bar, Hole, Provenance
from daemon.market_data import assembly_steps, bar_assembler
from daemon.market_data.assembly_steps import (
    Answer,
    AskBars,
    AwaitRates,
    FindCopies,
    GiveUp,
    HandOn,
    LearnClock,
    Step,
    StoreConfirmed,
    StoreFlat,
    StoreShown,
)
from daemon.market_data.bar_assembler import BarAssembler
from daemon.market_data.bar_close import QUIET_AFTER_MS, VenueMoment, grace_ms
from daemon.market_data.stream_cache import Coverage
from daemon.store.bar_merge import Stored, merge
from tests.daemon.fake_venue import START, STEP, bar

REST, STREAM, FILLED = Provenance.REST, Provenance.STREAM, Provenance.FILLED
BEGIN = 50  # bars before the first that is followed
SERVED = 40  # what the venue serves of the past here, bars
ABSURD = 100_000.0
# What REST lacks: so many bars of the end are there, so many before them are not.
HOLES = [(0, 0), (0, 0), (1, 2), (2, 1), (2, 5), (2, 15), (3, 14), (4, 16), (0, SERVED)]


def at_bar(number: float, *, is_trusted: bool = True, age_s: float = 0.0) -> VenueMoment:
    """The moment `number` bars after START, at which REST was asked, too."""
    ms = START + round(number * STEP)
    return VenueMoment(ms, ms, age_s=age_s, is_trusted=is_trusted)


def started(after: int, close: float | None = 100.0) -> BarAssembler:
    assembler = BarAssembler(STEP, Coverage())
    t = START + after * STEP
    assembler.begin(t, t, close)
    return assembler


def round_of(
    assembler: BarAssembler,
    at: VenueMoment,
    rows: list[Bar],
    copies: list[Stored] | None = None,
) -> list[Step]:
    """The steps of one round in which all goes well."""
    steps, done = assembler.advance(at), []
    try:
        step = next(steps)
        while True:
            done.append(step)
            step = steps.send(Answer(at, rows, copies or []))
    except StopIteration:
        return done


def test_the_modules_that_decide_do_no_io() -> None:
    for module in (assembly_steps, bar_assembler):
        tree = ast.parse(inspect.getsource(module))
        names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not names & {"asyncio", "structlog", "time", "daemon.store.store"}
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Await | ast.AsyncFunctionDef)]


def test_a_round_stores_what_rest_says_then_the_rates_then_hands_on() -> None:
    assembler = started(after=0)
    rows = [bar(0), bar(1), bar(2), bar(3)]
    assert round_of(assembler, at_bar(3.5), rows) == [
        AskBars(START, is_behind=True),
        StoreConfirmed([bar(0)], [bar(1), bar(2)]),
        AwaitRates(START + 3 * STEP, is_behind=True),
        HandOn(bar(1), REST),
        HandOn(bar(2), REST),
    ]


def test_a_clock_that_is_not_trusted_closes_no_bar_that_no_later_one_proves() -> None:
    assembler = started(after=0)
    rows = [bar(0), bar(1), bar(2)]
    steps = round_of(assembler, at_bar(3.5, is_trusted=False), rows)
    assert [step.bar for step in steps if isinstance(step, HandOn)] == [bar(1)]


def test_an_old_clock_is_set_again_before_it_alone_closes_a_bar() -> None:
    rows = [bar(0), bar(1), bar(2)]
    assert LearnClock() in round_of(started(after=0), at_bar(3.5, age_s=11.0), rows)
    assert LearnClock() not in round_of(started(after=0), at_bar(3.5, age_s=9.0), rows)
    proved = [*rows, bar(3)]
    assert LearnClock() not in round_of(started(after=0), at_bar(3.5, age_s=11.0), proved)


def test_a_hole_is_looked_for_in_the_store_before_it_is_filled_or_given_up() -> None:
    copy = Stored(bar(1), STREAM, 0)
    steps = round_of(started(after=0), at_bar(3.5), [bar(0), bar(2), bar(3)], [copy])
    assert steps[3:5] == [FindCopies(Hole(START + STEP, START + STEP)), HandOn(bar(1), STREAM)]
    steps = round_of(started(after=0), at_bar(30.5), [bar(0), bar(20), bar(30)])
    assert GiveUp(Hole(START + STEP, START + 19 * STEP)) in steps


def test_what_fails_is_begun_again_and_nothing_is_handed_on_twice() -> None:
    assembler, rows = started(after=0), [bar(0), bar(1), bar(2), bar(3)]
    steps = assembler.advance(at_bar(3.5))
    next(steps)
    assert isinstance(steps.send(Answer(at_bar(3.5), rows)), StoreConfirmed)
    steps.close()  # the store could not be written
    handed = [s for s in round_of(assembler, at_bar(3.5), rows) if isinstance(s, HandOn)]
    assert [step.bar for step in handed] == rows[1:3]
    assert not any(isinstance(s, HandOn) for s in round_of(assembler, at_bar(3.5), rows))


def test_no_bar_is_handed_on_ahead_while_a_hole_is_decided_on() -> None:
    assembler, at = started(after=0), at_bar(30.5)
    steps, answer = assembler.advance(at), Answer(at)
    assert assembler.lead(bar(9), STREAM) is None  # others lack before it
    step = next(steps)
    while not isinstance(step, GiveUp):
        rows = [bar(0), bar(20), bar(30)] if isinstance(step, AskBars) else []
        step = steps.send(Answer(at, rows))
    assert assembler.lead(bar(1), STREAM) is None
    assert steps.send(answer) == HandOn(bar(20), REST)
    steps.close()
    assert assembler.lead(bar(21), STREAM) == HandOn(bar(21), STREAM, led=True)


class Orders(RuleBasedStateMachine):
    """Every order of what may happen, with a store that keeps what it is given.

    The clock may be wrong and be set in either direction, REST may lag, lack bars and show
    absurd ones, any step may fail, and a bar may be handed on ahead between any two steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.coverage = Coverage()
        self.assembler = BarAssembler(STEP, self.coverage)
        self.steps: Generator[Step, Answer, bool] | None = None
        self.step: Step | None = None
        self.ms = START + round((BEGIN + 0.5) * STEP)  # what a right clock shows
        self.asked_ms, self.off_ms, self.uncertainty_ms = self.ms, 0, 0.0
        self.is_trusted, self.age_s = True, 0.0
        self.stored: dict[int, Stored] = {}
        self.found: set[int] = set()  # by the last look into the store
        self.offered: list[tuple[Bar, Provenance]] = []
        self.handed: list[int] = []
        self.lost: list[int] = []

    # What happens.

    @initialize(gap=st.sampled_from([0, 1, 18, 30]), is_known=st.booleans())
    def begin(self, gap: int, is_known: bool) -> None:
        t = START + (BEGIN - 1 - gap) * STEP
        self.assembler.begin(t, t if is_known else None, 100.0 if is_known else None)
        if is_known:
            self.put([Bar(t, 100.0, 100.0, 100.0, 100.0, 1.0, 1)], REST)

    @rule(ms=st.integers(1, STEP) | st.sampled_from([STEP, 3 * STEP, 18 * STEP, 30 * STEP]))
    def time_passes(self, ms: int) -> None:
        self.ms += ms
        self.age_s += ms / 1000

    @rule(
        off_ms=st.integers(-20 * STEP, 20 * STEP),
        uncertainty_ms=st.sampled_from([0.0, 200.0, 20_000.0]),
        is_trusted=st.booleans(),
    )
    def clock_is_set(self, off_ms: int, uncertainty_ms: float, is_trusted: bool) -> None:
        self.off_ms, self.uncertainty_ms, self.is_trusted = off_ms, uncertainty_ms, is_trusted

    @rule()
    def connection_is_lost(self) -> None:
        self.coverage.disconnected()

    @rule()
    def connection_is_back(self) -> None:
        self.coverage.connected(self.now.now_ms)

    @rule(
        bars=st.integers(-3, 2),
        n=st.integers(1, 4),
        close=st.sampled_from([100.0, 101.0, ABSURD]),
        is_stored=st.booleans(),
    )
    def frame_comes(self, bars: int, n: int, close: float, is_stored: bool) -> None:
        number = (self.ms - START) // STEP + bars
        self.coverage.heard(self.now.now_ms)
        over = self.assembler.frame(bar(number, volume=n, close=close, n=n), self.now)
        if over is not None and is_stored:
            self.put([over], STREAM)

    @rule(
        n=st.integers(1, 8),
        stop_at=st.sampled_from([AskBars, StoreConfirmed, StoreFlat, GiveUp]),
        late_ms=st.none() | st.integers(0, 2 * QUIET_AFTER_MS),
        lag=st.sampled_from([0, 0, 0, 1, 2]),
        hole=st.sampled_from(HOLES),
        absurd=st.integers(0, 9 * SERVED),
        is_ahead=st.sampled_from([False, False, False, True]),
        volume=st.sampled_from([1.0, 2.0]),
    )
    def the_loop_goes_on(
        self, n: int, stop_at: type[Step], late_ms: int | None, **answer: Any
    ) -> None:
        """Do so many steps, at most up to one of a kind; a round begins `late_ms` after a close."""
        for number in range(n):
            if number and isinstance(self.step, stop_at):
                return
            if self.steps is None:
                self.round_begins(late_ms)
            elif isinstance(self.step, AskBars):
                self.rest_answers(**answer)
            else:
                self.step_is_done()

    def round_begins(self, late_ms: int | None = None) -> None:
        if late_ms is not None:
            self.ms = (self.ms // STEP + 1) * STEP + late_ms
        self.steps = self.assembler.advance(self.now)
        self.step = next(self.steps)

    def rest_answers(
        self, lag: int, hole: tuple[int, int], absurd: int, volume: float, *, is_ahead: bool
    ) -> None:
        """Lack the newest `lag` bars, and `hole[1]` bars before the newest `hole[0]`."""
        rows = self.served(volume)
        rows = rows[: max(0, len(rows) - lag)]
        end = max(0, len(rows) - hole[0])
        del rows[max(0, end - hole[1]) : end]
        if absurd < len(rows):
            rows[absurd] = bar((rows[absurd].t - START) // STEP, volume, ABSURD)
        if is_ahead:
            rows.append(bar((self.ms - START) // STEP + 30))
        self.asked_ms = self.ms
        self.go_on(rows)

    def step_is_done(self) -> None:
        copies: list[Stored] = []
        match self.step:
            case LearnClock():
                self.off_ms, self.age_s, self.is_trusted = 0, 0.0, True
            case StoreConfirmed(seen, new):
                self.put([*seen, *new], REST)
            case StoreShown(shown):
                self.put([shown], STREAM)
            case StoreFlat(flat):
                self.put(flat, FILLED)
            case FindCopies(hole):
                copies = [self.stored[t] for t in times(hole) if t in self.stored]
                self.found = {copy.bar.t for copy in copies}
            case GiveUp(hole):
                assert not self.found & set(times(hole)), "given up, but in the store"
                self.lost += times(hole)
        self.go_on([], copies)

    @precondition(lambda self: not isinstance(self.step, HandOn | None))
    @rule()
    def step_fails(self) -> None:
        assert self.steps is not None
        self.steps.close()
        self.steps = self.step = None

    @rule(bars=st.integers(1, 15))
    def a_copy_is_imported(self, bars: int) -> None:
        t = self.assembler.after + bars * STEP
        if t < self.ms - STEP:
            self.put([bar((t - START) // STEP)], Provenance.IMPORT)

    @rule()
    def stream_proves_a_bar(self) -> None:
        close_ms = self.assembler.after + 2 * STEP
        if offer := self.assembler.offer(close_ms, self.now):
            self.put([offer[0]], offer[1])
            self.offered.append(offer)

    @rule(is_led=st.booleans())
    def a_whole_socket_shows_a_bar_to_its_end(self, *, is_led: bool) -> None:
        """A shortcut to what random steps seldom reach."""
        t = self.assembler.after + STEP
        self.ms, self.off_ms = max(self.ms, t + 2 * STEP), 0
        self.coverage.connected(t)
        self.assembler.frame(bar((t - START) // STEP), self.now)
        self.coverage.heard(int(t + STEP + grace_ms(self.uncertainty_ms)))
        self.stream_proves_a_bar()
        if is_led and self.offered:
            self.a_bar_is_handed_on_ahead(which=0)

    @precondition(lambda self: self.offered)
    @rule(which=st.integers(0, 2))
    def a_bar_is_handed_on_ahead(self, which: int) -> None:
        """Perhaps one that was offered before others came; the assembler has to refuse it."""
        if led := self.assembler.lead(*self.offered[-1 - which % len(self.offered)]):
            assert led.led
            self.take(led)

    # What must hold.

    @invariant()
    def bars_come_in_order_and_once_each(self) -> None:
        assert self.handed == sorted(set(self.handed))

    @invariant()
    def every_bar_between_the_first_and_the_last_is_handed_on_or_told_to_be_lost(self) -> None:
        assert len(self.lost) == len(set(self.lost))
        assert not set(self.lost) & set(self.handed)
        if self.handed:
            between = range(self.handed[0], self.handed[-1] + STEP, STEP)
            assert not set(between) - set(self.handed) - set(self.lost)

    @invariant()
    def tallies_agree(self) -> None:
        tally = self.assembler.tally
        assert tally.gaps in {len(self.lost), len(self.lost) - self.hole_under_way()}
        assert tally.provisional + tally.filled <= len(self.handed)

    def teardown(self) -> None:
        """Whatever happened: with right answers and a right clock all bars come in the end."""
        if self.steps is None or not isinstance(self.step, AskBars):
            if self.step is not None and self.steps is not None:
                self.steps.close()
            self.steps = self.step = None
        self.ms = max(self.ms, self.assembler.after + 2 * STEP)
        self.off_ms, self.uncertainty_ms, self.is_trusted = 0, 0.0, True
        for _ in range(12):
            self.time_passes(90_000)
            if self.steps is None:
                self.round_begins()
            self.rest_answers(lag=0, hole=(0, 0), absurd=10**6, is_ahead=False, volume=1.0)
            for _ in range(500):
                if self.step is None:
                    break
                self.step_is_done()
        self.bars_come_in_order_and_once_each()
        self.every_bar_between_the_first_and_the_last_is_handed_on_or_told_to_be_lost()
        assert self.assembler.after >= self.now.closed_t(STEP)

    # How it is carried out.

    @property
    def now(self) -> VenueMoment:
        return VenueMoment(
            self.ms + self.off_ms,
            self.asked_ms + self.off_ms,
            self.uncertainty_ms,
            self.age_s,
            self.is_trusted,
        )

    def served(self, volume: float) -> list[Bar]:
        """What the venue has from where it was asked; the newest only, and the forming one."""
        assert isinstance(self.step, AskBars)
        newest = (self.ms - START) // STEP
        first = max((self.step.from_t - START) // STEP, newest - SERVED + 1)
        return [bar(number, volume) for number in range(first, newest + 1)]

    def put(self, bars: list[Bar], provenance: Provenance) -> None:
        merge(self.stored, [Stored(b, provenance, 0) for b in bars])

    def go_on(self, rows: list[Bar], copies: list[Stored] | None = None) -> None:
        assert self.steps is not None
        try:
            self.step = self.steps.send(Answer(self.now, rows, copies or []))
        except StopIteration:
            self.steps = self.step = None
        self.note_hand_on()

    def note_hand_on(self) -> None:
        if isinstance(self.step, HandOn):  # it cannot fail
            self.take(self.step)

    def take(self, step: HandOn) -> None:
        assert step.bar.t in self.stored, "handed on before it was stored"
        self.handed.append(step.bar.t)

    def hole_under_way(self) -> int:
        return len(times(self.step.hole)) if isinstance(self.step, GiveUp) else 0


def times(hole: Hole) -> list[int]:
    return list(range(hole.from_t, hole.to_t + STEP, STEP))


Orders.TestCase.settings = settings(
    max_examples=500, stateful_step_count=40, deadline=None, derandomize=True
)
test_no_order_of_events_yields_a_bar_twice_or_out_of_order_or_an_untold_hole = Orders.TestCase
