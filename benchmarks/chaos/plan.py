"""Draw the faults of `benchmarks.chaos` and their times from the seed."""

from random import Random
from typing import Any, NamedTuple

import msgspec

from daemon.demo.fault_script import read_fault
from daemon.demo.faults import Fault

STEP_MS = 300_000
DELAYS_MS = [90_000, STEP_MS, 3 * STEP_MS]
"""Delays in ms that must be noticed; the venue is often seconds late without a fault."""

# The shortest and the longest time of each, in wall seconds. A momentary fault has (0, 0).
PROCESSES = {
    "daemon_kill": (0, 0),
    "daemon_stop": (0, 0),
    "daemon_hang": (0, 0),
    "second_daemon": (3, 3),
    "child_kill": (0, 0),
    "child_hang": (0, 0),
    "child_out_of_memory": (0, 0),
    "broker_kill": (0, 0),
    "broker_hang": (13, 18),
    "broker_gone": (12, 20),
    "bot_kill": (0, 0),
    "bot_hang": (8, 20),
    "bot_never_answers": (45, 45),
}
FILES = {
    "disk_full": (5, 15),
    "read_only": (5, 15),
    "store_corrupt": (0, 0),
    "model_tampered": (0, 0),
    "pointer_lost": (0, 0),
    "pointer_old": (0, 0),
}
NETWORK = {"link_down": (3, 12), "link_slow": (5, 15), "malformed_messages": (0, 0)}
EXCHANGE = {
    "disconnect": (0.5, 10),
    "expired": (0, 0),
    "stall": (58, 66),
    "withhold": (2, 8),
    "late": (2, 8),
    "reorder": (2, 8),
    "duplicate": (2, 8),
    "no_trades": (2, 8),
    "malformed": (2, 8),
    "bad_bar": (1, 5),
    "http_error": (2, 10),
    "refused": (2, 8),
    "coin_fails": (6, 12),
    # At 300 times real time, the list of coins is asked for every eleven seconds.
    "short_meta": (13, 18),
    "delisted": (14, 20),
    "slow": (2, 8),
    "stale_rest": (2, 8),
    "dropped_keepalive": (2, 8),
    "clock_jump": (8, 15),
}
WORK = {"promote": (0, 0), "retrain": (0, 0)}
"""Work that the faults should meet; it is no fault itself."""
ALL = PROCESSES | FILES | NETWORK | EXCHANGE | WORK
NEEDS_NAMESPACE = ("disk_full", "link_down", "link_slow")


class Planned(NamedTuple):
    """One fault: when it begins and how long it lasts, in seconds, and its details."""

    at_s: float
    kind: str
    for_s: float
    details: dict[str, Any]

    @property
    def is_of_exchange(self) -> bool:
        return self.kind in EXCHANGE


def draw(seed: int, seconds: float, every_s: float, kinds: tuple[str, ...]) -> list[Planned]:
    """Draw a schedule: every kind in turn, in a random order, at random times.

    Args:
        seed: The same seed gives the same schedule.
        seconds: The time in which faults may begin, s.
        every_s: Mean time from one fault to the next, s; most faults last longer.
        kinds: Kinds of faults, a part of `ALL`.
    """
    random = Random(seed)
    wanted: list[str] = []
    while len(wanted) < seconds / every_s:
        wanted += random.sample(kinds, len(kinds))
    wanted = wanted[: max(1, round(seconds / every_s))]
    times = sorted(random.uniform(0, seconds) for _ in wanted)
    longest_s = seconds / 3
    return [
        _planned(random, at_s, kind, longest_s) for at_s, kind in zip(times, wanted, strict=True)
    ]


def _planned(random: Random, at_s: float, kind: str, longest_s: float) -> Planned:
    for_s = round(min(longest_s, random.uniform(*ALL[kind])), 1)
    choices: dict[str, dict[str, list[Any]]] = {
        "store_corrupt": {"how": ["header", "page", "tail", "cut"]},
        "late": {"delay_ms": DELAYS_MS},
        "slow": {"delay_ms": DELAYS_MS},
        "stale_rest": {"delay_ms": DELAYS_MS},
        "malformed": {
            "how": ["truncated", "text", "shape", "bytes", "surrogates", "deep"],
            "where": ["stream", "rest", "both"],
            "answers": ["candles", "all"],
        },
        "bad_bar": {
            "numbers": [
                *("nan", "infinite", "negative", "zero", "crossed", "future", "absurd"),
                *("vast", "huge"),
            ],
            "where": ["stream", "rest", "both"],
        },
        "http_error": {
            "status": [200, 403, 404, 422, 429, 451, 500, 502, 503],
            "body": ["null", "html"],
        },
        "coin_fails": {"of": ["candles", "both"]},
        "short_meta": {"how": ["short", "empty", "null"]},
        "clock_jump": {"jump_ms": [-12 * STEP_MS, 1_000_000]},
    }
    details = {key: random.choice(options) for key, options in choices.get(kind, {}).items()}
    if details.get("numbers") == "absurd":
        details["where"] = "stream"  # a price that REST repeats is rightly accepted
    details |= {"draw": random.randrange(2**31)} if kind in FILES | PROCESSES else {}
    return Planned(round(at_s, 2), kind, for_s, details)


def script(plan: list[Planned], lead_s: float, speed: float) -> str:
    """Return the exchange's part of a plan as a fault script; empty if it has none.

    Args:
        plan: All planned faults.
        lead_s: Wall seconds from the opening of the exchange to the plan's beginning.
        speed: Venue seconds per wall second.
    """
    entries = []
    for planned in plan:
        if planned.is_of_exchange:
            fields = msgspec.to_builtins(fault(planned, lead_s, speed))
            lines = [f"{key} = {msgspec.json.encode(v).decode()}" for key, v in fields.items() if v]
            entries.append("[[faults]]\n" + "\n".join(lines))
    return "\n\n".join(entries)


def fault(planned: Planned, lead_s: float, speed: float) -> Fault:
    """Return the fault for the exchange; bars are given by its clock, the rest by wall time."""
    begin, length = lead_s + planned.at_s, planned.for_s
    when: dict[str, Any] = {"at_wall_s": round(begin, 2)}
    if planned.kind in {"no_trades", "bad_bar", "delisted"}:
        at_ms, for_ms = int(begin * speed * 1000), max(1, int(length * speed * 1000))
        when = {"at_ms": at_ms, "for_ms": for_ms}
    elif planned.kind != "expired":
        when["for_wall_s"] = max(0.1, length)
    return read_fault({"kind": planned.kind} | when | planned.details)


def one(random: Random, kind: str, at_s: float) -> Planned:
    """Draw one fault of a kind."""
    return _planned(random, at_s, kind, max(ALL[kind][1], 1.0))
