"""The process of the embedded broker. It is run by path, so that it loads no other module.

It ends when its standard input closes, which happens when the daemon ends for any reason.
"""

import logging
import os
import sys
import threading
from typing import Final

from iotcore import IotCoreBroker

_LARGEST_BYTES: Final = 1_000_000


def serve(host: str, port: int) -> None:
    """Run the broker until the standard input closes."""
    logging.disable(logging.CRITICAL)  # it logs every packet as an error
    threading.Thread(target=_leave, daemon=True).start()
    IotCoreBroker(listen=host, port=port, max_payload_size=_LARGEST_BYTES).run_forever()


def _leave() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
