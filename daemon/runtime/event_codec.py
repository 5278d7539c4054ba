"""Convert events to journal rows and back.

A start rebuilds the engine from the stored events, so a row must give back exactly the event
that was handled. JSON has no NaN: an undefined feature is null.
"""

import functools
import math
from typing import Any

import msgspec

from daemon.core.outside_text import decode_json
from daemon.store import journal_table
from daemon.store.journal_kinds import SCORED
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from monitor import events

_EVENTS: dict[str, type[events.Event]] = {
    each.__name__: each
    for each in (
        events.BarScored,
        events.BotFellSilent,
        events.BotSeen,
        events.BotSpoke,
        events.ChallengerJudged,
        events.CommandReceived,
        events.FeaturesAgreed,
        events.FeaturesDiffered,
        events.JudgingBegan,
        events.ModelServed,
        events.RetrainFailed,
        events.RetrainFinished,
        events.SwapAcked,
        events.SwapFailed,
        events.Ticked,
        events.TradeClosed,
        events.TurnAwaited,
        events.TurnCame,
    )
}


def kind(event_type: type[events.Event]) -> str:
    """Return the kind of journal row for a type of event."""
    return event_type.__name__


def body(event: events.Event) -> tuple[str, dict[str, Any]]:
    """Return the kind of the row and its fields, without `slot` and `at_ms`, which are columns."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    del fields["slot"], fields["at_ms"]
    if isinstance(event, events.BarScored):
        fields["row"] = [None if math.isnan(x) else x for x in event.row]
    return kind(type(event)), fields


def event(slot: str, at_ms: int, kind: str, fields: dict[str, Any]) -> events.Event | None:
    """Rebuild the event of a row; None for a row that is not an event of this version."""
    event_type = _EVENTS.get(kind)
    if event_type is None:
        return None
    whole = {**fields, "slot": slot, "at_ms": at_ms}
    if event_type is events.ModelServed and "rollback" not in whole:
        # Rows of older versions have it only in the reason.
        whole["rollback"] = str(whole.get("reason", "")).startswith("rollback")
    if "row" in whole:
        whole["row"] = [math.nan if x is None else x for x in whole["row"]]
    try:
        return msgspec.convert(whole, event_type)
    except msgspec.ValidationError:
        return None


def read(store: Store, slot: SlotName, since_ms: int, after_seq: int = 0) -> list[events.Event]:
    """Return the events of a slot since `since_ms`, ms UTC, oldest first.

    Those of the journal up to the entry `after_seq` are left out.
    """
    rows = journal_table.rows_of_slot(store.database, slot, after_seq, since_ms)
    found = (_scored(*row) or _of_row(*row) for row in rows)
    return [each for each in found if each is not None]


def _scored(_: int, slot: str, at_ms: int, kind: str, body: str) -> events.BarScored | None:
    """Return the score of a bar without a detour: a start reads thousands of each slot.

    None for any other row, and for one with an undefined feature.
    """
    if kind != SCORED:
        return None
    whole = f'{body[:-1]},"at_ms":{at_ms},"slot":{_quoted(slot)}}}'
    try:
        bar: events.BarScored = decode_json(whole, events.BarScored)
    except BadInput:
        return None
    return bar


@functools.cache
def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _of_row(seq: int, slot: str, at_ms: int, kind: str, body: str) -> events.Event | None:
    row = journal_table.entry_of(seq, slot, at_ms, kind, body)
    return row and event(slot, at_ms, kind, row.body)
