"""Replay journals in a process of its own: a job a line, an engine's state back.

python -m daemon.runtime.checkpoints.replaying STORE

`daemon.runtime.checkpoints.replays_ahead` starts it and is its only caller.
"""

import base64
import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from daemon.runtime.checkpoints.engine_keeper import packed
from daemon.runtime.recovery import new_engine, rebuilt
from daemon.store.journal_pages import newest_seq
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings


def replayed(store: Store, asked: dict[str, Any]) -> dict[str, Any]:
    """Replay the journal of a slot; return the fields of its `KeptEngine`.

    Without bars there are none. What may be under way goes with the state: a replay from the
    middle of a journal often ends so, because it never saw which model was live before.

    Args:
        store: Holds the journal.
        asked: `slot`, `since_ms` (older events are left out) and `settings`, plain JSON values.
    """
    slot, settings = SlotName.parse(asked["slot"]), PolicySettings(**asked["settings"])
    seq = newest_seq(store.database)
    past = rebuilt(store, slot, asked["since_ms"], partial(new_engine, slot, settings))
    if past.first_t is None:
        return {}
    kept = packed(past.engine, past.first_t, past.before, seq, past.order)
    return {**kept._asdict(), "state": base64.b64encode(kept.state).decode()}


def main() -> None:
    """Serve the jobs on stdin until it is closed."""
    with contextlib.closing(Store(Path(sys.argv[1]), read_only=True)) as store:
        for line in sys.stdin:
            answer = {"event": "finished", **replayed(store, json.loads(line))}
            print(json.dumps(answer), flush=True)  # noqa: T201 - stdout is the answer


if __name__ == "__main__":
    main()
