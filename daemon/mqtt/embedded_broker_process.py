"""The process of the embedded broker: run by path, so that nothing else of ours is loaded.

It ends with its standard input, which closes when the daemon ends in whatever way.
"""

import logging
import os
import sys
import threading
from typing import Final

from iotcore import IotCoreBroker

_LARGEST_BYTES: Final = 1_000_000


def serve(host: str, port: int) -> None:
    """Be a broker until the standard input ends."""
    logging.disable(logging.CRITICAL)  # it logs every packet as an error
    threading.Thread(target=_leave, daemon=True).start()
    IotCoreBroker(listen=host, port=port, max_payload_size=_LARGEST_BYTES).run_forever()


def _leave() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
