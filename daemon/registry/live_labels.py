"""Read what question a version answers: its horizon, its label threshold, and how that was chosen.

A slot may name no threshold, or "auto". Then a retrain chooses one, and the next retrain keeps it
if it may. The certificate of the version has the setting that was followed.
"""

from dataclasses import dataclass
from pathlib import Path

from daemon.config.schema import SlotSection
from hyperdrift.errors import HyperdriftError
from hyperdrift.manifest import Manifest
from hyperdrift.version_files import read_certificate


@dataclass(frozen=True, slots=True)
class LiveLabels:
    """The labels of a version: `threshold` in bars of `horizon_bars`, chosen by `setting`.

    `text` says them in words.
    """

    horizon_bars: int
    threshold: float | str
    setting: float | str
    text: str

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> "LiveLabels":
        """Read the labels of a version, as far as its files tell.

        Args:
            manifest: The version.
            folder: Where its files are.
        """
        horizon, threshold = manifest.horizon_bars, manifest.threshold
        try:
            settings = read_certificate(manifest, folder).get("settings")
        except HyperdriftError:
            settings = None
        found = settings if isinstance(settings, dict) else {}
        # An older version has no text, one of other software perhaps no settings.
        text = found.get("labels", f"{horizon} bars ahead, threshold {threshold}")
        return cls(horizon, threshold, found.get("threshold", threshold), str(text))

    def chosen_by(self, setting: float | str) -> float | None:
        """Return the threshold if this setting chose it, a fraction.

        What a person wrote, and took back, is not kept.
        """
        chosen = self.setting == setting and isinstance(self.threshold, float)
        return float(self.threshold) if chosen else None

    def told(self, section: SlotSection | None) -> str:
        """Return the labels in words, and whether the slot asks for others by now.

        Args:
            section: The configuration of the slot; None compares nothing.
        """
        if section is None or self._follows(section.label_threshold, section.horizon):
            return self.text
        return f"{self.text}; the configuration has changed, the next retrain follows it"

    def _follows(self, setting: float | str, horizon_bars: int) -> bool:
        # Older versions wrote the default of a slot that names none as its number.
        name, _, number = str(setting).partition(":")
        same = self.setting == setting or (name == "default" and str(self.setting) == number)
        return same and self.horizon_bars == horizon_bars
