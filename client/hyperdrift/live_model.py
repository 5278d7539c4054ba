"""Hold the live model of a slot: a version is checked first, then set in one assignment."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperdrift.decision import decide
from hyperdrift.errors import NoModel
from hyperdrift.feature_row import Features, feature_row
from hyperdrift.loaded_model import LoadedModel, known_form
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.process.forks import tell_of_forks
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit_content, admit_manifest, needed_files
from hyperdrift.version_files import read_file, read_manifest


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's probabilities for one bar, and its `decision`: 0 DOWN, 1 NEUTRAL, 2 UP."""

    model_id: str
    p_down: float
    p_neutral: float
    p_up: float
    decision: int


class LiveModel:
    """The live model of one slot; `predict` may be called from any thread.

    Args:
        slot: The slot.
        public_key: The daemon's public key. If it is given, a version that the daemon did
            not sign is refused.
        computer: `builtin`, or the `features.computer` that the bot shares with the daemon.
        form: `onnx` or `joblib`; empty for `onnx` where a version has it and onnxruntime is
            installed.

    Attributes:
        accepted: The newest swap order that was carried out; None before one.

    Raises:
        ConfigError: If `form` is none of these, or its libraries are not installed.
    """

    def __init__(
        self, slot: SlotName, public_key: Path | None, computer: str, form: str = ""
    ) -> None:
        self.slot, self._computer, self.form = slot, computer, known_form(form)
        self.verifier = Verifier.load(public_key) if public_key is not None else None
        self._live: LoadedModel | None = None
        self.accepted: SwapOrder | None = None
        self._taking = threading.Lock()
        tell_of_forks(self)

    @property
    def model_id(self) -> str | None:
        """The model that answers now; None before the first one."""
        return self._live.model_id if self._live is not None else None

    def is_of(self, order: SwapOrder) -> bool:
        """Whether the model that a swap order names is live already."""
        live = self._live
        return live is not None and (live.model_id, dict(live.manifest.sha256)) == (
            order.model_id,
            order.sha256,
        )

    def is_replayed(self, order: SwapOrder) -> bool:
        """Whether an order is older than the last accepted one."""
        return self.accepted is not None and order.issued_ms < self.accepted.issued_ms

    def note_fork(self) -> None:
        """Take a new lock: a thread of the parent may hold the old one."""
        self._taking = threading.Lock()

    def take(self, pointer: Path) -> None:
        """Check the version that a LATEST.json names and make it live. Blocks for a second.

        Args:
            pointer: The LATEST.json; the version's files lie beside it.

        Raises:
            VersionNotHere: If a file is missing or not as its digest says, or if the version
                was deployed before the live one.
            VersionRefused: If another check fails; then, too, the live model stays.
        """
        with self._taking:
            manifest = read_manifest(pointer)
            form = self.check(manifest)
            names = needed_files(manifest, form)
            contents = {name: read_file(manifest, pointer.parent, name) for name in names}
            self._live = admit_content(manifest, contents, form)

    def check(self, manifest: Manifest, order: SwapOrder | None = None) -> str:
        """Check the manifest of a version, and that it is the order's; return the form to load.

        Raises:
            VersionNotHere: If it is not the manifest of the order, or older than the live one.
            VersionRefused: If another check fails.
        """
        live = self._live
        return admit_manifest(
            manifest,
            self.slot,
            order,
            self.verifier,
            after_ms=live.manifest.deployed_ms if live is not None else 0,
            computer=self._computer,
            form=self.form,
        )

    def put(self, manifest: Manifest, contents: Mapping[str, bytes], form: str) -> None:
        """Check and load the files of a version, and make it live. Blocks for a second.

        Args:
            manifest: Its manifest, which `check` has checked.
            contents: File name -> bytes whose digest was compared.
            form: What to load.

        Raises:
            VersionRefused: If a check fails; then the live model stays.
        """
        with self._taking:
            self._live = admit_content(manifest, contents, form)

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
        live = self._live
        if live is None:
            raise NoModel(self.slot)
        probabilities = live.predict([feature_row(features, live.feature_cols)])
        down, neutral, up = map(float, probabilities[0])
        decision = decide(down, up, down=live.down, up=live.up)
        return Prediction(live.model_id, down, neutral, up, decision)
