"""Replay the journals of a fleet in child processes, before its slots are rebuilt.

A first start, and one after an update of the monitor, replays weeks of every slot. That takes a
quarter of a second each, and one process uses one core. So children replay too, and their states
are kept as a running slot keeps its own: the rebuild finds them in the store. Whatever goes wrong
with a child, the slot replays its journal itself.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import structlog

import daemon
from daemon.core.errors import RetrainFailedError
from daemon.core.subprocesses import Limits, Surroundings
from daemon.core.warm_child import WarmChild
from daemon.runtime.checkpoints.engine_state import key_of
from daemon.runtime.recovery import JOURNAL_DAYS, new_engine
from daemon.store import engine_table
from daemon.store.async_store import AsyncStore
from daemon.store.database import StoreUnavailable
from daemon.store.engine_table import KeptEngine
from daemon.store.store import Store
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.policy import PolicySettings

log = structlog.get_logger()

FEWEST: Final = 8
"""Fewer slots are replayed sooner than a child has started."""
_MOST_CHILDREN: Final = 4
_LIMITS: Final = Limits(nice=0, timeout_s=120, memory_mib=1024)


class ReplaysAhead:
    """Replays the journals of the slots whose engines are not kept; ends its children at exit.

    Args:
        path: The file of the store.
        store: The same store; takes the states.
        settings: The limits of each slot.
        now_ms: The venue's time, ms UTC.
        cores: How many this process may use.
    """

    def __init__(
        self,
        path: Path,
        store: AsyncStore,
        settings: Mapping[SlotName, PolicySettings],
        now_ms: int,
        cores: int | None = None,
    ) -> None:
        self._path, self._store, self._settings = path, store, settings
        self._since_ms = now_ms - JOURNAL_DAYS * DAY_MS
        self._cores = len(os.sched_getaffinity(0)) if cores is None else cores
        self._turns = asyncio.Semaphore(min(self._cores, _MOST_CHILDREN))
        self._children: list[WarmChild] = []
        self._left: set[SlotName] = set()

    async def __aenter__(self) -> Self:
        """Look which slots are to be replayed."""
        if self._cores > 1 and len(self._settings) >= FEWEST:
            left = await self._store.call(_not_kept, self._settings)
            self._left = left if len(left) >= FEWEST else set()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the children."""
        for child in self._children:
            await child.end()

    async def replay(self, slot: SlotName, then: Callable[[], Awaitable[None]]) -> None:
        """Have the journal of a slot replayed and the state kept, if that is any use.

        Args:
            slot: The slot.
            then: Run afterwards, whatever became of it.
        """
        if slot in self._left:
            await self._replay(slot)
        await then()

    async def _replay(self, slot: SlotName) -> None:
        async with self._turns:
            if slot not in self._left:
                return
            child = self._children.pop() if self._children else self._child()
            try:
                asked = {"slot": str(slot), "settings": asdict(self._settings[slot])}
                answer = await child.run({**asked, "since_ms": self._since_ms}, lambda _: None)
                if "state" in answer:
                    await self._store.call(_keep, slot, answer)
            except (RetrainFailedError, StoreUnavailable, ValueError, TypeError, KeyError) as e:
                if self._left:
                    log.warning("start.replays_here", why=str(e))
                self._left = set()  # the next child would fare no better
            finally:
                self._children.append(child)

    def _child(self) -> WarmChild:
        path = str(Path(daemon.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        where = Surroundings(environment, self._path.parent)
        module = "daemon.runtime.checkpoints.replaying"
        return WarmChild(("-m", module, str(self._path.absolute())), _LIMITS, where)


def _not_kept(store: Store, settings: Mapping[SlotName, PolicySettings]) -> set[SlotName]:
    """Return the slots that have no state which this version can take up."""
    kept = {slot: engine_table.kept(store.database, slot) for slot in settings}
    return {
        slot
        for slot, found in kept.items()
        if found is None or found.key != key_of(new_engine(slot, settings[slot], 0))
    }


def _keep(store: Store, slot: SlotName, answer: dict[str, Any]) -> None:
    fields = {name: answer[name] for name in KeptEngine._fields}
    state = base64.b64decode(answer["state"], validate=True)
    engine_table.keep(store.database, slot, KeptEngine(**{**fields, "state": state}))
