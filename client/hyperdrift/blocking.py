"""`ModelSlot` for bots without asyncio: its event loop runs in a thread of its own."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Any

from hyperdrift.clock import as_ms
from hyperdrift.errors import BadInput, ConfigError, NoModel
from hyperdrift.feature_row import Features, feature_row
from hyperdrift.features import FEATURE_NAMES
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.mqtt.own_messages import readable
from hyperdrift.pointer import PointerSlot
from hyperdrift.process.forks import tell_of_forks
from hyperdrift.slot import ModelSlot, Prediction


class BlockingModelSlot:
    """A `ModelSlot` that any thread may use; swaps happen between two calls of `predict`.

    with BlockingModelSlot(ModelSlot("mqtt://127.0.0.1", "BTC-5m", bot_id="mine")) as slot:
        slot.predict(features)

    A forked process has none of its parent's threads. So its first call of `predict` starts a
    connection of its own there, as `mine-<process id>`; the model is at hand meanwhile.

    Args:
        slot: The slot that does the work; it is not started yet.
        wait_s: `with` waits this long for the first model, in seconds.
    """

    def __init__(self, slot: ModelSlot, wait_s: float = 0.0) -> None:
        self._slot, self._wait_s = slot, wait_s
        self._running, self._used, self._left_behind = False, False, False
        self._bot_id = ""  # in a forked process, where the parent has the name already
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._turn = threading.Lock()
        tell_of_forks(self)

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
        """Start following the daemon's orders, until `stop`. Started again, it only waits.

        Args:
            wait_s: Wait this long for the first model, in seconds.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time, or before `stop`.
        """
        with self._turn:
            if not self._running:
                self._begin()
            slot = self._slot
            # In the turn, so that a `stop` that comes now ends this wait too.
            waiting = asyncio.run_coroutine_threadsafe(slot.start(wait_s), self._loop)
        try:
            waiting.result()
        except CancelledError:  # another thread, or a handler of signals, has called stop
            if wait_s > 0 and self.model_id is None:
                raise NoModel(slot.slot) from None

    def stop(self) -> None:
        """Disconnect and end the thread; `predict` still works."""
        with self._turn:
            self._left_behind = False
            if not self._running:
                return
            self._running = False
            # Another thread may start the slot again meanwhile, in a loop of its own.
            slot, loop, thread = self._slot, self._loop, self._thread
        asyncio.run_coroutine_threadsafe(_end(slot), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def predict(self, features: Features) -> Prediction:
        """Return the live model's prediction for one bar; see `ModelSlot.predict`.

        Args:
            features: Shape (17,) or (1, 17), raw: by name where it has names, a dict, a Series
                or a frame, else in the order of `hyperdrift.features.FEATURE_NAMES`.

        Raises:
            NoModel: Before the first model.
            BadFeatures: If the model cannot use the features, for example a NaN.
        """
        if self._left_behind:
            self.start()
        return self._slot.predict(features)

    def publish_prediction(
        self, t: int, prediction: Prediction, features: Features | None = None
    ) -> None:
        """Tell the daemon what was predicted for the bar that opened at `t` (ms UTC).

        Raises:
            BadInput: If the slot is not started, `t` is no time in ms, or the features are not
                those of one bar.
        """
        row = feature_row(features, FEATURE_NAMES) if features is not None else None
        self._in_loop(self._slot.publish_prediction, as_ms(t), prediction, row)

    def publish_trade(self, trade: TradeReport) -> None:
        """Tell the daemon of a closed trade.

        Raises:
            BadInput: If the slot is not started, or the daemon cannot read the trade.
        """
        self._in_loop(self._slot.publish_trade, readable(trade))

    def _in_loop(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._left_behind:
            self.start()
        with self._turn:
            if not self._running:
                raise BadInput("the slot is not started, so nothing can be sent; call start()")
            self._loop.call_soon_threadsafe(work, *arguments)

    def note_fork(self) -> None:
        """Note in a forked process that its parent's thread does not run there."""
        self._turn = threading.Lock()
        # A process that daemonizes forks twice, and nobody predicts in the first child.
        self._left_behind, self._running = self._left_behind or self._running, False
        self._bot_id = self._slot.name_in(os.getpid())

    def _begin(self) -> None:
        """Start a thread with an event loop; a slot lives in one loop only."""
        if self._used or self._bot_id:
            self._slot = self._slot.renewed(self._bot_id)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slot", daemon=True)
        self._thread.start()
        self._running, self._used, self._left_behind = True, True, False


async def _end(slot: ModelSlot) -> None:
    """Stop a slot, and the calls of `start` that still wait for its first model."""
    await slot.stop()
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def open_slot(
    slot: str,
    *,
    broker_url: str = "",
    bot_id: str = "",
    password: str | None = None,
    password_file: str | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    models_dir: str | None = None,
    folder: str | None = None,
    cache_dir: str | None = None,
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
        password_file: The file with it.
        ca_file: CA certificates to trust for `mqtts://`.
        cert_file: Certificate of the bot, for a broker that asks for one.
        key_file: Key of `cert_file`, not encrypted.
        models_dir: The models folder; needed without a broker.
        folder: Instead of it, the slot's own folder as the bot sees it; only with a broker.
        cache_dir: A folder of the bot's own for what it fetched; only with a broker.
        public_key: The daemon's public key.
        form: `onnx` or `joblib`; empty for what is installed.

    Raises:
        ConfigError: If there is neither a broker with a `bot_id` nor a folder, or one of them
            cannot be used.
        BadInput: If `slot` is not well-formed.
    """
    opened: BlockingModelSlot | PointerSlot
    if broker_url and bot_id:
        inner = ModelSlot(
            broker_url,
            slot,
            bot_id=bot_id,
            password=password,
            password_file=Path(password_file) if password_file else None,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            public_key=public_key,
            models_dir=models_dir,
            folder=folder,
            cache_dir=cache_dir,
            form=form,
        )
        opened = BlockingModelSlot(inner)
    elif models_dir and not broker_url:
        opened = PointerSlot(models_dir, slot, public_key=public_key, form=form)
    else:
        raise ConfigError("a slot needs broker_url and bot_id, or models_dir without a broker")
    opened.start()
    return opened
