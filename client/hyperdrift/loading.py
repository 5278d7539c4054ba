"""Load a model in a thread, and collect garbage, without the rest of the process noticing.

Unpickling is one long run of Python: whoever waits for the interpreter meanwhile, the
event loop above all, gets it 5 ms late each time, and a garbage collection that the many
new objects set off stops everybody for as long as it takes to look at every object there
is, 0.2 s beside scikit-learn and pandas.
"""

import contextlib
import gc
import sys
import threading
from collections.abc import Iterator
from typing import Final

TURN_S: Final = 0.0005

_lock = threading.Lock()
_before: list[tuple[float, bool]] = []


def freeze_gc() -> None:
    """Leave all objects that are there now out of every later garbage collection.

    Libraries stay for ever; looking at their objects again and again stops everybody for a
    fifth of a second each time. For the end of a start: it takes as long once.
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Let other threads in every half millisecond, and put off collections, for the moment.

    What was set before comes back when the last of those who are in at once leaves.
    """
    with _lock:
        _before.append((sys.getswitchinterval(), gc.isenabled()))
        sys.setswitchinterval(min(TURN_S, sys.getswitchinterval()))
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            # The newest leaves the list, whoever it was: the first to come knew the true ones.
            interval, collecting = _before.pop()
            if not _before:
                sys.setswitchinterval(interval)
                if collecting:
                    gc.enable()
