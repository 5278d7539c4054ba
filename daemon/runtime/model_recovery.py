"""Compare the engine with the model files at a start, and restore files damaged later."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from daemon.core.clock import VenueClock
from daemon.registry import deployment_log
from daemon.runtime.serving import Serving
from daemon.store import journal_table
from daemon.store.async_store import AsyncStore
from daemon.store.journal_kinds import STOPPED_IN_RETRAIN
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
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

    async def resume(self, was: EngineSnapshot) -> Manifest | None:
        """Serve the version that the files name as live; alert if it had to be restored.

        Args:
            was: The state of the engine.
        """
        on_probation = was.probation_ends_ms is not None
        shadow_id = was.previous_id if on_probation else None
        moved = await self._store.call(deployment_log.newest, self._slot)
        after_ms = int(moved["deployed_ms"]) if moved else 0
        live = await self._serving.resume(shadow_id, was.model_id, after_ms)
        await self.note_move()
        if (why := self._serving.lost) and why != self._reported:
            outcome = f"{live.model_id} was put live again" if live else self._serving.remedy
            if live is not None and self._serving.left_by_hand:
                outcome += ", from which an operator had gone back: nothing else is whole"
            text = f"the live model was lost or damaged ({why}); {outcome}"
            await self._act(actions.Alert(**self._serving.now(), severity="critical", text=text))
        self._reported = why
        return live

    async def reconcile(
        self, was: EngineSnapshot, live: Manifest | None, unfinished: actions.Action | None
    ) -> None:
        """Make a rebuilt engine agree with the files, and end the retrain that it knows of.

        Args:
            was: The state of the engine.
            live: What `resume` returned.
            unfinished: The engine's last action that a crash may have interrupted, or None.
        """
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))
        elif (was.swap_to or was.challenge_id) and unfinished is not None:
            if isinstance(unfinished, actions.AskChallenger):  # its wait goes on
                unfinished = replace(unfinished, at_ms=self._venue.now_ms())
            await self._act(unfinished)
        if was.job_id is not None:  # last: what follows it is decided about the model of now
            await self._handle(await self._ended(was.job_id, begun=was.job_begun))

    async def end_replayed(self, was: EngineSnapshot, now: EngineSnapshot) -> None:
        """End the retrain or the challenger that a rebuilt engine ordered: nobody carried it out.

        With more bars than before, it may find in a bar of the past that there are enough.
        """
        at, why = self._serving.now(), "it was not begun: older bars came meanwhile"
        if now.job_id is not None and now.job_id != was.job_id:
            ended = events.RetrainFailed(**at, job_id=now.job_id, error=why, stopped=True)
            await self._handle(ended)
        if now.challenge_id is not None and now.challenge_id != was.challenge_id:
            asked = now.challenge_id
            await self._handle(events.ChallengerJudged(**at, job_id=asked, helps=None, detail=why))

    async def mend(self, was: EngineSnapshot) -> None:
        """Restore files that were lost or damaged since the start, for a bot that starts now."""
        if await self._serving.is_whole():
            self._reported = ""  # the next loss is another one
            return
        live = await self.resume(was)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))

    async def note_stop(self, job_id: str) -> None:
        """Record in the journal that the daemon is told to stop during a retrain."""
        entry, at_ms = {"job_id": job_id}, self._venue.now_ms()
        await self._store.call(Store.append_journal, self._slot, at_ms, STOPPED_IN_RETRAIN, entry)

    async def _ended(self, job_id: str, *, begun: bool) -> events.RetrainFailed:
        """Return the event for a retrain that the end of the last daemon ended.

        One that only waited for its turn did not fail, however that daemon ended.
        """
        noted = await self._store.call(_newest_stop, self._slot)
        stopped = noted is not None and _when(noted.body.get("job_id")) == _when(job_id)
        why = "the daemon was told to stop" if stopped else "the daemon was stopped meanwhile"
        return events.RetrainFailed(
            **self._serving.now(),
            job_id=job_id,
            error=why,
            stopped=stopped or not begun,
            cut_off=begun and not stopped,
        )

    async def note_move(self) -> None:
        """Record in the journal which version the pointer names now."""
        if (pointer := self._serving.pointer) is not None:
            await self._store.call(deployment_log.note, self._slot, pointer, self._venue.now_ms())


def _when(job_id: object) -> str:
    """Return whose job it is and when it was ordered; an older daemon counted on behind that."""
    return str(job_id).rpartition("-")[0]


def _newest_stop(store: Store, slot: SlotName) -> JournalEntry | None:
    return journal_table.newest(store.database, slot, STOPPED_IN_RETRAIN)
