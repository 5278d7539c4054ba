"""Learn the cohorts of a slot anew, each from bars before those that it is in force for.

It takes seconds of a core, so it runs in a child process. The first time the kept bars are cut
into pieces, and the cohorts of each piece are learnt from all bars before it. So a training
frame has a flow at once, and no flow knows its own bar.

    python -m daemon.cohorts.refresh JOB_DIR DATA_DIR SLOT HORIZON_BARS AT_MS
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.cohorts.learning import Learnt, Member, TakenVolumes, before, heard, learn
from daemon.store import taker_table
from daemon.store.data_folder import open_store
from daemon.store.taker_table import CohortList
from hyperdrift.errors import BadInput, HyperdriftError
from hyperdrift.slot_name import SlotName

RESULT: Final = "cohorts.json"
_FIRST_CUTS: Final = (0.4, 0.6, 0.8)


class Refreshed(msgspec.Struct, frozen=True):
    """New lists of cohorts, the oldest first, and what the newest one rests on."""

    lists: tuple[CohortList, ...]
    members: tuple[Member, ...]
    addresses: int
    tried: int
    bars: int


def refresh(
    slot: SlotName, taken: TakenVolumes, horizon: int, from_t: int, *, is_first: bool
) -> Refreshed:
    """Learn the cohorts that are in force from `from_t` on, and at first those of earlier pieces.

    Args:
        slot: The slot.
        taken: What addresses took in the kept bars.
        horizon: Bars after a trade that count.
        from_t: First open time for which the newest list is in force, ms UTC.
        is_first: Whether there is no list yet.

    Raises:
        BadInput: If there are too few bars.
    """
    newest = learn(slot, before(taken, from_t), horizon)
    cuts = _FIRST_CUTS if is_first else ()
    pieces = []
    for t in (int(taken.t[int(cut * len(taken.t))]) for cut in cuts):
        try:
            pieces.append(_list(learn(slot, before(taken, t), horizon), t))
        except BadInput:
            continue  # too few bars before it: nobody is in force
    return Refreshed(
        lists=(*pieces, _list(newest, from_t)),
        members=newest.members,
        addresses=newest.addresses,
        tried=newest.tried,
        bars=newest.bars,
    )


def main(arguments: Sequence[str]) -> int:
    """Write the lists into the job folder and print one JSON line."""
    folder, data_dir, slot = Path(arguments[0]), Path(arguments[1]), SlotName.parse(arguments[2])
    horizon, from_t = int(arguments[3]), int(arguments[4])
    try:
        with open_store(data_dir, read_only=True) as store:
            is_first = not taker_table.lists(store.database, slot)
            taken = heard(store, slot)
        result = refresh(slot, taken, horizon, from_t, is_first=is_first)
    except HyperdriftError as e:
        return _tell("failed", error=str(e), kind=type(e).__name__)
    (folder / RESULT).write_bytes(msgspec.json.encode(result))
    return _tell("finished")


def _tell(event: str, **fields: Any) -> int:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    return 0 if event == "finished" else 2


def _list(learnt: Learnt, from_t: int) -> CohortList:
    return CohortList(
        from_t,
        *(
            frozenset(m.address for m in learnt.members if m.cohort == name)
            for name in ("top", "bottom")
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
