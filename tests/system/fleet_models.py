"""Give many slots a live model without training one for each: all get copies of one version."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from hyperdrift.manifest import Manifest, manifest_name
from hyperdrift.slot_name import SlotName


def train_first(config: Path, slot: SlotName) -> None:
    """Train, judge and deploy a slot's first model, as an operator does; it must pass."""
    command = (sys.executable, "-m", "daemon.cli", "retrain", "--coin", slot.coin)
    words = ("--interval", slot.interval, "--config", str(config), "--force", "--deploy")
    done = subprocess.run((*command, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def copy_to_others(data_dir: Path, first: SlotName, others: Sequence[SlotName], at_ms: int) -> None:
    """Make the live version of `first` that of the others too, signed and with its calibration.

    Args:
        data_dir: The daemon's data folder.
        first: The slot whose live version is copied.
        others: The slots that get it.
        at_ms: When it went live, ms UTC.
    """
    registry = Registry(data_dir / "models", own_signer(data_dir), ring=trusted_keys(data_dir))
    live = registry.live(first)
    assert live is not None
    for slot in others:
        model_id = copy_version(registry, first, live, slot)
        registry.deploy(slot, model_id, reason="a copy", by="test", at_ms=at_ms)


def copy_version(registry: Registry, first: SlotName, version: Manifest, slot: SlotName) -> str:
    """Make a version of `first` one of another slot too, signed as its own; return its id."""
    with tempfile.TemporaryDirectory() as folder:
        return registry.adopt(slot, _candidate(registry.folder(first), version, slot, Path(folder)))


def _candidate(source: Path, version: Manifest, slot: SlotName, folder: Path) -> Path:
    """Write the files of a version as a candidate of another slot; return its manifest."""
    for path in source.glob(f"*_{version.model_id}.*"):
        shutil.copy(path, folder / path.name)
    manifest = folder / manifest_name(version.model_id)
    document = json.loads(manifest.read_text()) | {"slot": str(slot)}
    manifest.write_text(json.dumps({k: v for k, v in document.items() if k != "signature"}))
    return manifest
