"""List which line tells of which fault in `benchmarks.chaos`, and when none is expected."""

from collections.abc import Mapping
from typing import NamedTuple

AFTER_S = 75.0
"""Seconds after its end within which a line tells of a fault, unless its trace says less."""


class Trace(NamedTuple):
    """How a kind of fault is told.

    Attributes:
        line: What the daemon writes, as a pattern; empty if only its manager can know.
        needs: What must have been in order for that, names of `AWAY`.
        manager: What the service manager writes; counts where the daemon could not.
        tell_s: How long the daemon needs, once it was touched.
        lasts_s: For how long it must have been touched to be able to notice.
        until: The line that ends what `line` says began; until then it is not said again.
        calm_s: After so long without it, the next one is said again.
        counts: What the daemon's status counts, of which there is a line an hour while it lasts.
        is_kept: What `line` says began is known over a restart of the daemon.
        after_s: Until so long after the end a line tells of it: shorter where the venue does
            the same on a good day, now and then.
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
    "stream": "the daemon has said feed.stream_lost and not yet feed.stream_back",
    "rest": "the daemon has said feed.trouble and not yet feed.recovered",
    "bars": "the daemon has said feed.bar_late and not yet feed.bars_on_time",
    "time": "the link was slow, and the venue's time learnt over it",
    "broker": "dead or stopped, or the daemon has said bus.lost and not yet bus.connected",
    "presence": "the daemon has not said that the bot is online, or that it is no more",
    "clock": "the venue's clock was set back, and no bar closed",
    "live": "another version went live before the daemon looked at the files again",
}
"""What masks: a fault is masked if it met the daemon only while one of what it needs was so."""

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
    "broker_hang": _NO_BROKER._replace(  # noticed where a bar is published: 10 s may an answer take
        needs=("daemon", "link", "rest", "clock"), tell_s=0, lasts_s=11.5
    ),
    "broker_gone": _NO_BROKER._replace(manager=r"broker ended with SIGKILL"),
    # A bot killed in the moment in which it takes leave of the broker has no last will; that it
    # comes back without a model says the same.
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
        r"disk is full|No space left|disk I/O error", ("daemon",), until=r"store\.back"
    ),
    "read_only": Trace(
        r"readonly|[Rr]ead-only|Permission denied|unable to open database", until=r"store\.back"
    ),
    "store_corrupt": Trace(r"store\.corrupt"),
    "model_tampered": Trace(r"model\.lost|swap\.refused|digest", _FILES, tell_s=62),
    "pointer_lost": Trace(r"LATEST\.json was missing|model\.lost", _FILES, tell_s=62),
    "pointer_old": Trace(r"an old LATEST\.json came back", _FILES, tell_s=62),
    # Known when it is over, by late bars, or when nobody has answered for ten seconds.
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
        # A price of the stream alone that REST contradicts in time is only another last state.
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
