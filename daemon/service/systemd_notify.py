"""Talk to the service manager that started this process, if one did.

systemd hands over the name of a datagram socket; each message is a few lines `KEY=value`.
Nothing is ever waited for: a manager that does not read must not hold up the bars.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class SystemdNotifier:
    """The service manager, or nobody: then what is said is lost, and nothing else happens.

    `watchdog_s` is how long it lets us be silent once we are ready, None if for ever.

    Args:
        environ: Where it left its address; the process environment by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is of the abstract namespace, which the kernel spells NUL.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        ours = environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
        limit = environ.get("WATCHDOG_USEC", "") if ours else ""
        self.watchdog_s = int(limit) / _MICROSECONDS if limit.isdecimal() else None

    @property
    def is_there(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that the start is over."""
        self._send("READY=1")

    def alive(self) -> None:
        """Ask for another `watchdog_s` of patience."""
        self._send("WATCHDOG=1")

    def starting(self, seconds: float) -> None:
        """Ask for so many seconds more to start in, from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def status(self, text: str) -> None:
        """Say what we do, in one line."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(0)
            to.sendto(text.encode(), self._address)
