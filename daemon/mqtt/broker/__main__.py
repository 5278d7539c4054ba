"""The process of the embedded broker: `python -m daemon.mqtt.broker`.

Its settings are the first line of its standard input, as JSON. What it refuses it writes to its
standard output, a JSON line each. It ends when its standard input closes, which happens when
the daemon ends for any reason.
"""

import asyncio
import json
import os
import sys
import threading
from functools import partial
from typing import Any, Final

from daemon.mqtt.broker.access import Access
from daemon.mqtt.broker.limits import BrokerLimits, RefusalTally
from daemon.mqtt.broker.server import BrokerServer
from hyperdrift.clock import SystemClock

# Taken at once; with all who may log in and wait, a process may have so many files (1024).
_BACKLOG: Final = 200


async def serve(settings: dict[str, Any]) -> None:
    """Run the broker until the process ends."""
    access = Access(
        settings["passwords"], settings["prefix"], anonymous=bool(settings["anonymous"])
    )
    limits = BrokerLimits()
    server = BrokerServer(access, limits, RefusalTally(_tell, SystemClock().monotonic))
    make = partial(asyncio.start_server, limit=limits.packet_bytes // 4)
    listening = await make(server.serve, settings["host"], settings["port"], backlog=_BACKLOG)
    _tell("ready", "", 0)
    await listening.serve_forever()


def _tell(kind: str, particulars: str, count: int) -> None:
    line = json.dumps({"kind": kind, "particulars": particulars, "count": count})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _leave() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    first = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave, daemon=True).start()
    asyncio.run(serve(first))
