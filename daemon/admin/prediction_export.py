"""Export the predictions of the live models, for backtests of a bot.

A start of the daemon scores the bars that closed while it did not run, with the version that is
live then. That version may be newer than such a bar and may have learnt from it. So a prediction
is exported only if its version was live when the bar closed.
"""

from bisect import bisect_right
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.ingest.table_writer import write_table
from daemon.runtime import event_codec
from daemon.store.store import Store
from hyperdrift.decision import decide
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from monitor import events


@dataclass(frozen=True, slots=True)
class ExportedPredictions:
    """What an export wrote; `first_t` and `last_t` are open times, ms UTC.

    `left_out` counts bars that a version scored which went live after their close.
    """

    predictions: int
    left_out: int
    first_t: int
    last_t: int
    models: int

    def document(self) -> dict[str, Any]:
        """Return the figures for `--json`."""
        return asdict(self)


def export(store: Store, slot: SlotName, path: Path) -> ExportedPredictions:
    """Write the stored predictions of a slot to a file, oldest bar first.

    The columns are `t` (open time, ms UTC), `model_id`, `p_down`, `p_neutral`, `p_up` and
    `decision` (0 DOWN, 1 NEUTRAL, 2 UP, by that version's signal thresholds).

    Raises:
        BadInput: If the suffix names no format, no predictions are stored, or the file cannot
            be written.
    """
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, and other commands do not need it

    served = _served(store, slot)
    since = [event.at_ms for event in served]
    rows, left_out = [], 0
    for made in store.predictions(slot):
        place = bisect_right(since, made.t + slot.interval_ms)
        live = served[place - 1] if place else None
        if live is None or live.model_id != made.model_id:
            left_out += 1
            continue
        decision = decide(made.p_down, made.p_up, down=live.down, up=live.up)
        rows.append((*made, decision))
    if not rows:
        raise BadInput(
            f"{slot} has no predictions stored; they come with each bar that a model scores"
        )
    table = pd.DataFrame(rows, columns=["t", "model_id", "p_down", "p_neutral", "p_up", "decision"])
    write_table(table, path)
    models = table["model_id"].nunique()
    return ExportedPredictions(len(rows), left_out, rows[0][0], rows[-1][0], models)


def _served(store: Store, slot: SlotName) -> list[events.ModelServed]:
    """Return which versions went live, in the order of their times."""
    kinds = [event_codec.kind(events.ModelServed)]
    entries = store.journal(slot, kinds=kinds)
    found = (event_codec.event(str(slot), row.at_ms, row.kind, row.body) for row in entries)
    return sorted(
        (event for event in found if isinstance(event, events.ModelServed)),
        key=lambda event: event.at_ms,
    )
