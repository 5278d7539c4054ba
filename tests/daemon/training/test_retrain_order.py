"""The order of the queue: what matters most first, and nobody starves."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.training.retrain_order import CHALLENGE, LONGEST_WAIT_S, Waiter, in_order

KINDS = ("command", "first", CHALLENGE, "drift", "win_rate", "age", "schedule")


def waiters(*kinds: str, apart_s: float = 1.0) -> list[Waiter]:
    return [Waiter(kind, apart_s * number, number) for number, kind in enumerate(kinds)]


def order(line: list[Waiter], now_s: float = 0.0, *, longest_next: bool = True) -> list[str]:
    return [one.kind for one in in_order(line, now_s, longest_next=longest_next)]


def test_the_kinds_come_in_their_order_whenever_they_began_to_wait() -> None:
    for kinds in itertools.permutations(("schedule", "age", "drift", CHALLENGE, "first")):
        assert order(waiters(*kinds)) == ["first", CHALLENGE, "drift", "age", "schedule"]
    assert order(waiters("first", "command")) == ["command", "first"]


def test_the_longest_wait_comes_first_among_equals_and_a_fallen_win_rate_is_a_drifts_equal() -> (
    None
):
    line = waiters("win_rate", "drift", "win_rate", "drift")
    assert in_order(line[::-1], 9.0) == line
    together = [Waiter("drift", 0.0, number) for number in range(3)]
    assert in_order(together[::-1], 0.0) == together


def test_whoever_has_waited_too_long_gets_every_second_turn() -> None:
    line = [
        *waiters("schedule", "age", apart_s=0.0),
        Waiter("command", LONGEST_WAIT_S - 1, 2),
        Waiter("drift", LONGEST_WAIT_S - 1, 3),
        Waiter("first", LONGEST_WAIT_S - 1, 4),
    ]
    now_s = LONGEST_WAIT_S
    by_kind = ["command", "first", "drift", "age", "schedule"]
    assert order(line, now_s - 0.5) == by_kind
    assert order(line, now_s) == ["schedule", "command", "age", "first", "drift"]
    assert order(line, now_s, longest_next=False) == [
        "command",
        "schedule",
        "first",
        "age",
        "drift",
    ]


@settings(deadline=None, max_examples=60)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(KINDS)), min_size=20, max_size=60
    ),
    places=st.integers(1, 4),
    job_s=st.sampled_from([60, 600, 1200]),
)
def test_everybody_is_served_within_a_bound_and_the_others_in_order(
    arrivals: list[tuple[int, str]], places: int, job_s: int
) -> None:
    at_s = list(itertools.accumulate(gap for gap, _ in arrivals))
    coming = [
        Waiter(kind, at, n) for n, (at, (_, kind)) in enumerate(zip(at_s, arrivals, strict=True))
    ]
    waiting: list[Waiter] = []
    older: dict[Waiter, int] = {}
    ends: list[int] = []  # when each of those that run ends
    longest_next, now_s = True, 0
    while coming or waiting:
        while coming and coming[0].since_s <= now_s:
            older[coming[0]] = len(waiting)
            waiting.append(coming.pop(0))
        while waiting and len(ends) < places:
            one = in_order(waiting, now_s, longest_next=longest_next)[0]
            longest_next = not longest_next
            waiting.remove(one)
            ends.append(now_s + job_s)
            bound = LONGEST_WAIT_S + (-(-2 * (older[one] + 1) // places) + 1) * job_s
            assert now_s - one.since_s <= bound
            late = any(now_s - other.since_s >= LONGEST_WAIT_S for other in [one, *waiting])
            if not late:
                assert all((one.rank, *one.age) < (other.rank, *other.age) for other in waiting)
        following = [*ends, *(int(one.since_s) for one in coming[:1])]
        now_s = max(now_s, min(following, default=now_s))
        ends = [end for end in ends if end > now_s]
