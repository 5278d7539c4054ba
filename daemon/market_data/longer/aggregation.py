"""Merge the bars of a shorter interval into those of a longer one, as the venue does.

The venue makes both from the same trades. So a longer bar equals the merged shorter ones,
but only if each of them is of record: one that is missing may hide trades.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from daemon.core.bars import Bar, Provenance
from daemon.store.bar_merge import Stored
from hyperdrift.slot_name import SlotName

_STAND_INS = frozenset({Provenance.STREAM, Provenance.FILLED})


def sources(slots: Iterable[SlotName]) -> dict[SlotName, SlotName | None]:
    """Return the slot whose bars each slot's bars are merged from; None if it asks the venue.

    It has the shortest interval of the coin that divides the slot's own. So it is never
    itself merged: what divides its interval divides the longer one too.

    Args:
        slots: All slots that are followed.
    """
    of_coin: dict[str, list[SlotName]] = {}
    for slot in sorted(slots, key=lambda slot: slot.interval_ms):
        of_coin.setdefault(slot.coin, []).append(slot)
    return {
        slot: next((one for one in same[:k] if not slot.interval_ms % one.interval_ms), None)
        for same in of_coin.values()
        for k, slot in enumerate(same)
    }


def merged(bars: Sequence[Bar], t: int) -> Bar:
    """Merge the bars of one longer bar, ascending, at least one.

    Bars without trades count only if none has trades: nobody traded at their prices. The sum
    of the volumes is exact in decimals, as the venue's is; it is rounded once, to a float.

    Args:
        bars: The shorter bars.
        t: Open time of the longer bar, ms UTC.
    """
    used = [bar for bar in bars if bar.volume > 0] or bars
    return Bar(
        t,
        used[0].open,
        max(bar.high for bar in used),
        min(bar.low for bar in used),
        used[-1].close,
        float(sum(Decimal(repr(bar.volume)) for bar in used)),
        sum(bar.n for bar in used),
    )


@dataclass(frozen=True, slots=True)
class LongerBars:
    """What the shorter bars tell of some longer ones; each list ascends.

    Attributes:
        whole: Longer bars of which every shorter one is of record.
        provisional: Longer bars whose last shorter ones REST has not confirmed yet, each with
            the provenance that it can be stored with.
        lacking: Open times of longer bars that the shorter ones do not tell, ms UTC: one is
            missing, or REST lacks one and has a later one.
    """

    whole: list[Bar] = field(default_factory=list)
    provisional: list[tuple[Bar, Provenance]] = field(default_factory=list)
    lacking: list[int] = field(default_factory=list)


def longer_bars(
    copies: Iterable[Stored], step_ms: int, longer_ms: int, times: Iterable[int]
) -> LongerBars:
    """Sort longer bars by what the stored copies of the shorter ones tell of them.

    Args:
        copies: Stored shorter bars, in any order.
        step_ms: Length of a shorter bar, ms.
        longer_ms: Length of a longer bar, ms, a multiple of `step_ms`.
        times: Open times of the longer bars, ms UTC, ascending.
    """
    held = {copy.bar.t: copy for copy in copies}
    record = max((t for t, c in held.items() if c.provenance is Provenance.REST), default=-1)
    result = LongerBars()
    for t in times:
        parts = [held[at] for at in range(t, t + longer_ms, step_ms) if at in held]
        open_parts = [part for part in parts if part.provenance is not Provenance.REST]
        if len(parts) < longer_ms // step_ms:
            result.lacking.append(t)
        elif not open_parts:
            result.whole.append(merged([part.bar for part in parts], t))
        elif all(p.provenance in _STAND_INS and p.bar.t > record for p in open_parts):
            bar = merged([part.bar for part in parts], t)
            is_flat = all(part.provenance is Provenance.FILLED for part in parts)
            result.provisional.append((bar, Provenance.FILLED if is_flat else Provenance.STREAM))
        else:
            result.lacking.append(t)
    return result
