"""The model that answers for a slot: proved before it is taken, replaced in one assignment."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperdrift.decision import decide
from hyperdrift.errors import NoModel
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model says of one bar; `decision` is 0 DOWN, 1 NEUTRAL, 2 UP."""

    model_id: str
    p_down: float
    p_neutral: float
    p_up: float
    decision: int


class LiveModel:
    """What every kind of slot holds; `predict` may be called from any thread.

    Args:
        slot: Whose model.
        public_key: The daemon's public key; given, whatever it did not sign is refused.
        computer: `builtin`, or the `features.computer` that the bot shares with the daemon.
    """

    def __init__(self, slot: SlotName, public_key: Path | None, computer: str) -> None:
        self.slot, self._computer = slot, computer
        self.verifier = Verifier.load(public_key) if public_key is not None else None
        self._live: LoadedModel | None = None
        self._taking = threading.Lock()

    @property
    def model_id(self) -> str | None:
        """The model that answers now; None before the first one."""
        return self._live.model_id if self._live is not None else None

    def is_of(self, order: SwapOrder) -> bool:
        """Whether the model that an order names is the one that answers already."""
        live = self._live
        return live is not None and (live.model_id, dict(live.manifest.sha256)) == (
            order.model_id,
            order.sha256,
        )

    def take(self, pointer: Path, order: SwapOrder | None = None) -> None:
        """Prove the version that a LATEST.json names and let it answer. Blocks for a second.

        Raises:
            VersionRefused: If it may not answer, or was made live before the one that does;
                nothing was changed.
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
            )

    def predict(self, features: Sequence[float]) -> Prediction:
        """Return what the live model says of one bar, in about ten milliseconds.

        One call is answered by one model from beginning to end; a swap takes effect
        between two calls.

        Args:
            features: Shape (17,), raw, in the order of `hyperdrift.features.FEATURE_NAMES`.

        Raises:
            NoModel: Before the first model.
            ValueError: If scikit-learn cannot use the features, for example a NaN.
        """
        live = self._live
        if live is None:
            raise NoModel(self.slot)
        probabilities = live.predict([list(features)])
        down, neutral, up = map(float, probabilities[0])
        decision = decide(down, up, down=live.down, up=live.up)
        return Prediction(live.model_id, down, neutral, up, decision)
