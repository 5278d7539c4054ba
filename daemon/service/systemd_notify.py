"""Send messages to the service manager that started this process, if one did.

systemd passes the name of a datagram socket; each message is a few lines `KEY=value`. Sending
never blocks, because a manager that does not read must not delay the bars.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class SystemdNotifier:
    """Sends messages to the service manager; without one, each call does nothing.

    `watchdog_s` is the longest silence in s that it allows after the start, None if any.

    Args:
        environ: Holds the address of the socket; the process environment by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        # @ stands for the NUL byte, with which the kernel begins abstract names.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        ours = environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
        limit = environ.get("WATCHDOG_USEC", "") if ours else ""
        self.watchdog_s = int(limit) / _MICROSECONDS if limit.isdecimal() else None

    @property
    def is_there(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that the start is over."""
        self._send("READY=1")

    def alive(self) -> None:
        """Report that we are alive; the time of `watchdog_s` begins again."""
        self._send("WATCHDOG=1")

    def starting(self, seconds: float) -> None:
        """Ask for so many seconds from now on to finish the start."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def status(self, text: str) -> None:
        """Report in one line what the daemon does."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(0)
            to.sendto(text.encode(), self._address)
