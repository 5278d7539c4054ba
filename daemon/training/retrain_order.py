"""Say in which order those who wait for a retrain get their turn; no clock, no waiting.

What a person asked for comes first, then slots without a model. The rest follows by how much the
live model suffers meanwhile. Nobody starves: whoever has waited an hour shares the turns with them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

LONGEST_WAIT_S: Final = 3600.0
"""Whoever has waited longer, in seconds, is told of, and gets a turn whatever its kind."""
CHALLENGE: Final = "challenge"
"""The kind of a quick challenger; the kinds of retrains are their triggers."""
# A quick challenger is short, and its "no" saves a whole retrain: it comes before those for drift.
_RANKS: Final = {
    kind: rank
    for rank, kinds in enumerate(
        (("command",), ("first",), (CHALLENGE,), ("drift", "win_rate"), ("age",), ("schedule",))
    )
    for kind in kinds
}


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a turn.

    Attributes:
        kind: The trigger of the retrain, or `CHALLENGE`.
        since_s: When the wait began, seconds of any clock that never goes back.
        number: Who came later has a greater one.
    """

    kind: str
    since_s: float
    number: int

    @property
    def age(self) -> tuple[float, int]:
        """What sorts the one that has waited longest first."""
        return self.since_s, self.number

    @property
    def rank(self) -> int:
        """What sorts the kinds; of an unknown kind the last."""
        return _RANKS.get(self.kind, len(_RANKS))


def in_order(
    waiters: Collection[Waiter], now_s: float, *, longest_next: bool = True
) -> list[Waiter]:
    """Return those who wait in the order of their turns, if nobody else comes.

    While somebody has waited longer than `LONGEST_WAIT_S`, every second turn goes to the one that
    has waited longest. So who has `n` older ones before it then is served within `2 * (n + 1)`
    turns, and an operator's order waits for one turn more at most.

    Args:
        waiters: Who waits.
        now_s: The time, seconds of the clock of `Waiter.since_s`.
        longest_next: Whether the next of these second turns is the first one.
    """
    by_kind = sorted(waiters, key=lambda one: (one.rank, *one.age))
    overdue = sorted((one for one in waiters if is_overdue(one, now_s)), key=lambda one: one.age)
    by_age, others, left = iter(overdue), iter(by_kind), set(overdue)
    order: dict[Waiter, None] = {}
    while left:
        line = by_age if longest_next else others
        one = next(one for one in line if one not in order)
        order[one] = None
        left.discard(one)
        longest_next = not longest_next
    return [*order, *(one for one in others if one not in order)]


def is_overdue(waiter: Waiter, now_s: float) -> bool:
    """Return whether somebody has waited too long by now."""
    return now_s - waiter.since_s >= LONGEST_WAIT_S
