"""Keep finished cells of a backtest on disk, so that a rerun replays none of them.

A cell is stored under a hash of all that it depends on: the bars, the settings, this version.
What failed for a while, such as a child without memory, is not kept and tried again.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from daemon.backtest.candidate_cache import CELL, CELL_PREFIX
from daemon.backtest.market_replay import Market
from daemon.backtest.performance import Performance, Track
from daemon.backtest.policy_run import PolicyRecord
from daemon.config.schema import Config, SlotSection
from daemon.core.atomic_files import Files
from daemon.training.training import source_commit
from monitor.policy import PolicySettings

_TRACK = "track.npz"


@dataclass(frozen=True, slots=True)
class CellContent:
    """What the file of a cell has; `engine_s` are processor seconds."""

    record: PolicyRecord
    figures: Performance
    engine_s: float


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A finished cell, its track and its file."""

    content: CellContent
    track: Track
    path: Path


class KeptCells:
    """The finished cells of one slot at one horizon.

    Args:
        root: The folder of the backtests.
        config: The settings that all of them have.
        section: The slot, with its horizon.
        market: The bars.
        first: Index of the first bar that is run.
    """

    def __init__(
        self, root: Path, config: Config, section: SlotSection, market: Market, first: int
    ) -> None:
        made_of = cell_settings(config, section) | {"first": first, "bars": _digest(market)}
        self._root, self._made_of = root, made_of

    def find(self, policy: str, settings: PolicySettings) -> KeptCell | None:
        """Return the cell of a policy, None if it is not kept whole."""
        folder = self._folder(policy, settings)
        path = folder / CELL
        try:
            content = msgspec.json.decode(path.read_bytes(), type=CellContent)
            # Of a damaged file that it opened itself numpy leaves the handle open.
            with np.load(io.BytesIO((folder / _TRACK).read_bytes())) as columns:
                track = Track(columns["loss"], columns["limit"], columns["net"])
            path.touch()  # its age counts from its last use
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return KeptCell(content, track, path)

    def keep(
        self, policy: str, settings: PolicySettings, content: CellContent, track: Track
    ) -> Path:
        """Write the cell of a policy, the file that says it is whole last; return that file."""
        folder, files = self._folder(policy, settings), Files()
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"loss": track.loss, "limit": track.limit, "net": track.net}
        np.savez_compressed(folder / _TRACK, **columns)  # type: ignore[arg-type]
        beside = folder / f"{CELL}.new"
        files.write(beside, msgspec.json.encode(content))
        files.rename(beside, folder / CELL)
        return folder / CELL

    def _folder(self, policy: str, settings: PolicySettings) -> Path:
        made_of = self._made_of | {"policy": policy, "settings": asdict(settings)}
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        return self._root / f"{CELL_PREFIX}{digest[:24]}"


def cell_settings(config: Config, section: SlotSection) -> dict[str, Any]:
    """Return what the cells of a slot depend on beside bars and policy, as JSON values."""
    retrain = config.retrain
    return {
        "version": [version("hyperdrift"), source_commit()],
        "section": msgspec.to_builtins(section),
        "horizon_bars": section.horizon,
        "costs": msgspec.to_builtins(config.costs_of(section)),
        "gates": dict(config.gates),
        "retrain": [retrain.python, retrain.seed, retrain.min_signal_rate],
    }


def _digest(market: Market) -> str:
    """Return a hash of the bars of a market, and of those that it is compared with."""
    digest = hashlib.sha256()
    frames: tuple[Mapping[str, Any], ...] = (market.frame, *market.others)
    for frame in frames:
        for name in sorted(frame):
            digest.update(name.encode() + np.ascontiguousarray(frame[name]).tobytes())
    return digest.hexdigest()
