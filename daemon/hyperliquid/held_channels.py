"""Know which channels the venue pushes over the present socket, also those not wanted any more.

A channel that is wanted again within a minute is still there, so a slot that comes back costs no
message. After that the venue is asked to end it. It is subscribed to again only once the venue
has confirmed the end: the confirmation of the one may otherwise be taken for that of the other.
"""

from typing import Final

from daemon.hyperliquid import requests
from daemon.hyperliquid.frames import Acknowledged, Channel
from hyperdrift.errors import BadInput

MOST_SUBSCRIPTIONS: Final = 1000
"""The venue's limit for one address."""
LEFT_S: Final = 60.0
"""So many wall seconds a channel stays that is not wanted any more."""


class HeldChannels:
    """The channels of one socket after the other.

    Attributes:
        asked: What was subscribed to on the present socket, and has not ended.
        ending: Those whose end the venue was asked for.
    """

    def __init__(self) -> None:
        self.asked: set[Channel] = set()
        self.ending: set[Channel] = set()
        self._confirmed: set[Channel] = set()
        self._left_s: dict[Channel, float] = {}

    def renew(self) -> None:
        """Begin with another socket, which has none."""
        for of in (self.asked, self.ending, self._confirmed, self._left_s):
            of.clear()

    def confirm(self, echo: Acknowledged) -> None:
        """Note that the venue has confirmed a subscription."""
        self._confirmed |= {one for one in self.asked if acknowledges(echo, one)}

    def is_confirmed(self, channel: Channel) -> bool:
        """Return whether the venue has confirmed a subscription."""
        return channel in self._confirmed

    def leave(self, channel: Channel, now_s: float) -> None:
        """Let a channel end, unless it is taken back within a minute.

        Args:
            channel: The channel.
            now_s: Monotonic time, s.
        """
        if channel in self.asked - self.ending:
            self._left_s[channel] = now_s

    def take_back(self, channel: Channel) -> bool:
        """Want a channel again; return whether it is still there."""
        self._left_s.pop(channel, None)
        return channel in self.asked - self.ending

    def due(self, now_s: float, *, at_once: bool) -> list[Channel]:
        """Return what is to be ended now.

        Args:
            now_s: Monotonic time, s.
            at_once: Whether none may stay for its minute.
        """
        left = self._left_s.items()
        return sorted((one for one, s in left if at_once or now_s - s > LEFT_S), key=str)

    def end(self, channel: Channel) -> bool:
        """Note that a channel is ended; return False if it was taken back."""
        if self._left_s.pop(channel, None) is None:
            return False
        self.ending.add(channel)
        return True

    def ended(self, echo: Acknowledged) -> bool:
        """Note that the venue has ended a channel; return whether it was asked to."""
        found = {one for one in self.ending if acknowledges(echo, one)}
        self.ending -= found
        for one in found:
            self.forget(one)
        return bool(found)

    def forget(self, channel: Channel) -> None:
        """Take a channel for one that is not there, and leave it as it is."""
        self._left_s.pop(channel, None)
        for of in (self.asked, self.ending, self._confirmed):
            of.discard(channel)


def check_many(many: int) -> None:
    """Check a number of subscriptions.

    Raises:
        BadInput: If they are more than the venue allows.
    """
    if many > MOST_SUBSCRIPTIONS:
        most = f"the {MOST_SUBSCRIPTIONS} that the venue allows"
        raise BadInput(f"{many} subscriptions are more than {most}: remove slots")


def acknowledges(echo: Acknowledged, wanted: Channel) -> bool:
    """Tell whether an acknowledgement is of this subscription; it may have more keys."""
    return requests.subscription(wanted).items() <= echo.subscription.items()
