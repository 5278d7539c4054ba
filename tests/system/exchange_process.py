"""The replay exchange as a process beside a machine, as `hyperdrift exchange` starts it."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _own_ports() -> Iterator[int]:
    """Yield ports that only this process's tests choose, in turn, for ever.

    Linux gives out those from 32768 on: to clients, and to servers that ask for any. Of the
    others each process of xdist has a thousand of its own.
    """
    first = 20_000 + 1000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)
    begin = random.randrange(1000)  # another run may have some on the same host
    yield from cycle(first + (begin + number) % 1000 for number in range(1000))


_PORTS = _own_ports()


def free_port() -> int:
    """Return a port that nobody takes before the server that it is for."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", port := next(_PORTS))):
            return port


@contextmanager
def exchange(
    speed: float, history: int, *options: str, prefix: Sequence[str] = ()
) -> Iterator[str]:
    """Hold one on a free port; yields the section `[hyperliquid]` that leads to it.

    `prefix` is put before the command, as `NetworkHost.prefix` is.
    """
    command = ("-m", "daemon.cli", "exchange", "--port", str(free_port()))
    pace = ("--speed", str(speed), "--history", str(history))
    with subprocess.Popen(
        (*prefix, sys.executable, *command, *pace, *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        urls = [line[line.index("rest_url" if "rest" in line else "ws_url") :] for line in said[1:]]
        try:
            yield f"[hyperliquid]\nspeed = {speed}\n{''.join(urls)}"
        finally:
            process.terminate()
