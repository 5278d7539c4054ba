"""Sessions end and are few; attempts are counted for each address and in all."""

from daemon.web.server.sessions import LIFE_S, Attempts, Sessions
from tests.fakes import FakeClock


def test_a_session_ends_after_twelve_hours() -> None:
    clock = FakeClock()
    sessions = Sessions(clock)
    key = sessions.begin()
    clock.ms += (LIFE_S - 1) * 1000
    assert sessions.find(key) is not None
    assert sessions.find(key + "x") is None
    assert sessions.find("\udcff") is None
    clock.ms += 1000
    assert sessions.find(key) is None


def test_the_oldest_of_too_many_sessions_goes() -> None:
    sessions = Sessions(FakeClock(), most=2)
    first, second, third = (sessions.begin() for _ in range(3))
    assert [sessions.find(key) is not None for key in (first, second, third)] == [False, True, True]
    held = sessions.find(third)
    sessions.end(third)
    assert held is not None
    assert held.ends_s == 0  # a page that is open sees it too


def test_attempts_of_one_address_and_of_all_have_a_limit_that_passes() -> None:
    clock = FakeClock()
    attempts = Attempts(clock, each=2, in_all=3)
    attempts.count("a")
    assert attempts.has_room("a")
    attempts.count("a")
    assert [attempts.has_room(who) for who in "ab"] == [False, True]
    attempts.count("b")
    assert not attempts.has_room("c")
    clock.ms += 60_000
    assert all(map(attempts.has_room, "abc"))
    for number in range(5000):
        attempts.count(str(number))
    assert len(attempts._of) == 1000
