"""Count what became of the trades of a bot: taken, of no slot, bad, too old.

Files and messages come from others, so names are cut and made printable, and only so many
different ones are kept.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from daemon.core.outside_text import printable
from daemon.mqtt.messages import TradesState
from daemon.trade_files.closed_trade import BadTrade, NoTrade, OtherMarket

log = structlog.get_logger()

_NAMES: Final = 20
_LONGEST: Final = 60
_SHOWN: Final = 6
_OTHERS: Final = "others"
_WAITS: Final = "line that waits for its end"


class TradeCounts:
    """Counts since the start; of a file that is written anew, those of its present content.

    Attributes:
        taken: Trades that count, each once, also those that were known from before the start.
        old: Trades that closed too long ago to count.
        no_slot: Coin or slot as the file names it -> trades of it that belong to no slot.
        bad: Why a record cannot be counted -> how many.
        others: What a record is that is no closed trade -> how many.
        first_bad: The first bad record and its reason, made printable.
        trouble: Why the file cannot be read at present; "" if it can.
        waits: Whether the last record is not whole yet.
    """

    def __init__(self) -> None:
        self.no_slot, self.bad, self.others = _Names(), _Names(), _Names()
        self.taken = 0
        self.clear()

    def clear(self) -> None:
        """Begin again, for a file whose content is read again; trades that count are known."""
        self.old, self.waits = 0, False
        self.first_bad, self.trouble = "", ""
        for names in (self.no_slot, self.bad, self.others):
            names.clear()

    def add_bad(self, kind: str, record: str, why: str) -> bool:
        """Count a bad record; return whether it is the first of its kind."""
        if not self.first_bad:
            self.first_bad = f"{printable(record, 120)} ({printable(why, 160)})"
        return self.bad[self.bad.add(kind)] == 1

    def refuse(self, record: str, error: BadTrade, file: Path) -> None:
        """Count a record that is no trade to be counted; log the first of each bad kind."""
        if isinstance(error, OtherMarket):
            self.no_slot.add(error.kind)
        elif isinstance(error, NoTrade):
            self.others.add(error.kind)
        elif self.add_bad(error.kind, record, str(error)):
            log.warning(
                "trades.bad_line",
                file=str(file),
                line=printable(record, 200),
                why=printable(str(error), 200),
                remedy="see [trades.columns]; further ones like it are only counted",
            )

    def state(self) -> TradesState:
        """Return the counts as they are published."""
        return TradesState(
            taken=self.taken,
            old=self.old,
            no_slot=dict(self.no_slot),
            bad=dict(self.bad),
            others=dict(self.others) | ({_WAITS: 1} if self.waits else {}),
            first_bad=self.first_bad,
            trouble=self.trouble,
        )


class _Names(Counter[str]):
    """Counts by name, of at most so many different names."""

    def add(self, name: str) -> str:
        """Count under a name, made printable; return the name it is counted under."""
        name = printable(name, _LONGEST) or "none"
        if name not in self and len(self) >= _NAMES:
            name = _OTHERS
        self[name] += 1
        return name


def _of_none(no_slot: Mapping[str, int]) -> str:
    total, several = sum(no_slot.values()), len(no_slot) > 1
    most = Counter(no_slot).most_common(_SHOWN)
    names = ", ".join(f"{name} ({count})" if several else name for name, count in most)
    more = ", ..." if len(no_slot) > _SHOWN else ""
    verb = "belongs" if total == 1 else "belong"
    return f"{total} trade{'s' * (total != 1)} of {names}{more} {verb} to no slot"


def described(state: TradesState) -> str:
    """Return the counts as one line for people."""
    found = [f"{state.taken} counted"]
    if state.no_slot:
        found.append(_of_none(state.no_slot))
    if state.old:
        found.append(f"{state.old} closed too long ago to count")
    if state.bad:
        reasons = ", ".join(f"{count} because {kind}" for kind, count in state.bad.items())
        first = f", the first is {state.first_bad}" if state.first_bad else ""
        found.append(f"{sum(state.bad.values())} bad ({reasons}){first}")
    if state.others:
        what = ", ".join(f"{count} {kind}" for kind, count in state.others.items())
        found.append(f"no closed trades: {what}")
    if state.trouble:
        found.append(state.trouble)
    return "; ".join(found)
