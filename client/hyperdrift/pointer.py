"""Swap models without MQTT: a slot that only watches LATEST.json.

It is for bots that cannot use a broker. It makes the same checks and swaps in one assignment,
as `ModelSlot` does. But it sends no acknowledgement: only the bot's log shows a refusal.

    with PointerSlot("/var/lib/hyperdrift/models", "BTC-5m") as slot:
        prediction = slot.predict(features)  # 17 numbers; from any thread, in any kind of bot
"""

import asyncio
import contextlib
import threading
from pathlib import Path
from types import TracebackType

from hyperdrift.errors import NoModel, VersionNotHere, VersionRefused
from hyperdrift.feature_row import Features
from hyperdrift.live_model import LiveModel, Prediction
from hyperdrift.loaded_model import preload
from hyperdrift.logs import EventLogger
from hyperdrift.process.folder_watch import FolderWatch
from hyperdrift.process.forks import tell_of_forks
from hyperdrift.process.home import expanded
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import LATEST, as_path

# How long a change may stay unseen where the system reports none: a folder that is made
# later, or a network share.
POLL_S = 5.0
log = EventLogger("hyperdrift.slot")

_State = tuple[int, int, int]


class PointerSlot:
    """The live model of one slot; a thread watches its folder and swaps it.

    In a forked process the first call of `predict` starts a thread of its own.

    Args:
        models_dir: The models folder as this bot sees it; it need not exist yet.
        slot: The slot, for example `BTC-5m`.
        public_key: The daemon's public key. If it is given, a version that the daemon did
            not sign is refused. Without it, anybody who can write to the folder chooses what
            this process loads.
        computer: The daemon's `features.computer`, if that is this bot's own class.
        form: What is loaded of a version, `onnx` or `joblib`; see `ModelSlot`.
        poll_s: Longest time between two looks at the pointer, in seconds.
    """

    def __init__(
        self,
        models_dir: Path | str,
        slot: str,
        *,
        public_key: Path | str | None = None,
        computer: str = "builtin",
        form: str = "",
        poll_s: float = POLL_S,
    ) -> None:
        self.slot = SlotName.parse(slot)
        self._model = LiveModel(self.slot, as_path(public_key), computer, form)
        self._path = expanded(models_dir).absolute() / str(self.slot) / LATEST
        self._poll_s = poll_s
        self._seen: _State | None = None
        self._refusal = ""
        self._running, self._left_behind = False, False
        self._renew()
        tell_of_forks(self)

    def __enter__(self) -> "PointerSlot":
        """Load the live version and follow the pointer."""
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
        """Start as `with` does, without blocking the event loop."""
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
        """Why the newest LATEST.json was refused; empty when it was accepted."""
        return self._refusal

    def start(self, wait_s: float = 0.0) -> None:
        """Load the live version and follow the pointer until `stop`. Started again, it waits only.

        Args:
            wait_s: Wait this long for the first model, in seconds.

        Raises:
            NoModel: If `wait_s` is positive and no model came in that time.
        """
        with self._turn:
            if not self._running:
                self._begin()
        if wait_s > 0 and not self._has_model.wait(wait_s):
            raise NoModel(self.slot)

    def stop(self) -> None:
        """Stop watching the pointer; `predict` still works."""
        with self._turn:
            self._left_behind = False
            if not self._running:
                return
            self._running = False
        self._stopping.set()
        self._changed.set()
        self._thread.join()
        self._watch.stop()

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
        return self._model.predict(features)

    def note_fork(self) -> None:
        """Note in a forked process that its parent's threads do not run there."""
        # A process that daemonizes forks twice, and nobody predicts in the first child.
        self._left_behind, self._running = self._left_behind or self._running, False
        self._renew()

    def _renew(self) -> None:
        self._turn, self._stopping = threading.Lock(), threading.Event()
        self._changed, self._has_model = threading.Event(), threading.Event()

    def _begin(self) -> None:
        self._stopping.clear()
        self._watch = FolderWatch(self._changed.set)
        self._watch.start()
        if self.model_id is not None:
            self._has_model.set()
        self._look()
        self._thread = threading.Thread(target=self._follow, name="pointer-slot", daemon=True)
        self._thread.start()
        self._running, self._left_behind = True, False

    def _follow(self) -> None:
        # The version is refused later, with this reason. A library that was built for another
        # NumPy raises ValueError.
        with contextlib.suppress(Exception):
            preload(self._model.form)
        while not self._stopping.is_set():
            if self._changed.wait(self._poll_s):
                self._changed.clear()
                if self._refusal:
                    self._seen = None  # a file that was changed may be the right one now
            self._look()

    def _look(self) -> None:
        """Take the version that the pointer names, if the pointer has changed."""
        try:
            self._watch.follow(self._path.parent)
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return  # there is no pointer: the live model stays
        except OSError as e:
            self._note(None, f"{self._path}: {e.strerror}; let this user read the folder")
            return
        state: _State | None = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state == self._seen:
            return
        why = ""
        try:
            self._model.take(self._path)
        except VersionNotHere as e:
            why, state = e.reason, None  # a folder may lag: look again at the next turn
        except VersionRefused as e:
            why = e.reason
        # Loading a version may raise any error; then the live model stays.
        except Exception as e:  # noqa: BLE001
            why = f"{type(e).__name__}: {e}"
        if not why:
            log.info("slot.swapped", slot=str(self.slot), model_id=self.model_id)
            self._has_model.set()
        self._note(state, why)

    def _note(self, state: _State | None, why: str) -> None:
        """Note what was seen, and why it was refused; log a refusal once."""
        if why and why != self._refusal:
            log.warning("slot.refused", slot=str(self.slot), why=why, still_live=self.model_id)
        # Set last: a process that is forked meanwhile looks again.
        self._seen, self._refusal = state, why
