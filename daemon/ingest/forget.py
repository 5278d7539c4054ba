"""Take imports back, and fetch again what the venue still serves in their place."""

from dataclasses import asdict, dataclass
from typing import Any

from daemon.config.schema import Config
from daemon.core.bars import REACH_BARS
from daemon.core.errors import Unreachable
from daemon.core.times import moment
from daemon.ingest.backfill_command import backfill
from daemon.store.async_store import AsyncStore
from daemon.store.imported.sources import BARS, FUNDING, Scope
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.slot_name import DAY_MS, SlotName


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What was forgotten, and whether the venue's reach was fetched again.

    Attributes:
        slot: The slot.
        kind: `bars` or `funding`.
        sources: The imports that lost rows.
        rows: Rows that are gone.
        in_force: How many of them were in force.
        fills: Filled bars that went too, because their price came from a forgotten bar.
        fetched: Bars or rates that the venue gave in their place; None if it was not reached.
        unreached: Why it was not.
    """

    slot: str
    kind: str
    sources: tuple[str, ...]
    rows: int
    in_force: int
    fills: int
    fetched: int | None = None
    unreached: str = ""

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the report as a line."""
        what = "rates" if self.kind != BARS else "bars"
        named = ", ".join(self.sources) or "no import"
        text = (
            f"{self.slot}: {self.rows} {what} of {named} forgotten, {self.in_force} were in force"
        )
        text += f"; {self.fills} filled bars beside them went too" if self.fills else ""
        if self.fetched is not None:
            return f"{text}; the venue's reach was fetched again, {self.fetched} {what} added"
        why = self.unreached
        return f"{text}; the next start of the daemon fetches what the venue still serves ({why})"


async def forget(
    config: Config,
    scope: Scope,
    slot: SlotName,
    store: AsyncStore,
    clock: Clock,
    *,
    source: str | None,
    span: tuple[int, int],
) -> ForgetReport:
    """Forget imports, and fetch the venue's reach again if the venue answers.

    Args:
        config: The settings, with the venue's address.
        scope: Whose imports.
        slot: The slot whose bars and funding are fetched.
        store: Has the imports.
        clock: Real time.
        source: Only this import's rows; None is every import's.
        span: Only rows between these times, ms UTC, both inclusive.

    Raises:
        BadInput: If there is no such import.
        StoreUnavailable: If the store cannot be written.
    """
    gone = await store.call(lambda s: s.imports.forget(scope, source, *span))
    fills = await store.call(lambda s: s.imports.forget_fills(slot, gone.ends))
    fetched, why = None, ""
    try:
        days = REACH_BARS * slot.interval_ms / DAY_MS
        filled = await backfill(config, slot, store, clock, days=days)
        fetched = filled.added if scope.kind == BARS else filled.funding
    # Without such a coin, or with a store of another venue, there is nothing to fetch.
    except (Unreachable, BadInput, ConfigError) as e:
        why = str(e)
    return ForgetReport(
        slot=str(slot) if scope.kind == BARS else f"{slot.coin} funding",
        kind=scope.kind,
        sources=gone.names,
        rows=gone.rows,
        in_force=gone.in_force,
        fills=fills,
        fetched=fetched,
        unreached=why,
    )


def span_of(kind: str, source: str, first: str, last: str) -> tuple[int, int]:
    """Return the times that the options of the command name, ms UTC, both inclusive.

    Args:
        kind: Its `--kind`.
        source: Its `--source`.
        first: Its `--from`.
        last: Its `--to`.

    Raises:
        BadInput: If they name nothing to forget, or cannot be understood.
    """
    if kind not in {BARS, FUNDING}:
        raise BadInput(f"--kind {kind!r} is not bars or funding")
    if not source and not first and not last:
        raise BadInput("name what to forget: --source NAME, or --from and --to")
    from_t = moment(first, "--from") if first else -(2**62)
    return from_t, moment(last, "--to", is_end=True) if last else 2**62
