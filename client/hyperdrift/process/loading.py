"""Keep the other threads of a process running while a thread loads a model.

Unpickling is one long run of Python. Meanwhile each other thread, such as the event loop,
waits 5 ms for each turn of the interpreter. The many new objects also start garbage
collections. Each collection looks at all objects and stops all threads, with scikit-learn
and pandas for 0.2 s.
"""

import contextlib
import gc
import sys
import threading
from collections.abc import Iterator
from typing import Final

from hyperdrift.process.forks import lock_for_forks

TURN_S: Final = 0.0005
IMPORTS: Final = lock_for_forks()
"""Held while libraries are imported and models loaded; a pickle imports, too.

Two threads that import parts of scikit-learn at once may meet a module that is half imported.
"""

_lock = threading.Lock()
_before: list[tuple[float, bool]] = []


def spare_loop() -> None:
    """Let an event loop that shares its process with many threads wait less, from now on.

    The libraries imported so far are left out of every later garbage collection, and the loop
    gets its turn of the interpreter after 0.5 ms instead of 5 ms. It collects nothing now.
    """
    gc.freeze()
    sys.setswitchinterval(TURN_S)


def freeze_gc() -> None:
    """Leave all objects that exist now out of every later garbage collection.

    The objects of libraries are never freed, and each look at them stops all threads for
    0.2 s. Call it at the end of a start; it collects the youngest objects once itself.
    """
    gc.collect(1)
    gc.freeze()


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Give other threads a turn every 0.5 ms, and collect no garbage, inside the `with`.

    If several threads are inside at once, the last one to leave restores the old settings.
    """
    with _lock:
        _before.append((sys.getswitchinterval(), gc.isenabled()))
        sys.setswitchinterval(min(TURN_S, sys.getswitchinterval()))
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            # The first entry has the true settings, so it must be the last one removed.
            interval, collecting = _before.pop()
            if not _before:
                sys.setswitchinterval(interval)
                if collecting:
                    gc.enable()
