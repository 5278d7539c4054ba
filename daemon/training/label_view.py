"""Show what labels the stored bars give, and which of them a retrain would take.

A slot may name no threshold. What is taken then depends on the bars, so a person sees it here
before a model is made: by the same code, on the same bars.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.config.schema import LABEL_DEFAULTS, Config, SlotSection
from daemon.core.bars import Provenance
from daemon.registry.live_labels import LiveLabels
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.store.market_closures import training_closes
from daemon.store.store import Store
from hyperdrift.errors import BadInput, ConfigError, HyperdriftError
from hyperdrift.slot_name import SlotName
from retrain import dataset, labels

_HORIZONS: Final = (1, 4, 12, 24, 48)
_THRESHOLDS: Final = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025)


@dataclass(frozen=True, slots=True)
class LabelReport:
    """The class shares that labels give; as text, a table.

    Attributes:
        slot: The slot.
        rows: The shares of each horizon and threshold.
        in_force: Horizon and threshold that a retrain would take now; None if keys are missing.
        taken: What the labels of that row are, and why; empty if there is none.
        live: The same of the live model; empty if there is none.
    """

    slot: str
    rows: tuple[labels.Row, ...]
    in_force: tuple[int, float | str] | None = None
    taken: str = ""
    live: str = ""

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        rows = [{**r._asdict(), "in_force": self.in_force == r[:2]} for r in self.rows]
        return {"slot": self.slot, "rows": rows, "taken": self.taken, "live": self.live}

    def __str__(self) -> str:
        """Return the table, with the reasons below it."""
        text = labels.format_table(self.rows, self.in_force)
        text += f"\n{self.slot}: {self.taken}" if self.taken else ""
        return text + (f"\nlive model: {self.live}" if self.live else "")


def label_report(config: Config, slot: SlotName) -> LabelReport:
    """Return the class shares of the training block for several horizons and thresholds.

    The row that a retrain would take now is marked, with the reason below the table.

    Args:
        config: Names the threshold and the horizon, if the slot is configured.
        slot: Whose bars.

    Raises:
        BadInput: If there are too few bars.
    """
    section = _section(config, slot)
    with open_store(config.data_dir, read_only=True) as store:
        block = dataset.training_closes(_closes(store, config, slot, section))
    if len(block) <= max(_HORIZONS):
        need = "import some or run the daemon first"
        raise BadInput(f"{slot} has {len(block)} bars to learn from stored; {need}")
    if section is None:
        return LabelReport(str(slot), labels.table(block, _HORIZONS, _THRESHOLDS))
    return _marked(config, section, block)


def _section(config: Config, slot: SlotName) -> SlotSection | None:
    """Return the slot's own section, or what one without keys would be; None needs keys."""
    try:
        return config.slot(slot)
    except ConfigError:
        known = slot.interval in LABEL_DEFAULTS
        return SlotSection(coin=slot.coin, interval=slot.interval) if known else None


def _closes(
    store: Store, config: Config, slot: SlotName, section: SlotSection | None
) -> NDArray[np.float64]:
    """Return the closes that a retrain would have now, shape (n_bars,)."""
    newest = store.newest_t(slot, Provenance.IMPORT) or 0
    since = newest + slot.interval_ms - section.history_ms if section else 0
    return training_closes(store, slot, since, [other.name for other in config.slots])


def _marked(config: Config, section: SlotSection, block: NDArray[np.float64]) -> LabelReport:
    slot, horizon, setting = section.name, section.horizon, section.label_threshold
    live = _live(Registry(config.data_dir / "models"), slot)
    previous = live.chosen_by(setting) if live else None
    taken = labels.resolve_threshold(setting, block, horizon, previous)
    name = taken.setting if taken.kind == "vol" else taken.value
    numbers = {*_THRESHOLDS, taken.value} if taken.kind == "fixed" else _THRESHOLDS
    asked = [*sorted(numbers), *([name] if taken.kind == "vol" else [])]
    rows = labels.table(block, sorted({*_HORIZONS, horizon}), asked)
    told = live.told(section) if live is not None else ""
    return LabelReport(str(slot), rows, (horizon, name), taken.told(horizon), told)


def _live(registry: Registry, slot: SlotName) -> LiveLabels | None:
    try:
        manifest = registry.live(slot)
    except HyperdriftError:
        return None  # `models verify` says what is wrong with it
    return LiveLabels.of(manifest, registry.folder(slot)) if manifest else None
