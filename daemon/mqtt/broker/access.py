"""Who may log in to the embedded broker, and what each user may say and hear."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from daemon.mqtt.broker.packets import LEVELS

DAEMON, BOT, OPERATOR, ANYONE = "daemon", "bot", "operator", "anyone"

# As in systemd/mosquitto.acl, below the prefix.
_READS: Final = {
    DAEMON: ("#",),
    ANYONE: ("#",),
    OPERATOR: ("#",),
    BOT: ("+/model", "+/bot/+/piece"),
}
_WRITES: Final = {
    DAEMON: ("#",),
    ANYONE: ("#",),
    OPERATOR: ("+/command",),
    BOT: ("+/model/ack", "+/bot/#", "+/prediction", "+/trade"),
}
# Beside the prefix: the daemon describes slots to Home Assistant, which logs in as operator.
_ALSO_READS: Final = {DAEMON: ("homeassistant/#",), OPERATOR: ("homeassistant/#",)}
_ALSO_WRITES: Final = {DAEMON: ("homeassistant/device/#",), OPERATOR: ("homeassistant/status",)}


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do; topics are filters, with their levels apart."""

    user: str
    reads: tuple[tuple[str, ...], ...]
    writes: tuple[tuple[str, ...], ...]

    def may_read(self, topic: str) -> bool:
        """Whether the user may hear a topic."""
        return any(matches(one, topic.split("/")) for one in self.reads)

    def may_write(self, topic: str) -> bool:
        """Whether the user may publish to a topic."""
        return any(matches(one, topic.split("/")) for one in self.writes)


class Access:
    """The users of the broker.

    Args:
        passwords: User -> password.
        prefix: First level of the topics.
        anonymous: Whether everybody may everything, also without a user.
    """

    def __init__(
        self, passwords: Mapping[str, str], prefix: str, *, anonymous: bool = False
    ) -> None:
        self._passwords, self._prefix, self._anonymous = dict(passwords), prefix, anonymous

    def login(self, user: str | None, password: bytes | None) -> Rights | None:
        """Return the rights of a client; None if it may not log in."""
        wanted = self._passwords.get(user or "", "")
        # Also without such a user something is compared, so that the time tells nothing.
        right = hmac.compare_digest(wanted.encode(), password or b"")
        if user and wanted and right:
            return self._rights(user)
        return self._rights(ANYONE) if self._anonymous else None

    def _rights(self, user: str) -> Rights:
        reads, writes = self._below(_READS[user], user), self._below(_WRITES[user], user)
        reads += _split(_ALSO_READS.get(user, ()))
        return Rights(user, reads, writes + _split(_ALSO_WRITES.get(user, ())))

    def _below(self, filters: tuple[str, ...], user: str) -> tuple[tuple[str, ...], ...]:
        bare = user == ANYONE  # a broker that is open is open for other topics too
        return _split(one if bare else f"{self._prefix}/{one}" for one in filters)


def _split(filters: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(one.split("/")) for one in filters)


def matches(pattern: tuple[str, ...], levels: list[str]) -> bool:
    """Whether a topic matches a filter, both given by their levels."""
    if levels[0].startswith("$") and pattern[0] in {"+", "#"}:
        return False
    for i, part in enumerate(pattern):
        if part == "#":
            return True  # also for the parent level itself
        if i >= len(levels) or part not in {"+", levels[i]}:
            return False
    return len(pattern) == len(levels)


def is_filter(text: str) -> bool:
    """Whether a text is a filter that can be subscribed to."""
    parts = text.split("/")
    plain = all(part in {"+", "#"} or not set(part) & set("+#") for part in parts)
    return bool(text) and plain and "#" not in parts[:-1] and len(parts) <= LEVELS
