"""`ModelSlot` for bots that are not asyncio: the same object, kept in a thread of its own."""

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType

from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.slot import ModelSlot, Prediction


class BlockingModelSlot:
    """A `ModelSlot` that any thread may use; swaps happen between two calls of `predict`.

    with BlockingModelSlot(ModelSlot("mqtt://127.0.0.1", "BTC-5m", bot_id="mine")) as slot:
        slot.predict(features)

    Args:
        slot: What does the work; not started.
        wait_s: Let `with` wait this long for the first model.
    """

    def __init__(self, slot: ModelSlot, wait_s: float = 0.0) -> None:
        self._slot, self._wait_s = slot, wait_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slot", daemon=True)

    def __enter__(self) -> "BlockingModelSlot":
        """Start."""
        try:
            self.start(self._wait_s)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def model_id(self) -> str | None:
        """The model that answers now; None before the first one."""
        return self._slot.model_id

    def start(self, wait_s: float = 0.0) -> None:
        """Start following the daemon's orders; once in the life of this object.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time.
        """
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._slot.start(wait_s), self._loop).result()

    def stop(self) -> None:
        """Say goodbye and end the thread; the model goes on answering."""
        asyncio.run_coroutine_threadsafe(self._slot.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def predict(self, features: Sequence[float]) -> Prediction:
        """Return what the live model says of one bar; see `ModelSlot.predict`.

        Raises:
            NoModel: Before the first model.
        """
        return self._slot.predict(features)

    def publish_prediction(
        self, t: int, prediction: Prediction, features: Sequence[float] | None = None
    ) -> None:
        """Tell the daemon what was predicted for the bar that opened at `t` (ms UTC)."""
        self._loop.call_soon_threadsafe(self._slot.publish_prediction, t, prediction, features)

    def publish_trade(self, trade: TradeReport) -> None:
        """Tell the daemon of a closed trade."""
        self._loop.call_soon_threadsafe(self._slot.publish_trade, trade)
