"""How `make chaos` decides whether the journal tells of a fault, with made-up journals."""

from collections.abc import Sequence

import pytest

from benchmarks.chaos.plan import ALL, WORK
from benchmarks.chaos.traces import AWAY, TRACES
from benchmarks.chaos.verdicts import Line, Occurrence, Spans, verdicts

T = 1000.0


def duplicate(at: float, seconds: float = 5.0, touched: int = 9) -> Occurrence:
    return Occurrence("duplicate", at, at + seconds, touched, at, at + seconds)


def oddity(at: float, kind: str = "duplicate") -> Line:
    return Line(at, "daemon", f'{{"kind": "{kind}", "times": 1, "event": "feed.oddity"}}')


def daemon(at: float, text: str) -> Line:
    return Line(at, "daemon", text)


def manager(at: float, text: str) -> Line:
    return Line(at, "manager", text)


def outcomes(
    occurrences: Sequence[Occurrence], journal: Sequence[Line], **away: Spans
) -> list[str]:
    return [v.outcome for v in verdicts(occurrences, sorted(journal), away)]


def test_every_kind_of_fault_has_a_trace_and_needs_only_what_is_described() -> None:
    assert set(TRACES) == set(ALL) - set(WORK)
    for trace in TRACES.values():
        assert trace.line or trace.manager
        assert set(trace.needs) <= set(AWAY)


def test_a_line_of_its_own_within_its_window_tells_of_a_fault() -> None:
    assert outcomes([duplicate(T)], [oddity(T + 1)]) == ["told"]


@pytest.mark.parametrize(
    "journal",
    [
        [],
        [oddity(T - 4)],
        [oddity(T + 16)],
        [oddity(T + 1, "late_frame")],
        [manager(T + 1, '"kind": "duplicate", "event": "feed.oddity"')],
    ],
    ids=["nothing", "too early", "too late", "of another kind", "not the daemon's"],
)
def test_without_such_a_line_it_is_untold(journal: list[Line]) -> None:
    assert outcomes([duplicate(T)], journal) == ["untold"]


def test_one_line_does_not_tell_of_two_faults() -> None:
    two = [Occurrence("child_kill", T, T), Occurrence("child_kill", T + 30, T + 30)]
    line = daemon(T + 31, "was killed by SIGKILL in the step fold 2")
    assert outcomes(two, [line]) == ["untold", "told"]
    assert outcomes(two, [line, daemon(T + 60, line.text)]) == ["told", "told"]


def test_a_line_long_after_is_left_to_what_nothing_hides() -> None:
    hidden, plain = Occurrence("child_kill", T, T), Occurrence("child_kill", T + 20, T + 20)
    line = daemon(T + 50, "was killed by SIGKILL in the step fold 2")
    assert outcomes([hidden, plain], [line]) == ["told", "untold"]
    away: Spans = [(T - 1, T + 9)]
    assert outcomes([hidden, plain], [line], daemon=away) == ["masked", "told"]


def test_what_is_said_in_the_log_and_as_an_event_is_said_once() -> None:
    two = [Occurrence("child_kill", T, T), Occurrence("child_kill", T + 0.1, T + 0.1)]
    said = [daemon(T + 1, "killed by SIGKILL"), daemon(T + 1.2, "killed by SIGKILL")]
    assert outcomes(two, said) == ["told", "untold"]


def test_a_fault_that_met_nobody_is_untouched_whatever_was_said() -> None:
    assert outcomes([duplicate(T, touched=0)], [oddity(T + 1)]) == ["untouched"]


# -- one line for what lasts ---------------------------------------------------------------


def test_a_second_fault_within_the_same_episode_shares_its_line() -> None:
    journal = [oddity(T + 1)]
    assert outcomes([duplicate(T), duplicate(T + 4)], journal) == ["told", "told"]
    assert outcomes([duplicate(T), duplicate(T + 7)], journal) == ["told", "told"]
    assert outcomes([duplicate(T), duplicate(T + 9)], journal) == ["told", "untold"]


def test_what_was_counted_in_an_episode_that_lasts_shares_the_line_of_the_hour() -> None:
    line, counted = oddity(T - 8), daemon(T + 6, "counted more: duplicate")
    assert outcomes([duplicate(T)], [line]) == ["untold"]
    assert outcomes([duplicate(T)], [line, counted]) == ["told"]
    assert outcomes([duplicate(T)], [oddity(T - 16), counted]) == ["untold"]
    assert outcomes([duplicate(T)], [line, daemon(T - 1, counted.text)]) == ["untold"]
    other = daemon(T + 6, "counted more: late_frame")
    assert outcomes([duplicate(T)], [line, other]) == ["untold"]


def test_an_episode_does_not_outlive_the_daemon() -> None:
    ended = manager(T + 3, "daemon ended with SIGKILL")
    assert outcomes([duplicate(T), duplicate(T + 4)], [oddity(T + 1), ended]) == ["told", "untold"]


def test_what_was_lost_before_and_is_not_back_needs_no_second_line() -> None:
    fault = Occurrence("disconnect", T, T + 5, 3, T, T + 4)
    lost, back = daemon(T - 20, "feed.stream_lost"), daemon(T - 9, "feed.stream_back")
    assert outcomes([fault], [lost]) == ["told"]
    assert outcomes([fault], [lost, back]) == ["untold"]
    assert outcomes([fault], [lost, manager(T - 9, "daemon ended with code 1")]) == ["untold"]


def test_a_silence_is_remembered_over_a_restart_of_the_daemon() -> None:
    hang = Occurrence("bot_hang", T, T + 10)
    silent, ended = daemon(T - 20, "bot.silent"), manager(T - 9, "daemon ended with SIGKILL")
    assert outcomes([hang], [silent, ended]) == ["told"]
    assert outcomes([hang], [silent, daemon(T - 5, "bot.speaks")]) == ["untold"]


# -- masks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away",
    [
        {"daemon": [(T - 1, T + 20)]},
        {"link": [(T - 1, T + 2)], "daemon": [(T + 2, T + 20)]},
        {"stream": [(T + 1, T + 3)], "daemon": [(T + 5, T + 20)]},  # never three seconds in a row
    ],
)
def test_it_is_masked_if_there_was_never_time_to_tell(away: dict[str, Spans]) -> None:
    assert outcomes([duplicate(T)], [], **away) == ["masked"]
    (verdict,) = verdicts([duplicate(T)], [], away)
    assert verdict.why.split() == [name for name in TRACES["duplicate"].needs if name in away]


@pytest.mark.parametrize(
    "away",
    [
        {"daemon": [(T - 9, T + 1)]},
        {"daemon": [(T + 3.5, T + 9)]},
        {"broker": [(T - 9, T + 99)]},  # a frame needs no broker
    ],
)
def test_what_was_away_for_a_part_of_it_masks_nothing(away: dict[str, Spans]) -> None:
    assert outcomes([duplicate(T)], [], **away) == ["untold"]


def test_only_the_time_in_which_it_met_the_daemon_counts() -> None:
    late = Occurrence("late", T, T + 8, 4, T + 6, T + 8)  # the client came back at six seconds
    assert outcomes([late], [], daemon=[(T + 7, T + 12)]) == ["masked"]
    assert outcomes([late], [], daemon=[(T, T + 6)]) == ["untold"]


def test_what_is_noticed_late_may_be_undone_before() -> None:
    lost = Occurrence("pointer_lost", T, T)
    assert outcomes([lost], []) == ["untold"]
    replaced = Occurrence("pointer_lost", T, T, gone=T + 30)
    assert [(v.outcome, v.why) for v in verdicts([replaced], [], {})] == [("masked", "live")]
    too_late = Occurrence("pointer_lost", T, T, gone=T + 70)
    assert outcomes([too_late], []) == ["untold"]


def test_the_manager_tells_for_a_daemon_that_could_not_and_only_then() -> None:
    kill = Occurrence("broker_kill", T, T)
    ended = manager(T, "broker ended with SIGKILL")
    assert outcomes([kill], [ended], daemon=[(T - 1, T + 9)]) == ["told"]
    assert outcomes([kill], [], daemon=[(T - 1, T + 9)]) == ["masked"]
    assert outcomes([kill], [ended]) == ["untold"]
    assert outcomes([kill], [ended, daemon(T + 1, "bus.lost")]) == ["told"]


def test_a_bot_that_comes_back_without_a_model_was_started_anew() -> None:
    kill = Occurrence("bot_kill", T, T)
    seen = '"online": {}, "bot_id": "paper", "model_id": "{}", "event": "bot.presence"'
    for online, model_id, outcome in (
        ("false", "m", "told"),
        ("true", "", "told"),
        ("true", "m", "untold"),
    ):
        assert outcomes([kill], [daemon(T + 1, seen.format(online, model_id))]) == [outcome]


def test_the_end_of_a_daemon_is_told_by_its_manager() -> None:
    kill = Occurrence("daemon_kill", T, T)
    assert outcomes([kill], [manager(T, "daemon ended with SIGKILL")]) == ["told"]
    assert outcomes([kill], [manager(T, "daemon ended with code 0")]) == ["untold"]
