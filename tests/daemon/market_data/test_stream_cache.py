from daemon.market_data.stream_cache import Coverage, StreamCache
from tests.daemon.fake_venue import START, STEP, bar

CLOSE = START + STEP
FINAL = CLOSE + 3_000


def covered(since: int = START - 1, until: int = FINAL) -> Coverage:
    coverage = Coverage()
    coverage.connected(since)
    coverage.heard(until)
    return coverage


def test_a_bar_is_final_once_something_later_was_heard_on_the_same_socket() -> None:
    shown, coverage = StreamCache(), covered(until=FINAL - 1)
    shown.take(bar(0, n=5), coverage.socket)
    assert shown.final(START, FINAL, coverage) is None
    coverage.heard(FINAL)
    assert shown.final(START, FINAL, coverage) == bar(0, n=5)


def test_a_broken_socket_proves_nothing_until_the_bar_is_shown_again() -> None:
    shown, coverage = StreamCache(), covered()
    shown.take(bar(0, n=5), coverage.socket)
    coverage.disconnected()
    assert shown.final(START, FINAL, coverage) is None
    coverage.connected(CLOSE - 1_000)
    coverage.heard(FINAL)
    assert shown.final(START, FINAL, coverage) is None
    assert shown.bar(START) == bar(0, n=5)
    shown.take(bar(0, n=7), coverage.socket)
    assert shown.final(START, FINAL, coverage) == bar(0, n=7)
    assert coverage.reconnects == 1


def test_silence_means_no_trade_only_where_the_socket_was_whole_since_the_open() -> None:
    shown = StreamCache()
    assert shown.is_quiet(START, FINAL, covered())
    assert not shown.is_quiet(START, FINAL, covered(since=START + 1))
    assert not shown.is_quiet(START, FINAL, covered(until=FINAL - 1))
    assert not shown.is_quiet(START, FINAL, Coverage())
    shown.take(bar(0), 0)
    assert not shown.is_quiet(START, FINAL, covered())


def test_the_bar_before_is_over_when_the_next_begins_and_overtaken_frames_change_nothing() -> None:
    shown = StreamCache()
    assert shown.take(bar(0, n=3), 0) is None
    assert shown.take(bar(0, n=2), 0) is None
    assert shown.take(bar(1, n=1), 0) == bar(0, n=3)
    assert shown.take(bar(-1, n=9), 0) is None
    assert shown.take(bar(0, n=4), 0) == bar(0, n=4)  # late, and fuller
    for number in range(2, 9):
        shown.take(bar(number), 0)
    assert shown.bar(START) is None
