"""What the daemon's slots say of themselves, for pages without a history."""

from collections.abc import Callable, Collection, Mapping

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import DaemonStatus, SlotState
from daemon.web.views import (
    FeedView,
    JournalView,
    Overview,
    SlotSummary,
    SlotView,
    Urgency,
    VersionView,
    WinShare,
)
from hyperdrift.slot_name import SlotName

States = Callable[[], Mapping[SlotName, SlotState]]


class BareData:
    """The states of the slots, and nothing of the store.

    Args:
        online: The first status of the daemon.
        states: Returns the state of each slot.
        venue: Gives the time.
        doing: Returns how far the start is; empty once it is over.
        is_broker_there: Returns whether the broker is there.
    """

    def __init__(
        self,
        online: DaemonStatus,
        states: States,
        venue: VenueClock,
        *,
        doing: Callable[[], str],
        is_broker_there: Callable[[], bool],
    ) -> None:
        self._online, self._states, self._venue = online, states, venue
        self._doing, self._is_broker_there = doing, is_broker_there

    async def overview(self) -> Overview:
        """Return the first page."""
        slots = tuple(_summary(slot, state) for slot, state in self._states().items())
        doing = self._doing()
        return Overview(
            now_ms=self._venue.now_ms(),
            version=self._online.version,
            since_ms=self._online.since_ms,
            doing=doing,
            urgency="busy" if doing else "ok",
            headline=doing or "It runs.",
            needs="",
            venue=None,
            broker_connected=self._is_broker_there(),
            slots=slots,
        )

    async def slot(self, name: SlotName) -> SlotView:
        """Return the page of a slot of this daemon."""
        summary = _summary(name, self._states()[name])
        return SlotView(
            summary=summary,
            equity=(),
            drift=(),
            timeline=(),
            retrain=summary.state.retrain,
            next_retrain=summary.state.waiting_for,
            why_live="",
            versions=(),
            bots=summary.state.bots,
            bars=(),
            feed=None,
            journal=(),
        )

    async def version(self, name: SlotName, model_id: str) -> VersionView | None:
        """Return None: versions are not read."""
        none: VersionView | None = None
        del name, model_id
        return none

    async def journal(
        self,
        name: SlotName | None = None,
        kinds: Collection[str] = (),
        since_ms: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> JournalView:
        """Return no entries."""
        del name, kinds, since_ms, before, limit
        return JournalView(lines=(), kinds=(), slots=tuple(map(str, self._states())))

    async def feed(self) -> FeedView:
        """Return no counts."""
        return FeedView(now_ms=self._venue.now_ms(), venue=None, slots=())


def _summary(slot: SlotName, state: SlotState) -> SlotSummary:
    urgency: Urgency = "act" if state.trouble else "ok"
    return SlotSummary(
        slot=str(slot),
        urgency=urgency,
        headline=f"{state.phase}: {state.waiting_for}",
        needs=state.trouble,
        earning="",
        win_rate=WinShare(
            value=state.win_rate, low=None, high=None, count=state.trades, of="trades"
        ),
        top_drift=None,
        equity=(),
        state=state,
    )
