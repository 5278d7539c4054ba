"""Learn cohorts from the trades of the venue's archive files, or from those that were heard."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.config.schema import LABEL_DEFAULTS, Config
from daemon.core.times import utc
from daemon.ingest.taker_volumes import TakerVolumes
from daemon.ingest.venue_archive import read_archive
from daemon.store import taker_table
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from retrain.cohorts import ranking
from retrain.cohorts.ranking import FEWEST_BLOCKS, LEARNT_FROM, Ranking, TakerFlows

_MAX_INT: Final = 2**62
_NAMES: Final = {1: "top", -1: "bottom"}


class TakenVolumes(NamedTuple):
    """What addresses took: `flows` of bars that opened at `t` (ms UTC) and closed at `close`.

    `t` and `close` have the shape (n_bars,), with NaN for a bar that is missing.
    """

    addresses: Sequence[str]
    flows: TakerFlows
    t: NDArray[np.int64]
    close: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Member:
    """One address of a cohort with its evidence, as `retrain.cohorts.ranking.Ranking` has it."""

    address: str
    cohort: str
    bars: int
    blocks: int
    mean_bp: float
    t: float
    p: float
    q: float

    def evidence(self) -> str:
        """Return it as words."""
        moves = f"{self.mean_bp:+.1f} bp after {self.bars} bars"
        return f"{moves}, t {self.t:.1f} over {self.blocks} blocks, q {self.q:.1g}"


@dataclass(frozen=True, slots=True)
class Learnt:
    """What was learnt: `members` are found, top first, the surest first in each cohort.

    `from_ms` and `to_ms` are the ends of the bars, `addresses` all that took in them, `tried`
    those with enough observations; `best` is the surest of all, found or not.
    """

    slot: SlotName
    horizon_bars: int
    from_ms: int
    to_ms: int
    bars: int
    addresses: int
    tried: int
    members: tuple[Member, ...]
    best: Member | None

    def lines(self) -> list[str]:
        """Return what a person reads."""
        span = f"{utc(self.from_ms)} to {utc(self.to_ms)}, {self.bars} bars"
        head = f"{self.slot}: {self.addresses} addresses, {self.tried} tried ({span})"
        if not self.members:
            return [head, self._nobody()]
        table = [f"{m.cohort:6} {m.address} {m.evidence()}" for m in self.members]
        counts = [sum(m.cohort == name for m in self.members) for name in _NAMES.values()]
        found = f"found {counts[0]} top and {counts[1]} bottom, of which about"
        share = f"{ranking.FALSE_SHARE:.1%} are expected to be false"
        return [head, *table, f"{found} {share}"]

    def _nobody(self) -> str:
        if self.best is None:
            need = f"in {FEWEST_BLOCKS + LEARNT_FROM} or more blocks of {self.horizon_bars} bars"
            return f"nobody is surely better than chance: no address took {need}; give more files"
        best = f"the surest is {self.best.address} ({self.best.evidence()})"
        return f"nobody is surely better than chance; {best}"

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"slot": str(self.slot)}


def learn(slot: SlotName, trades: TakenVolumes, horizon: int) -> Learnt:
    """Find the addresses that are surely better, or worse, than chance.

    Args:
        slot: The slot of the bars.
        trades: What addresses took in them.
        horizon: Bars after a trade that count.

    Raises:
        BadInput: If there are too few bars.
    """
    fewest = (FEWEST_BLOCKS + LEARNT_FROM) * horizon
    if len(trades.t) < fewest:
        have = f"{len(trades.t)} bars with trades are too few to learn cohorts from"
        raise BadInput(f"{slot}: {have}; {fewest} are needed")
    found = ranking.rank(trades.flows, trades.close, horizon, len(trades.addresses))
    surest = np.lexsort((-found.t, found.p))
    listed = [k for k in surest if found.found[k] and trades.addresses[k]]
    members = [_member(trades.addresses, found, k) for k in listed]
    best = _member(trades.addresses, found, surest[0]) if found.tried.any() else None
    return Learnt(
        slot=slot,
        horizon_bars=horizon,
        from_ms=int(trades.t[0]),
        to_ms=int(trades.t[-1]) + slot.interval_ms,
        bars=int(np.isfinite(trades.close).sum()),
        addresses=int((found.bars > 0).sum()),
        tried=int(found.tried.sum()),
        members=tuple(sorted(members, key=lambda member: member.cohort != _NAMES[1])),
        best=best,
    )


def horizon_of(config: Config, slot: SlotName) -> int:
    """Return the horizon of a slot in bars: as configured, else the interval's default.

    Raises:
        BadInput: If there is none.
    """
    configured = [section.horizon for section in config.slots if section.name == slot]
    if not configured and slot.interval not in LABEL_DEFAULTS:
        raise BadInput(f"{slot} has no horizon; give --horizon, in bars")
    return configured[0] if configured else LABEL_DEFAULTS[slot.interval][0]


def trades_of_archive(
    paths: Sequence[Path], slot: SlotName, on_bytes: Callable[[int], None] = lambda _: None
) -> TakenVolumes:
    """Read the trades of archive files; what is kept is a row for each address and bar.

    Args:
        paths: Files of one or several layouts, in any order.
        slot: The slot of the bars.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If a file is damaged or no such archive, or there is no whole bar of the coin.
    """
    volumes = TakerVolumes(slot.interval_ms)
    found = read_archive(paths, slot, on_bytes=on_bytes, on_taker=volumes.add)
    if not found.bars:
        raise BadInput(
            f"{paths[0]} gives no whole bar of {slot.coin}; give the files beside it too"
        )
    return gridded(volumes, slot, [bar.t for bar in found.bars], [bar.close for bar in found.bars])


def heard(store: Store, slot: SlotName, from_t: int = 0, to_t: int = _MAX_INT) -> TakenVolumes:
    """Read what the daemon kept of the trades it heard between two open times, ms UTC, inclusive.

    Raises:
        BadInput: If nothing was kept.
    """
    rows = taker_table.read(store.database, slot, from_t, to_t)
    if not len(rows.t):
        why = "no trades of it were kept; give archive files, or set [features] learn_cohorts"
        raise BadInput(f"{slot}: {why} = true")
    bars = store.bars(slot, int(rows.t[0]), int(rows.t[-1]))
    names = taker_table.addresses(store.database)
    t = np.arange(rows.t[0], rows.t[-1] + slot.interval_ms, slot.interval_ms)
    close = np.full(len(t), np.nan)
    close[(bars["t"] - t[0]) // slot.interval_ms] = bars["close"]
    bar = ((rows.t - t[0]) // slot.interval_ms).astype(np.int32)
    # Ids have gaps: an id without an address is nobody.
    count = int(rows.taker.max(initial=0)) + 1
    flows = TakerFlows(rows.taker, bar, rows.signed)
    return TakenVolumes([names.get(k, "") for k in range(count)], flows, t, close)


def before(taken: TakenVolumes, t: int) -> TakenVolumes:
    """Return only the bars that closed when the bar that opens at `t` (ms UTC) opens."""
    n_bars = int(np.searchsorted(taken.t, t))
    known = taken.flows.bar < n_bars
    flows = TakerFlows(*(column[known] for column in taken.flows))  # type: ignore[arg-type]
    return TakenVolumes(taken.addresses, flows, taken.t[:n_bars], taken.close[:n_bars])


def gridded(
    volumes: TakerVolumes, slot: SlotName, times: Sequence[int], closes: Sequence[float]
) -> TakenVolumes:
    """Return the trades on a grid of all bars between the first and the last.

    Args:
        volumes: What addresses took.
        slot: The slot of the bars.
        times: Open times of the bars that are there, ms UTC, ascending.
        closes: Their closes.
    """
    t = np.arange(times[0], times[-1] + slot.interval_ms, slot.interval_ms)
    close = np.full(len(t), np.nan)
    close[(np.asarray(times) - times[0]) // slot.interval_ms] = closes
    flows = volumes.flows(t)
    return TakenVolumes(volumes.addresses, flows, t, close)


def _member(addresses: Sequence[str], found: Ranking, k: int) -> Member:
    return Member(
        address=addresses[k],
        cohort=_NAMES.get(int(found.side[k]), ""),
        bars=int(found.bars[k]),
        blocks=int(found.blocks[k]),
        mean_bp=round(float(found.mean_bp[k]), 2),
        t=round(float(found.t[k]), 2),
        p=float(found.p[k]),
        q=float(found.q[k]),
    )
