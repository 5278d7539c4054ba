"""Compare the engine with the model files at a start, and restore files damaged later."""

from collections.abc import Awaitable, Callable

from daemon.core.clock import VenueClock
from daemon.registry import deployment_log
from daemon.runtime.serving import Serving
from daemon.store.async_store import AsyncStore
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from monitor.state import EngineSnapshot


class ModelRecovery:
    """Restores a lost live version, and finishes an action that a crash interrupted.

    Args:
        slot: The slot of the model.
        serving: The live model.
        store: Holds the journal.
        venue: Gives the time of journal entries.
        handle: Hands an event to the engine.
        act: Carries out an action of the engine.
    """

    def __init__(
        self,
        slot: SlotName,
        serving: Serving,
        store: AsyncStore,
        venue: VenueClock,
        *,
        handle: Callable[[events.Event], Awaitable[None]],
        act: Callable[[actions.Action], Awaitable[None]],
    ) -> None:
        self._slot, self._serving, self._store, self._venue = slot, serving, store, venue
        self._handle, self._act = handle, act
        self._reported = ""  # the loss of the live model that was reported last

    async def reconcile(self, was: EngineSnapshot, unfinished: actions.Action | None) -> None:
        """Compare a rebuilt engine with the files, and make both agree.

        Args:
            was: The state of the engine.
            unfinished: Its last action that a crash may have interrupted, None without one.
        """
        live = await self._resume(was)
        if was.job_id is not None:
            why = "the daemon was stopped meanwhile"
            job = events.RetrainFailed(**self._serving.now(), job_id=was.job_id, error=why)
            await self._handle(job)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))
        elif (was.swap_to or was.challenge_id) and unfinished is not None:
            await self._act(unfinished)

    async def mend(self, was: EngineSnapshot) -> None:
        """Restore files that were lost or damaged since the start, for a bot that starts now."""
        if await self._serving.is_whole():
            return
        live = await self._resume(was)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))

    async def note_move(self) -> None:
        """Record in the journal which version the pointer names now."""
        if (pointer := self._serving.pointer) is not None:
            await self._store.call(deployment_log.note, self._slot, pointer, self._venue.now_ms())

    async def _resume(self, was: EngineSnapshot) -> Manifest | None:
        """Serve the version that the files name as live; alert if it had to be restored."""
        on_probation = was.probation_ends_ms is not None
        shadow_id = was.previous_id if on_probation else None
        moved = await self._store.call(deployment_log.newest, self._slot)
        after_ms = int(moved["deployed_ms"]) if moved else 0
        live = await self._serving.resume(shadow_id, was.model_id, after_ms)
        await self.note_move()
        if (why := self._serving.lost) and why != self._reported:
            outcome = f"{live.model_id} was put live again" if live else self._serving.remedy
            text = f"the live model was lost or damaged ({why}); {outcome}"
            await self._act(actions.Alert(**self._serving.now(), severity="critical", text=text))
        self._reported = why
        return live
