"""Ports for servers that a test starts later, and that nobody else gets until then.

A port that the system chooses for a moment may be given away again before the server listens:
to another test that asks for one, or to a connection that goes out. So these ports lie below
those that the system gives, and each is claimed on this host until the process ends.
"""

import contextlib
import random
import socket
from pathlib import Path
from typing import Final

_GIVEN: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _COUNT = 10_000, 12_000
_RANDOM: Final = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing uses and no other test has or will get."""
    above = int(_GIVEN.read_text().split()[0]) if _GIVEN.exists() else _LOWEST + _COUNT
    below = max(_LOWEST, above - _COUNT)
    while True:
        port = _RANDOM.randrange(below, max(above, below + _COUNT))
        if _is_unused(port) and _claim(port):
            return port


def _is_unused(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def _claim(port: int) -> bool:
    """Take the port's name among the abstract sockets, which no two processes can have."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0hyperdrift-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # it stays open, as long as this process lives
    return True
