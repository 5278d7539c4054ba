"""Read the versions of a slot and their certificates, as the pages show them.

A certificate may have been made by other software: what is missing or of another type is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from daemon.journal.said import Fields
from daemon.registry.live_labels import LiveLabels
from daemon.registry.registry import Registry
from daemon.registry.version_info import VersionInfo
from daemon.web.views import GateLine, VersionLine, VersionView
from hyperdrift.errors import VersionRefused
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_certificate, read_manifest

_BP = 1e4
_FIGURES = ("test_accuracy", "signal_share", "win_rate", "skill")
Stamp = tuple[tuple[str, int], ...]


class Thresholds(NamedTuple):
    """The signal thresholds of a version, probabilities."""

    up: float
    down: float


class Versions(NamedTuple):
    """The versions of a slot, newest first; `live_gates` are the verdicts of the live one."""

    lines: tuple[VersionLine, ...] = ()
    thresholds: Mapping[str, Thresholds] = {}
    live_gates: tuple[GateLine, ...] = ()


class VersionReader:
    """Reads versions, and reads them again only when a folder has changed. It blocks.

    Args:
        registry: The versions of all slots.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._read: dict[SlotName, tuple[Stamp, Versions]] = {}

    def versions(self, slot: SlotName) -> Versions:
        """Return the versions of a slot."""
        stamp = self._stamp(slot)
        known = self._read.get(slot)
        if known is None or known[0] != stamp:
            known = self._read[slot] = (stamp, self._versions(slot))
        return known[1]

    def version(self, slot: SlotName, model_id: str, cause: str) -> VersionView | None:
        """Return the page of a version, None if it does not exist or cannot be read.

        Args:
            slot: The slot.
            model_id: The version, by its whole name.
            cause: Why it was trained.
        """
        line = next((one for one in self.versions(slot).lines if one.model_id == model_id), None)
        if line is None:
            return None
        folder, meta = self._registry.folder(slot), dict[str, Any]()
        try:
            manifest = read_manifest(self._registry.manifest_path(slot, model_id))
            meta = read_certificate(manifest, folder)
        except VersionRefused:
            return _damaged(slot, line, cause)
        libraries = {"python": manifest.python, "sklearn": manifest.sklearn}
        libraries |= {"numpy": manifest.numpy} | _mapping(meta.get("versions"))
        return VersionView(
            slot=str(slot),
            line=line,
            gates=gate_lines(meta),
            labels=LiveLabels.of(manifest, folder).text,
            trained_to_ms=manifest.trained_to_ms,
            cause=cause,
            has_report=_is_there(folder, manifest),
            scores=_mapping(_mapping(meta.get("scores")).get("test")),
            settings=_mapping(meta.get("settings")),
            forms=dict(manifest.forms),
            libraries={name: str(version) for name, version in libraries.items()},
        )

    def _stamp(self, slot: SlotName) -> Stamp:
        """Return what changes when a version comes, goes or goes live."""
        found = []
        for path in (self._registry.folder(slot), self._registry.pointer(slot)):
            try:
                found.append((path.name, path.stat().st_mtime_ns))
            except OSError:
                found.append((path.name, 0))
        return tuple(found)

    def _versions(self, slot: SlotName) -> Versions:
        thresholds, gates = dict[str, Thresholds](), tuple[GateLine, ...]()
        lines = tuple(map(version_line, self._registry.versions(slot)))
        for line in lines:
            try:
                manifest = read_manifest(self._registry.manifest_path(slot, line.model_id))
                thresholds[line.model_id] = Thresholds(manifest.up, manifest.down)
                if line.live:
                    gates = gate_lines(read_certificate(manifest, self._registry.folder(slot)))
            except VersionRefused:
                continue
        return Versions(lines, thresholds, gates)


def version_line(info: VersionInfo) -> VersionLine:
    """Return a version as it stands in the list of its slot."""
    known = asdict(info)
    of, mean = Fields(known), Fields(known).number("mean_return")
    figures: dict[str, Any] = {name: of.number(name) for name in _FIGURES}
    rest = {name: value for name, value in known.items() if name not in {*figures, "mean_return"}}
    return VersionLine(**rest, **figures, mean_return_bp=None if mean is None else mean * _BP)


def gate_lines(certificate: Mapping[str, Any]) -> tuple[GateLine, ...]:
    """Return the verdict of every gate of a certificate."""
    gates = certificate.get("gates")
    found: Iterable[Any] = gates if isinstance(gates, list) else ()
    return tuple(_gate(Fields(gate)) for gate in found if isinstance(gate, dict))


def _gate(of: Fields) -> GateLine:
    return GateLine(
        name=of.text("name"),
        passed=of.flag("passed"),
        value=of.number("value"),
        limit=of.number("limit"),
        sentence=of.text("verdict"),
        why=of.text("why"),
    )


def _damaged(slot: SlotName, line: VersionLine, cause: str) -> VersionView:
    return VersionView(
        slot=str(slot),
        line=line,
        gates=(),
        labels="",
        trained_to_ms=0,
        cause=cause,
        has_report=False,
        scores={},
        settings={},
        forms={},
        libraries={},
    )


def _is_there(folder: Path, manifest: Manifest) -> bool:
    return bool(manifest.report) and (folder / manifest.report).is_file()


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
