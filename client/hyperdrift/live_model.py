"""Hold the live model of a slot: a version is checked first, then set in one assignment."""

import threading
from dataclasses import dataclass
from pathlib import Path

from hyperdrift.decision import decide
from hyperdrift.errors import NoModel
from hyperdrift.feature_row import Features, feature_row
from hyperdrift.loaded_model import LoadedModel, known_form
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.process.forks import tell_of_forks
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit


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

    Raises:
        ConfigError: If `form` is none of these, or its libraries are not installed.
    """

    def __init__(
        self, slot: SlotName, public_key: Path | None, computer: str, form: str = ""
    ) -> None:
        self.slot, self._computer, self.form = slot, computer, known_form(form)
        self.verifier = Verifier.load(public_key) if public_key is not None else None
        self._live: LoadedModel | None = None
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

    def note_fork(self) -> None:
        """Take a new lock: a thread of the parent may hold the old one."""
        self._taking = threading.Lock()

    def take(self, pointer: Path, order: SwapOrder | None = None) -> None:
        """Check the version that a LATEST.json names and make it live. Blocks for a second.

        Args:
            pointer: The LATEST.json; the version's files lie beside it.
            order: The swap order; None at the start of a bot or without MQTT.

        Raises:
            VersionRefused: If a check fails, or if it was deployed before the live one; then
                the live model stays.
        """
        with self._taking:
            live = self._live
            after_ms = live.manifest.deployed_ms if live is not None else 0
            self._live = admit(
                pointer,
                self.slot,
                order,
                self.verifier,
                after_ms=after_ms,
                computer=self._computer,
                form=self.form,
            )

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
