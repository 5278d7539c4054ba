"""Say of everything that is told what matters to a person who is away, and what ends it.

A drift alarm, a refused candidate or a decision to wait needs nobody. The rest is few: a model
that went live or back, three retrains for nothing, and whatever waits for a person.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from daemon.runtime.announcements import Announcement

MANY_REFUSALS: Final = 3


class Topic(NamedTuple):
    """A kind of message: the words of its first line, and what a person can do."""

    title: str
    advice: str = ""


TOPICS: Final = {
    "live": Topic("model live", "Nothing to do: if it is worse than the one before, it goes back."),
    "back": Topic("rolled back", "Nothing to do: the earlier model answers."),
    "refused": Topic(
        f"{MANY_REFUSALS} retrains without a model",
        "The live model stays. `hyperdrift models list` says why each was refused.",
    ),
    "win_rate": Topic("win rate too low", "Look at `hyperdrift status` whether it still earns."),
    "bot_silent": Topic("bot silent"),
    "bot_refuses": Topic("bot refuses", "Mend the bot: it trades on an older model, or on none."),
    "bot_differs": Topic("needs you", "Nothing is deployed meanwhile."),
    "market": Topic("market changed", "Nothing to do: the retrains take turns by themselves."),
    "queue": Topic("retrains wait", "The live models stay meanwhile."),
    "silence": Topic("no bars"),
    "disk": Topic("disk refuses", "Make room or mend its rights; nothing else is needed then."),
    "needs": Topic("needs you", "`hyperdrift status` shows more."),
    "slots": Topic("slots came or went"),
    "over": Topic("over"),
}
_ENDS: Final = {
    "bot_speaks": "bot_silent",
    "bot_servable": "bot_unservable",
    "features_agree": "features_differ",
    "features_unknown": "features_differ",
}
_TOPIC_OF: Final = {
    "market_drift": "market",
    "retrain_late": "queue",
    "slots_changed": "slots",
    "swapped": "live",
    "rolled_back": "back",
    "swap_refused": "bot_refuses",
    "bot_silent": "bot_silent",
    "bot_unservable": "bot_refuses",
    "features_differ": "bot_differs",
}
_LASTING: Final = frozenset(_ENDS.values())

MATTERING: Final = frozenset(
    {"alert", "gap", "hole_closing", "trouble_over", "retrain_finished", "retrain_failed"}
    | {"win_rate", *_TOPIC_OF, *_ENDS}
)
"""Kinds of which some entries matter."""


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person is told.

    Attributes:
        slot: Its slot; empty for the whole daemon.
        topic: One of `TOPICS`; those of many slots make one message.
        key: The same for the same thing, also if it is told in other words.
        at_ms: When it happened, ms UTC.
        text: What happened and why, in words.
        critical: Whether it is sent in quiet hours too.
        lasts: Whether something tells that it is over.
    """

    slot: str
    topic: str
    key: str
    at_ms: int
    text: str
    critical: bool = False
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The matter with this key is over."""

    key: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A retrain ended; `passed` says whether with a model that may go live."""

    slot: str
    at_ms: int
    text: str
    passed: bool


def read(told: Announcement) -> Matter | Ended | Verdict | None:
    """Return what an announcement means to a person; None if nothing."""
    slot, kind = told.slot, told.kind
    if kind == "trouble_over":
        return Ended(_trouble_key(told))
    if kind in _ENDS:
        return Ended(_key(told, _ENDS[kind]))
    if kind in {"retrain_finished", "retrain_failed"}:
        passed = bool(told.fields.get("passed", False))
        return Verdict(slot, told.at_ms, told.text, passed)
    critical = told.severity == "critical"
    common: dict[str, Any] = {"slot": slot, "at_ms": told.at_ms, "text": told.text}
    if kind in _LASTING:
        topic = _TOPIC_OF[kind]
        return Matter(**common, topic=topic, key=_key(told, kind), lasts=True, critical=critical)
    if kind in _TOPIC_OF:
        key = f"{slot}|{told.at_ms}|{told.text}" if kind != "swap_refused" else _said(told)
        critical = kind == "swap_refused"
        return Matter(**common, topic=_TOPIC_OF[kind], key=key, critical=critical)
    if kind == "win_rate" and told.fields.get("cause") == "floor":
        return Matter(**common, topic="win_rate", key=_said(told))
    return _alert(told, common) if critical else None


def _alert(told: Announcement, common: dict[str, Any]) -> Matter:
    trouble = str(told.fields.get("trouble", ""))
    topic = trouble if trouble in {"silence", "disk"} else "needs"
    key = _trouble_key(told) if trouble else _said(told)
    return Matter(**common, topic=topic, key=key, critical=True, lasts=bool(trouble))


def _key(told: Announcement, kind: str) -> str:
    return f"{told.slot}|{kind}|{told.fields.get('bot_id', '')}"


def _trouble_key(told: Announcement) -> str:
    return f"{told.slot}|trouble|{told.fields.get('trouble') or told.text}"


def _said(told: Announcement) -> str:
    return f"{told.slot}|{told.text}"
