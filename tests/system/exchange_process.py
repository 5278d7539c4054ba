"""The replay exchange as a process beside a machine, as `hyperdrift exchange` starts it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[2]


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
