"""The slot of a bot: it predicts with the live model and follows the daemon's swap orders.

A bot must never be without a model, and must never use one that was not checked. So a thread
checks and loads the new version while the old model answers. Then one assignment swaps the
model. If the version is refused, the old model stays. If its files are not here yet, the bot
asks for them again as long as the order stands, and refuses nothing.

    slot = ModelSlot("mqtt://127.0.0.1:1883", "BTC-5m", bot_id="my-bot")
    await slot.start()
    prediction = slot.predict(features)      # 17 numbers, in the order of the manifest
    await slot.stop()
"""

import asyncio
import contextlib
import os
import platform
from copy import copy
from pathlib import Path
from typing import Final

from hyperdrift.clock import Clock, SystemClock, as_ms
from hyperdrift.errors import BadInput, NoModel
from hyperdrift.feature_row import Features, feature_row
from hyperdrift.features import FEATURE_NAMES
from hyperdrift.fetch.fetcher import Fetcher
from hyperdrift.fetch.order_follower import OrderFollower
from hyperdrift.fetch.version_source import Folders, VersionSource
from hyperdrift.live_model import LiveModel, Prediction
from hyperdrift.loaded_model import installed_forms, installed_version
from hyperdrift.logs import EventLogger
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection, Will
from hyperdrift.mqtt.login import login as make_login
from hyperdrift.mqtt.messages import (
    BotPresence,
    PredictionMade,
    SwapAck,
    SwapOrder,
    TradeReport,
    decode,
)
from hyperdrift.mqtt.own_messages import readable
from hyperdrift.mqtt.topics import Topics
from hyperdrift.process.forks import tell_of_forks
from hyperdrift.slot_name import SlotName
from hyperdrift.tasks import within
from hyperdrift.version_files import as_path

__all__ = ["ModelSlot", "NoModel", "Prediction"]

# How long stop() waits until the last messages are sent; without a broker they are lost.
GOODBYE_S = 2.0
# How often the bot says that it lives. A broker that was killed may forget its last will.
HEARTBEAT_S: Final = 30.0
LONGEST_ID, LONGEST_WHY = 200, 1000  # characters

log = EventLogger("hyperdrift.slot")


class ModelSlot:
    """The live model of one slot, swapped on the daemon's swap orders.

    Orders are handled one after the other; of those that wait, only the newest counts. An
    order for the model that is live already is acknowledged at once. An order that was issued
    before the last accepted one is refused. It can only be a replay: a rollback, too, sends a
    new order.

    Files come from the slot's folder if their digests fit, else from the daemon, over the broker.

    Args:
        broker_url: `mqtt://user@host:1883` or `mqtts://host`.
        slot: The slot, for example `BTC-5m`.
        bot_id: Names this bot to the daemon; each bot of a slot needs a name of its own.
        prefix: First level of all topics.
        password: Password of the user in `broker_url`.
        password_file: The file with it, read at each connect; the user is `bot` if `broker_url`
            names none. Without a user and a password, a bot on the daemon's host takes the file
            that the daemon made there, if it may read it.
        ca_file: CA certificates to trust for `mqtts://`; None trusts those of the system.
        cert_file: Certificate of this bot, for a broker that asks for one.
        key_file: Key of `cert_file`, not encrypted; None if it stands there, too.
        public_key: The daemon's public key. If it is given, everything that the daemon did
            not sign is refused. Without it, anybody who can publish on the broker chooses
            what this process loads.
        models_dir: The models folder as this bot sees it, at the start also without a broker.
            Without it the path in the swap order is looked for on this host.
        folder: Instead of `models_dir`, the slot's own folder as this bot sees it.
        cache_dir: A folder of this bot's own for the newest version that was fetched, so that
            it starts without daemon and broker.
        computer: The daemon's `features.computer`, if that is this bot's own class.
        form: What is loaded of a version: `onnx`, which needs onnxruntime, or `joblib`, which
            needs joblib, threadpoolctl and the scikit-learn that wrote it. Empty for `onnx`
            where the version has it and onnxruntime is installed.
        clock: Source of time; None takes the system's.

    Raises:
        BadInput: If the slot, the prefix or the bot's id is not well-formed.
        ConfigError: If the broker's address, `ca_file`, `public_key` or `form` cannot be used,
            or both `models_dir` and `folder` are given.
    """

    def __init__(
        self,
        broker_url: str,
        slot: str,
        *,
        bot_id: str,
        prefix: str = "hyperdrift",
        password: str | None = None,
        password_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        cert_file: Path | str | None = None,
        key_file: Path | str | None = None,
        public_key: Path | str | None = None,
        models_dir: Path | str | None = None,
        folder: Path | str | None = None,
        cache_dir: Path | str | None = None,
        computer: str = "builtin",
        form: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.slot = SlotName.parse(slot)
        if not 0 < len(bot_id) <= LONGEST_ID:
            raise BadInput(f"bot_id must have 1 to {LONGEST_ID} characters, for example my-bot")
        self._clock, self._topics = clock or SystemClock(), Topics(prefix)
        self._model = LiveModel(self.slot, as_path(public_key), computer, form)
        self._folders = Folders.of(
            self.slot, models_dir=models_dir, folder=folder, cache_dir=cache_dir
        )
        self._sklearn = installed_version("scikit-learn")
        tls = map(as_path, (ca_file, cert_file, key_file))
        self._address = BrokerAddress.parse(broker_url, *tls)
        self._login = make_login(self._address, password, as_path(password_file))
        self._accepted: SwapOrder | None = None
        self._connect_as(bot_id)

    def _connect_as(self, bot_id: str) -> None:
        """Make the connection, and all else that belongs to one event loop."""
        self._bot_id, self._presence_topic = bot_id, self._topics.bot(self.slot, bot_id)
        self._bus = MqttConnection(
            self._address,
            self._clock,
            name=f"bot-{bot_id}",
            login=self._login,
            will=Will(self._presence_topic, self._presence(online=False)),
        )
        self._bus.subscribe(self._topics.model(self.slot), self._take_order)
        fetcher = Fetcher(self._bus, self._topics, self.slot, bot_id)
        self._orders = OrderFollower(
            self._model,
            VersionSource(fetcher, self._folders),
            self._clock,
            answer=self._acknowledge,
            on_wait=self._announce,
        )
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._started, self._left_behind = False, False
        tell_of_forks(self)

    @property
    def model_id(self) -> str | None:
        """The model that answers now; None before the first one."""
        return self._model.model_id

    @property
    def connected(self) -> bool:
        """Whether the broker is connected. Predictions do not need it."""
        return self._bus.connected

    async def start(self, wait_s: float = 0.0) -> None:
        """Load the live version, connect, and follow the daemon's swap orders until `stop`.

        It works without daemon and broker, and connects when the broker comes. Started again,
        it only waits.

        Args:
            wait_s: Wait this long for the first model, in seconds.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time.
        """
        if not self._started:
            self._started = True
            try:
                await self._begin()
            except BaseException:  # cancelled, mostly: the next call begins anew
                self._started = False
                raise
        if wait_s > 0 and self.model_id is None:
            try:
                await within(wait_s, self._orders.has_model.wait())
            except TimeoutError:
                raise NoModel(self.slot) from None

    async def _begin(self) -> None:
        await self._orders.load_at_start()
        if not self._started:
            return  # stopped meanwhile
        self._announce()
        self._tasks = (
            asyncio.create_task(self._bus.run(), name="slot-bus"),
            asyncio.create_task(self._orders.run(), name="slot-orders"),
            asyncio.create_task(self._beat(), name="slot-heartbeat"),
        )
        for task in self._tasks:
            task.add_done_callback(_note_end)

    async def stop(self) -> None:
        """Send the last messages and disconnect; `predict` still works."""
        with contextlib.suppress(TimeoutError):
            await within(GOODBYE_S if self._bus.connected else 0, self._bus.flush())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._started = (), False

    def predict(self, features: Features) -> Prediction:
        """Return the live model's prediction for one bar.

        The portable form takes about 0.2 ms, the joblib form about ten.
        One model answers the whole call; a swap takes effect between two calls.

        Args:
            features: Shape (17,) or (1, 17), raw: by name where it has names, a dict, a Series
                or a frame, else in the order of `hyperdrift.features.FEATURE_NAMES`.

        Raises:
            NoModel: Before the first model.
            BadFeatures: If the model cannot use the features, for example a NaN.
        """
        if self._left_behind:
            self._say_that_it_stays()
        return self._model.predict(features)

    def publish_prediction(
        self, t: int, prediction: Prediction, features: Features | None = None
    ) -> None:
        """Tell the daemon what was predicted for the bar that opened at `t` (ms UTC).

        With `features`, the daemon compares them with its own and warns of a difference.

        Raises:
            BadInput: If `t` is no time in ms, or the features are not those of one bar.
        """
        p = (prediction.p_down, prediction.p_neutral, prediction.p_up)
        row = tuple(feature_row(features, FEATURE_NAMES)) if features is not None else None
        message = PredictionMade(
            t=as_ms(t), model_id=prediction.model_id, p=p, features=row, bot_id=self._bot_id
        )
        self._bus.publish(self._topics.prediction(self.slot), message)

    def publish_trade(self, trade: TradeReport) -> None:
        """Tell the daemon of a closed trade, so that it knows the real win rate.

        Call it once for each position, when it is flat, with the profit of all its parts.

        Raises:
            BadInput: If the daemon cannot read it, for example a price that is a text.
        """
        self._bus.publish(self._topics.trade(self.slot), readable(trade))

    def renewed(self, bot_id: str = "") -> "ModelSlot":
        """Return a slot that answers with the same model and is not started yet.

        It has a connection of its own, for another event loop or a forked process.

        Args:
            bot_id: Its name on the broker; empty for the same one.
        """
        other = copy(self)
        other._connect_as(bot_id or self._bot_id)  # noqa: SLF001 - its own class
        return other

    def name_in(self, pid: int) -> str:
        """Return the name that this bot has in a forked process."""
        return f"{self._bot_id}-{pid}"

    def note_fork(self) -> None:
        """Note in a forked process that nothing follows the orders there."""
        self._left_behind = self._left_behind or self._started
        self._started, self._tasks = False, ()

    def _say_that_it_stays(self) -> None:
        """Tell once that a forked process answers with the model that it was forked with."""
        self._left_behind = False
        remedy = "start a BlockingModelSlot before the fork, or a ModelSlot in this process"
        log.warning("slot.not_followed", slot=str(self.slot), pid=os.getpid(), do=remedy)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            self._announce()

    def _take_order(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        if not payload:
            return  # the daemon follows this slot no longer; the live model stays
        try:
            order = decode(payload, SwapOrder)
        except BadInput as e:
            log.warning("slot.malformed_order", topic=topic, why=str(e))
            return
        verifier = self._model.verifier
        if verifier is not None and not verifier.verify_payload(payload):
            self._acknowledge(order, "the order is not signed with the daemon's key", 0.0)
            return
        self._orders.put(order)

    def _acknowledge(self, order: SwapOrder, error: str, load_ms: float) -> None:
        ack = SwapAck(
            swap_id=order.swap_id,
            model_id=order.model_id,
            status="refused" if error else "loaded",
            error=error,
            load_ms=round(load_ms, 3),
            bot_id=self._bot_id,
        )
        self._bus.publish(self._topics.ack(self.slot), ack)
        fields = {"slot": str(self.slot), "model_id": order.model_id, "reason": order.reason}
        if error:
            log.warning("slot.refused", **fields, why=error, still_live=self.model_id)
        else:
            log.info("slot.swapped", **fields, load_ms=round(load_ms, 1))
        self._announce()  # also what it waits for no longer

    def _announce(self) -> None:
        self._bus.publish(self._presence_topic, self._presence(online=True), retain=True)

    def _presence(self, *, online: bool) -> BotPresence:
        return BotPresence(
            online=online,
            bot_id=self._bot_id,
            model_id=self.model_id or "",
            python=platform.python_version(),
            sklearn=self._sklearn,
            forms=(self._model.form,) if self._model.form else installed_forms(),
            waiting_for=self._orders.waiting_for[:LONGEST_WHY] if online else "",
            heartbeat_s=HEARTBEAT_S if online else 0.0,
        )


def _note_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.failure("slot.stopped_following", error, task=task.get_name())
