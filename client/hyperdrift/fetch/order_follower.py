"""Carry out the swap orders of one slot, one after the other, and wait for what is not here yet.

The old model answers meanwhile. A version whose files are missing is not refused: it is asked
for again as long as its order stands.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from hyperdrift.clock import Clock
from hyperdrift.errors import VersionNotHere, VersionRefused
from hyperdrift.fetch.version_source import VersionSource
from hyperdrift.live_model import LiveModel
from hyperdrift.loaded_model import preload
from hyperdrift.logs import EventLogger
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.tasks import within
from hyperdrift.verification import needed_files

# The waits between two looks for files that are not here yet, in seconds; then the last one.
WAITS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)

# The order, why it was refused ("" if it was not), and how long it took in ms.
Answer = Callable[[SwapOrder, str, float], None]

log = EventLogger("hyperdrift.slot")


class OrderFollower:
    """Makes ordered versions live.

    Args:
        model: The live model.
        source: Gets the files of versions.
        clock: Measures how long a load takes.
        answer: Called when an order is carried out or refused.
        on_wait: Called when `waiting_for` has changed, while an order waits.

    Attributes:
        waiting_for: What the ordered version lacks here; empty if nothing.
        has_model: Set when there is a model.
    """

    def __init__(
        self,
        model: LiveModel,
        source: VersionSource,
        clock: Clock,
        *,
        answer: Answer,
        on_wait: Callable[[], None],
    ) -> None:
        self._model, self._source, self._clock = model, source, clock
        self._answer, self._on_wait = answer, on_wait
        self.waiting_for, self.has_model = "", asyncio.Event()
        # One place: when a newer order comes, the older one that waits is dropped.
        self._orders: asyncio.Queue[SwapOrder] = asyncio.Queue(maxsize=1)
        self._told = ""  # why the version in the folder was refused

    def put(self, order: SwapOrder) -> None:
        """Let an order wait for its turn, unless a newer one does."""
        waiting = self._orders.get_nowait() if self._orders.full() else order
        self._orders.put_nowait(max(order, waiting, key=lambda each: each.issued_ms))

    async def load_at_start(self) -> None:
        """Load what is in the folder, else in the cache."""
        for path in self._source.at_start:
            try:
                await asyncio.to_thread(self._model.take, path)
            except VersionNotHere:  # noqa: PERF203 - two folders at most
                continue
            except VersionRefused as e:
                self._note_refusal(e.model_id, e.reason)
            # Loading a version may raise any error; then the bot waits for an order.
            except Exception as e:  # noqa: BLE001
                self._note_refusal("", _named(e))
            else:
                self.has_model.set()
                return

    def _note_refusal(self, model_id: str, why: str) -> None:
        """Log why a version that nobody ordered was refused: once, as it is looked at again."""
        if why != self._told:
            log.warning("slot.refused", slot=str(self._model.slot), model_id=model_id, why=why)
        self._told = why

    async def run(self) -> None:
        """Carry out orders, until cancelled."""
        # The order is refused later, with this reason. A library that was built for another NumPy
        # raises ValueError.
        with contextlib.suppress(Exception):
            await asyncio.to_thread(preload, self._model.form)
        while True:
            await self._carry_out(await self._next())

    async def _next(self) -> SwapOrder:
        """Return the next order; look at the folder until then while there is no model."""
        while self._model.model_id is None and self._source.at_start:
            if (order := await self._within(WAITS_S[-1])) is not None:
                return order
            await self.load_at_start()
        return await self._orders.get()

    async def _within(self, seconds: float) -> SwapOrder | None:
        """Return an order that comes in this time, in seconds; None if none does."""
        with contextlib.suppress(TimeoutError):
            return await within(seconds, self._orders.get())
        return None

    async def _carry_out(self, order: SwapOrder) -> None:
        began, tries = self._clock.monotonic(), 0
        while True:
            error = ""
            try:
                await self._obey(order, tries)
            except (VersionNotHere, OSError, MemoryError) as e:
                self._wait(order, e.reason if isinstance(e, VersionNotHere) else _named(e))
                newer = await self._within(WAITS_S[min(tries, len(WAITS_S) - 1)])
                tries += 1
                if newer is not None and newer.issued_ms >= order.issued_ms:
                    tries = tries if newer.swap_id == order.swap_id else 0
                    order = newer
                continue
            except VersionRefused as e:
                error = e.reason
            # Loading a version may raise any error; then the live model stays.
            except Exception as e:  # noqa: BLE001
                error = _named(e)
            self.waiting_for = ""
            self._answer(order, error, (self._clock.monotonic() - began) * 1000)
            return

    def _wait(self, order: SwapOrder, why: str) -> None:
        if why == self.waiting_for:
            return
        self.waiting_for = why
        fields = {"slot": str(self._model.slot), "model_id": order.model_id}
        log.warning("slot.waiting", **fields, why=why, still_live=self._model.model_id)
        self._on_wait()

    async def _obey(self, order: SwapOrder, tries: int) -> None:
        """Make the ordered version live.

        Raises:
            VersionNotHere: If its files are not here yet.
            VersionRefused: If it may not go live; then the live model stays.
        """
        if self._model.is_replayed(order):
            raise VersionRefused(order.model_id, "the order is older than the last accepted one")
        if not self._model.is_of(order):
            manifest = await self._source.manifest(order, tries)
            form = await asyncio.to_thread(self._model.check, manifest, order)
            names = needed_files(manifest, form)
            contents = await self._source.contents(order, manifest, names, tries)
            await asyncio.to_thread(self._model.put, manifest, contents, form)
            self.has_model.set()
            await self._source.keep(manifest, contents)
        self._model.accepted = order


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
