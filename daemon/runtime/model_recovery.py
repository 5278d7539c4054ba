"""Hold the engine against the files: at a start, and whenever somebody damaged them since."""

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
    """Puts back what is lost, and finishes what a crash cut short.

    Args:
        slot: Whose model.
        serving: The live model.
        store: Holds the journal.
        venue: Its clock dates what is noted.
        handle: Takes what happened.
        act: Carries out an order of the engine's.
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
        self._told = ""  # what of the live model was lost, as told already

    async def reconcile(self, was: EngineSnapshot, unfinished: actions.Action | None) -> None:
        """Hold a rebuilt engine against the files.

        Args:
            was: The engine.
            unfinished: Its last big order, which may not have been carried out.
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
        """Put back what somebody lost or damaged while the daemon runs: a bot may start now."""
        if await self._serving.is_whole():
            return
        live = await self._resume(was)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))

    async def note_move(self) -> None:
        """Write down in the journal where the pointer is now."""
        if (pointer := self._serving.pointer) is not None:
            await self._store.call(deployment_log.note, self._slot, pointer, self._venue.now_ms())

    async def _resume(self, was: EngineSnapshot) -> Manifest | None:
        """Serve what the files say is live; tell everybody if it had to be put back."""
        on_probation = was.probation_ends_ms is not None
        shadow_id = was.previous_id if on_probation else None
        moved = await self._store.call(deployment_log.newest, self._slot)
        after_ms = int(moved["deployed_ms"]) if moved else 0
        live = await self._serving.resume(shadow_id, was.model_id, after_ms)
        await self.note_move()
        if (why := self._serving.lost) and why != self._told:
            outcome = f"{live.model_id} was put live again" if live else self._serving.remedy
            text = f"the live model was lost or damaged ({why}); {outcome}"
            await self._act(actions.Alert(**self._serving.now(), severity="critical", text=text))
        self._told = why
        return live
