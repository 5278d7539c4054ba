"""`ModelSlot` for bots without asyncio: its event loop runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.pointer import PointerSlot
from hyperdrift.slot import ModelSlot, Prediction


class BlockingModelSlot:
    """A `ModelSlot` that any thread may use; swaps happen between two calls of `predict`.

    with BlockingModelSlot(ModelSlot("mqtt://127.0.0.1", "BTC-5m", bot_id="mine")) as slot:
        slot.predict(features)

    Args:
        slot: The slot that does the work; it is not started yet.
        wait_s: `with` waits this long for the first model, in seconds.
    """

    def __init__(self, slot: ModelSlot, wait_s: float = 0.0) -> None:
        self._slot, self._wait_s = slot, wait_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slot", daemon=True)

    def __enter__(self) -> "BlockingModelSlot":
        """Start, and wait `wait_s` for the first model."""
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
        """Start following the daemon's orders; call it once per object.

        Args:
            wait_s: Wait this long for the first model, in seconds.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time.
        """
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._slot.start(wait_s), self._loop).result()

    def stop(self) -> None:
        """Disconnect and end the thread; `predict` still works."""
        asyncio.run_coroutine_threadsafe(self._slot.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def predict(self, features: Sequence[float]) -> Prediction:
        """Return the live model's prediction for one bar; see `ModelSlot.predict`.

        Args:
            features: Shape (17,), raw, in the order of `hyperdrift.features.FEATURE_NAMES`.

        Raises:
            NoModel: Before the first model.
            ValueError: If the model cannot use the features, for example a NaN.
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


def open_slot(
    slot: str,
    *,
    broker_url: str = "",
    bot_id: str = "",
    password: str | None = None,
    ca_file: str | None = None,
    models_dir: str | None = None,
    public_key: str | None = None,
    form: str = "",
) -> BlockingModelSlot | PointerSlot:
    """Start a slot for any thread, by the words of a bot's configuration.

    It is a `BlockingModelSlot` if there is a broker, else a `PointerSlot`; their pages say what
    each word means. It stops with the process.

    Args:
        slot: The slot, for example `BTC-5m`.
        broker_url: The daemon's broker; empty to watch the folder only.
        bot_id: The bot's name on the broker.
        password: Password of the user in `broker_url`.
        ca_file: CA certificates to trust for `mqtts://`.
        models_dir: The models folder; needed without a broker.
        public_key: The daemon's public key.
        form: `onnx` or `joblib`; empty for what is installed.

    Raises:
        ConfigError: If there is neither a broker with a `bot_id` nor a folder, or one of them
            cannot be used.
        BadInput: If `slot` is not well-formed.
    """
    key, folder = (Path(each) if each else None for each in (public_key, models_dir))
    opened: BlockingModelSlot | PointerSlot
    if broker_url and bot_id:
        inner = ModelSlot(
            broker_url,
            slot,
            bot_id=bot_id,
            password=password,
            ca_file=Path(ca_file) if ca_file else None,
            public_key=key,
            models_dir=folder,
            form=form,
        )
        opened = BlockingModelSlot(inner)
    elif folder is not None:
        opened = PointerSlot(folder, slot, public_key=key, form=form)
    else:
        raise ConfigError("a slot needs broker_url and bot_id, or models_dir")
    opened.start()
    return opened
