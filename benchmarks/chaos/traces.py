"""List which line reports which fault in `benchmarks.chaos`, and when none is expected."""

from collections.abc import Mapping
from typing import NamedTuple

AFTER_S = 75.0
"""Seconds after a fault's end in which a line can report it, unless its trace says less."""


class Trace(NamedTuple):
    """How a kind of fault is reported.

    Attributes:
        line: Pattern of the daemon's line; empty if only the service manager can know.
        needs: Names of `AWAY` that must work, or the daemon cannot write the line.
        manager: Pattern of the service manager's line; counts if the daemon could not write.
        tell_s: Seconds that the daemon needs after the fault met it.
        lasts_s: Seconds that the fault must last, or the daemon cannot notice it.
        until: Pattern of the line that ends what `line` began; before it, `line` is not repeated.
        calm_s: After so many seconds without the fault, the next one is logged again.
        counts: Pattern of names of status counts; while one grows there is one line an hour.
        is_kept: Whether the daemon still knows after a restart what `line` began.
        after_s: Seconds after the fault's end in which a line can report it. It is shorter if
            the venue sometimes does the same without a fault.
    """

    line: str
    needs: tuple[str, ...] = ("daemon",)
    manager: str = ""
    tell_s: float = 3.0
    lasts_s: float = 0.0
    until: str = ""
    calm_s: float = 0.0
    counts: str = ""
    is_kept: bool = False
    after_s: float = AFTER_S


AWAY = {
    "daemon": "dead, stopped or starting",
    "disk": "the daemon has said store.unavailable and not yet store.back",
    "link": "down",
    "stream": "the daemon has said feed.stream_lost or _renewed and not yet feed.stream_back",
    "rest": "the daemon has said feed.trouble and not yet feed.recovered, or what the slot lacks",
    "list": "the daemon has said that it got no list of coins, and not yet venue.answers",
    "bars": "the daemon has said feed.bar_late and not yet feed.bars_on_time",
    "time": "the link was slow, and the venue's time learnt over it",
    "broker": "dead or stopped, or the daemon has said bus.lost and not yet bus.connected",
    "presence": "the daemon has not said that the bot is online, or that it is no more",
    "clock": "the venue's clock was set back, and no bar closed",
    "live": "another version went live before the daemon looked at the files again",
}
"""What masks a fault: it met the daemon only while one of these that it needs was so."""

_STREAM = ("daemon", "disk", "link", "stream")
_REST = ("daemon", "disk", "link", "rest")
_BUS = ("daemon", "link", "broker")
_FILES = ("daemon", "disk", "live")
_LOST = Trace(
    r"feed\.stream_lost", ("daemon", "link"), until=r"feed\.stream_(back|connected)"
)  # fmt: skip
_NO_BROKER = Trace(r"bus\.lost", ("daemon", "link"), until=r"bus\.connected")
_TROUBLE = r"feed\.trouble|venue\.unreachable|feed\.funding_late|feed\.backfill_put_off"


def _oddity(kinds: str, needs: tuple[str, ...], lasts_s: float = 0.0) -> Trace:
    line = rf'"kind": "({kinds})".*feed\.oddity'
    return Trace(line, needs, lasts_s=lasts_s, calm_s=2.0, counts=kinds, after_s=10.0)


TRACES: Mapping[str, Trace] = {
    "daemon_kill": Trace("", (), r"daemon ended with SIGKILL"),
    "daemon_stop": Trace("", (), r"daemon ended with (code 0|SIGTERM)"),
    "daemon_hang": Trace("", (), r"daemon (watchdog|start) timeout"),
    "second_daemon": Trace("", (), r"another hyperdrift .*runs on"),
    "child_kill": Trace(r"killed by SIGKILL", ("daemon", "disk")),
    "child_hang": Trace(r"it was stopped.* after 60 s", ("daemon", "disk"), tell_s=62),
    "child_out_of_memory": Trace(r"ran out of its 300 MiB", ("daemon", "disk")),
    "broker_kill": _NO_BROKER._replace(manager=r"broker ended with SIGKILL"),
    "broker_hang": _NO_BROKER._replace(  # noticed when a bar is published: an answer may take 10 s
        needs=("daemon", "link", "rest", "clock"), tell_s=0, lasts_s=11.5
    ),
    "broker_gone": _NO_BROKER._replace(manager=r"broker ended with SIGKILL"),
    # A bot that is killed while it disconnects has no last will. Its return without a model
    # reports the same.
    "bot_kill": Trace(
        r'"online": (false|true.*"model_id": "",).*bot\.presence',
        (*_BUS, "presence"),
        r"bot ended with SIGKILL",
    ),
    "bot_hang": Trace(
        r"bot\.silent",
        (*_BUS, "rest", "clock", "presence"),
        lasts_s=5,
        until=r"bot\.speaks",
        is_kept=True,
    ),
    "bot_never_answers": Trace(r"swap\.unanswered", _BUS, lasts_s=41.5, after_s=5.0),
    "disk_full": Trace(
        r"disk is full|No space left|disk I/O error", ("daemon", "link"), until=r"store\.back"
    ),
    "read_only": Trace(
        r"readonly|[Rr]ead-only|Permission denied|unable to open database", until=r"store\.back"
    ),
    "store_corrupt": Trace(r"store\.corrupt"),
    "model_tampered": Trace(r"model\.lost|swap\.refused|digest", _FILES, tell_s=62),
    "pointer_lost": Trace(r"LATEST\.json was missing|model\.lost", _FILES, tell_s=62),
    "pointer_old": Trace(r"an old LATEST\.json came back", _FILES, tell_s=62),
    # Noticed by late bars when it is over, or after ten seconds without an answer.
    "link_down": Trace(rf"bus\.lost|feed\.stream_lost|feed\.bar_late|{_TROUBLE}", lasts_s=10.5),
    "link_slow": Trace(rf"bus\.lost|feed\.stream_lost|feed\.bar_late|{_TROUBLE}"),
    "malformed_messages": Trace(r"bus\.malformed", _BUS),
    "disconnect": _LOST,
    "expired": Trace(r"feed\.stream_renewed", ("daemon", "link", "stream")),
    "stall": _LOST._replace(tell_s=0, lasts_s=56),
    "withhold": _oddity("last_state_missing", (*_STREAM, "rest", "bars", "time")),
    "late": _oddity("late_frame", (*_STREAM, "time"), 1.5),
    "reorder": _oddity("out_of_order|late_frame", _STREAM),
    "duplicate": _oddity("duplicate", _STREAM),
    "no_trades": _oddity("nobody_trades", (*_STREAM, "rest", "bars"), 1.5),
    "malformed": Trace(
        rf"stream\.schema_changed|{_TROUBLE}", ("daemon", "disk", "link"), calm_s=2.0
    ),
    "bad_bar": Trace(
        # If only the stream has a wrong price and REST corrects it in time, it is no anomaly.
        r'bar_refused|future_bar|price_doubted|"kind": "last_state_missing".*feed\.oddity',
        ("daemon", "disk", "link", "stream", "rest"),
        calm_s=2.0,
        after_s=10.0,
    ),
    "http_error": Trace(
        rf'{_TROUBLE}|"kind": "error_answer".*feed\.oddity',
        ("daemon", "disk", "link"),
        lasts_s=1.5,
        calm_s=2.0,
        counts="error_answer",
        after_s=10.0,
    ),
    "refused": Trace(r"stream\.refused", ("daemon", "link"), calm_s=2.0),
    "coin_fails": Trace(
        r'"kind": "error_answer".*feed\.oddity|does not serve|feed\.funding_late',
        ("daemon", "disk", "link"),
        lasts_s=1.5,
        until=r"trouble_over",
        calm_s=2.0,
        counts="error_answer",
    ),
    "short_meta": Trace(
        r'venue\.(coin_missing|coins_unasked|unreachable)|"kind": "error_answer".*feed\.oddity',
        ("daemon", "disk", "link"),
        tell_s=8.0,
        until=r"venue\.(coin_listed|answers)",
        calm_s=2.0,
        counts="error_answer",
    ),
    "delisted": Trace(
        r"is delisted: the venue",
        ("daemon", "disk", "link", "rest", "list"),
        lasts_s=13.5,
        until=r"trouble_over",
    ),
    "slow": Trace(r"feed\.bar_late", _REST, lasts_s=1.5, until=r"feed\.bars_on_time"),
    "stale_rest": Trace(
        r'"kind": "stale_answer"|feed\.bar_late',
        _REST,
        lasts_s=1.5,
        calm_s=2.0,
        counts="stale_answer",
        after_s=10.0,
    ),
    "dropped_keepalive": _oddity("connection_dropped", ("daemon", "link", "rest")),
    "clock_jump": Trace(r"venue\.clock_jumped", _REST),
}  # fmt: skip
