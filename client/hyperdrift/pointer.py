"""The hot swap without MQTT: a slot that watches LATEST.json and nothing else.

For bots that may not or cannot speak to a broker. The same checks come before the same
single assignment; only nobody hears of it, so what was refused stands in the bot's log.

    with PointerSlot("/var/lib/hyperdrift/models", "BTC-5m") as slot:
        prediction = slot.predict(features)  # 17 numbers; from any thread, in any kind of bot
"""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hyperdrift.errors import NoModel, VersionRefused
from hyperdrift.folder_watch import FolderWatch
from hyperdrift.live_model import LiveModel, Prediction
from hyperdrift.loaded_model import preload
from hyperdrift.logs import EventLogger
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import LATEST

# How long a change may stay unseen where the system tells nobody: a folder that is made later,
# a network share.
POLL_S = 5.0
log = EventLogger("hyperdrift.slot")

_State = tuple[int, int, int]


class PointerSlot:
    """The live model of one slot, followed by watching its folder from a thread.

    Args:
        models_dir: The models folder as this bot sees it; it need not exist yet.
        slot: `BTC-5m`.
        public_key: The daemon's public key; given, whatever it did not sign is refused.
            Without it, whoever may write to the folder chooses what this process loads.
        computer: The daemon's `features.computer`, where that is this bot's own class.
        poll_s: Look at least this often, in seconds.
    """

    def __init__(
        self,
        models_dir: Path | str,
        slot: str,
        *,
        public_key: Path | None = None,
        computer: str = "builtin",
        poll_s: float = POLL_S,
    ) -> None:
        self.slot = SlotName.parse(slot)
        self._model = LiveModel(self.slot, public_key, computer)
        self._path = Path(models_dir).absolute() / str(self.slot) / LATEST
        self._poll_s = poll_s
        self._seen: _State | None = None
        self._refusal = ""
        self._changed, self._has_model = threading.Event(), threading.Event()
        self._stopping = False
        self._watch = FolderWatch(self._changed.set)
        self._thread = threading.Thread(target=self._follow, name="pointer-slot", daemon=True)

    def __enter__(self) -> "PointerSlot":
        """Load what is live and follow it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> "PointerSlot":
        """Do the same without holding up the event loop."""
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await asyncio.to_thread(self.stop)

    @property
    def model_id(self) -> str | None:
        """The model that answers now; None before the first one."""
        return self._model.model_id

    @property
    def refusal(self) -> str:
        """Why the newest LATEST.json was refused; empty when it was taken."""
        return self._refusal

    def start(self, wait_s: float = 0.0) -> None:
        """Load what is live and follow it until `stop`; once in the life of this object.

        Args:
            wait_s: Wait this long for the first model, in seconds.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time.
        """
        self._watch.start()
        self._look()
        self._thread.start()
        if wait_s > 0 and not self._has_model.wait(wait_s):
            raise NoModel(self.slot)

    def stop(self) -> None:
        """Stop watching; the model goes on answering."""
        self._stopping = True
        self._changed.set()
        self._thread.join()
        self._watch.stop()

    def predict(self, features: Sequence[float]) -> Prediction:
        """Return what the live model says of one bar; see `ModelSlot.predict`.

        Raises:
            NoModel: Before the first model.
        """
        return self._model.predict(features)

    def _follow(self) -> None:
        with contextlib.suppress(ImportError):  # a version that needs it is then refused with it
            preload()
        while not self._stopping:
            if self._changed.wait(self._poll_s):
                self._changed.clear()
                if self._refusal:
                    self._seen = None  # what was missing may have come
            self._look()

    def _look(self) -> None:
        """Take the version that the pointer names, if the pointer is another than before."""
        try:
            self._watch.follow(self._path.parent)
            found = self._path.stat()
        except OSError:
            return  # not there yet, or away: the model that answers goes on
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state == self._seen:
            return
        self._seen, why = state, ""
        before = self.model_id
        try:
            self._model.take(self._path)
        except VersionRefused as e:
            why = e.reason
        # A version may fail to load in any way at all; the old model goes on answering.
        except Exception as e:  # noqa: BLE001
            why = f"{type(e).__name__}: {e}"
        if why and why != self._refusal:
            log.warning("slot.refused", slot=str(self.slot), why=why, still_live=before)
        elif not why:
            log.info("slot.swapped", slot=str(self.slot), model_id=self.model_id)
            self._has_model.set()
        self._refusal = why
