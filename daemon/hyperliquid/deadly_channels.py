"""Find the subscription for which the venue closes the whole socket, as for an unknown coin.

The venue confirms subscriptions in order, and says nothing of the one that it minds. So the first
one that it did not confirm is asked for last. If again and again only it is missing, it is found.
"""

from collections.abc import Collection
from typing import Final

from daemon.hyperliquid.frames import Channel

_DEATHS: Final = 2  # sockets that a subscription ends alone before it is given up


class DeadlyChannels:
    """Remembers where sockets ended.

    Attributes:
        found: The subscriptions that ended several sockets alone.
    """

    def __init__(self) -> None:
        self.found: set[Channel] = set()
        self._suspect: Channel | None = None
        self._deaths = 0

    def order(self, channel: Channel) -> tuple[bool, str]:
        """Return what subscriptions are sorted by before they are sent."""
        return channel == self._suspect, str(channel)

    def socket_ended(self, unconfirmed: Collection[Channel], wanted: Collection[Channel]) -> None:
        """Note that a socket ended before some of the subscriptions were confirmed.

        Args:
            unconfirmed: Those, at least one.
            wanted: All subscriptions.
        """
        if set(unconfirmed) == {self._suspect} != set(wanted):
            self._deaths += 1
        else:
            self._suspect, self._deaths = min(unconfirmed, key=self.order), 0
        if self._deaths >= _DEATHS and self._suspect is not None:
            self.found.add(self._suspect)
