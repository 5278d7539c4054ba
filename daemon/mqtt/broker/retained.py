"""The retained messages, bounded: what users retain cannot push out what the daemon does."""

from collections.abc import Iterator

from daemon.mqtt.broker.access import ANYONE, DAEMON
from daemon.mqtt.broker.limits import BrokerLimits
from daemon.mqtt.broker.packets import Publication


class Retained:
    """The newest retained message of each topic.

    The daemon has an allowance of its own; all other users share one. Where nobody logs in,
    everybody shares the daemon's.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._messages: dict[str, tuple[Publication, bool]] = {}
        self._bytes, self._count = [0, 0], [0, 0]

    def put(self, message: Publication, user: str) -> bool:
        """Keep a message, or forget the topic if it is empty; False if there is no room."""
        trusted, was = user in {DAEMON, ANYONE}, self._messages.get(message.topic)
        if was is not None:
            self._account(was[0], trusted=was[1], sign=-1)
            del self._messages[message.topic]
        if not message.payload:
            return True
        is_full = (
            self._count[trusted] >= self._limits.retained[trusted]
            or self._bytes[trusted] + message.size > self._limits.retained_bytes[trusted]
        )
        if is_full:
            if was is not None:  # the older one stays
                self._keep(*was)
            return False
        self._keep(message, trusted)
        return True

    def __iter__(self) -> Iterator[Publication]:
        return iter([message for message, _ in self._messages.values()])

    def _keep(self, message: Publication, trusted: bool) -> None:  # noqa: FBT001 - as it is kept
        self._messages[message.topic] = message, trusted
        self._account(message, trusted=trusted, sign=1)

    def _account(self, message: Publication, *, trusted: bool, sign: int) -> None:
        self._count[trusted] += sign
        self._bytes[trusted] += sign * message.size
