"""Hand the files of TLS over to the process that speaks with Dask.

That process may read no secret. A file that was renewed by rename is a new one for the kernel,
which would not let it read that one either. So the daemon reads the files whenever it connects.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from daemon.fleet.messages import TlsFiles

_LARGEST: Final = 1 << 18  # bytes; all three fit into one line of the pipe


def read_tls(paths: Sequence[str]) -> TlsFiles:
    """Return the texts of three files as they are now, or why there are none.

    Args:
        paths: Of the authority, of our certificate and of its key.
    """
    texts = []
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as e:
            why = (isinstance(e, OSError) and e.strerror) or "it is no text"
            return TlsFiles(why=f"{path} cannot be read: {why}")
        if len(text) > _LARGEST:
            return TlsFiles(why=f"{path} is no file of TLS: it is larger than {_LARGEST} bytes")
        texts.append(text)
    authority, certificate, key = texts
    return TlsFiles(authority=authority, certificate=certificate, key=key)


@contextmanager
def as_files(*texts: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of a file for each text; they are in memory, and of this process alone."""
    with ExitStack() as stack:
        paths = []
        for text in texts:
            opened = os.memfd_create("tls")
            stack.callback(os.close, opened)
            os.write(opened, text.encode())
            paths.append(f"/proc/self/fd/{opened}")
        yield tuple(paths)
