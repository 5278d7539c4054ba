"""The live model of one slot: its files, the daemon's loaded copy and the swap order.

A change always has the same sequence: files and pointer, then the daemon's own copy, then the
swap order to the bot. After a crash in between, the pointer names one complete version. The
next start continues from there.
"""

import asyncio
import math
from pathlib import Path
from typing import Any

import structlog

from daemon.config.schema import SlotSection
from daemon.core.clock import VenueClock
from daemon.mqtt.bot_table import KnownBot
from daemon.registry.live_labels import LiveLabels
from daemon.registry.registry import Registry
from daemon.runtime.swap import SwapCoordinator
from daemon.training.training import read_calibration
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError, VersionRefused
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_certificate
from monitor import actions, events
from retrain.errors import RetrainError
from retrain.scores import FEE_BPS

log = structlog.get_logger()

BY_ITSELF = "hyperdrift"
OPERATOR = "operator"

Change = actions.Deploy | actions.Promote | actions.Rollback
# Name, inode, size and time of change in ns, of files.
Stamps = tuple[tuple[str, int, int, int], ...]


class Serving:
    """Loads, deploys and rolls back. `champion` is live; `shadow` is the previous champion."""

    def __init__(
        self,
        slot: SlotName,
        registry: Registry,
        swap: SwapCoordinator,
        *,
        clock: Clock,
        venue: VenueClock,
        section: SlotSection | None = None,
    ) -> None:
        self.slot, self._registry, self._swap = slot, registry, swap
        self._clock, self._venue = clock, venue
        self.pointer: Manifest | None = None
        self.champion: LoadedModel | None = None
        self.shadow: LoadedModel | None = None
        self.section = section
        self._labels: LiveLabels | None = None
        self.lost = ""  # why the live version could not be loaded, at the last check
        self.remedy = ""  # what to do, if no other version could be made live
        self.left_by_hand = False  # whether an operator had left what was put live then
        self._seen: Stamps = ()

    @property
    def labels_told(self) -> str:
        """The labels of the live version in words, empty if no version is live."""
        return self._labels.told(self.section) if self._labels else ""

    @property
    def bots(self) -> list[KnownBot]:
        """The bots that were heard of, by name."""
        return self._swap.bots(self.slot)

    @property
    def champion_path(self) -> str | None:
        """Path of the live version's own manifest, None if no version is live."""
        if self.champion is None:
            return None
        return str(self._registry.manifest_path(self.slot, self.champion.model_id))

    async def resume(
        self, shadow_id: str | None, known_id: str | None, after_ms: int = 0
    ) -> Manifest | None:
        """Load the live version and order the bot to load it; return it, None if there is none.

        LATEST.json or its version may be lost, damaged or not signed by a trusted key. Then
        the newest intact version goes live again; the bots keep their old model meanwhile.

        Args:
            shadow_id: The shadow during probation, None without one.
            known_id: The live version according to the journal, None if there was none.
            after_ms: Time of the last pointer move according to the journal, ms UTC.
        """
        try:
            live, model = await asyncio.to_thread(self._find_live, known_id, after_ms)
        except OSError as e:
            where = e.filename or self._registry.folder(self.slot)
            self._give_up(
                f"{where} cannot be written ({e.strerror})",
                "check disk space and rights; it is tried again every minute",
            )
            return None
        except (HyperdriftError, RetrainError) as e:
            self._give_up(
                str(e), "`hyperdrift models verify` says what is wrong; ask for a retrain"
            )
            return None
        if live is not None and model is not None:
            await self._use_models(model, shadow_id)
            self._order(live, "the daemon started")
        return live

    def _give_up(self, why: str, remedy: str) -> None:
        log.critical("model.none_usable", slot=str(self.slot), why=why, remedy=remedy)
        self.lost, self.remedy = self.lost or why, f"no other could be put live, {why}: {remedy}"

    async def is_whole(self) -> bool:
        """Return whether LATEST.json and the live version's files are unchanged and intact."""
        return await asyncio.to_thread(self._check)

    async def change(self, action: Change) -> events.ModelServed | events.SwapFailed:
        """Change the live model; return an event with the result.

        The version is loaded before the pointer moves, so a version that cannot be loaded
        never goes live.
        """
        previous = self.champion.model_id if self.champion else None
        back = isinstance(action, actions.Rollback)
        target = action.to_model_id if isinstance(action, actions.Rollback) else action.model_id
        reason = change_reason(action)
        try:
            model = await asyncio.to_thread(self._prepare, action, target)
            manifest = await asyncio.to_thread(self._move_pointer, action, model.model_id)
        except (HyperdriftError, RetrainError, OSError) as e:
            return events.SwapFailed(**self.now(), model_id=target, error=str(e))
        if back:  # a rollback never returns to the version that it left
            previous = await asyncio.to_thread(self._registry.previous, self.slot)
        await self._use_models(model, None if back else previous)
        self._order(manifest, reason)
        return await self.served(manifest, previous, reason, rollback=back)

    async def found(self, manifest: Manifest, was_id: str | None) -> events.ModelServed:
        """Serve a version that went live without this process as such, and return its event.

        Args:
            manifest: The pointer that is live.
            was_id: The version that was live at the last check, None without one or a journal.
        """
        deployed = dict(manifest.document.get("deployed", {}))
        why = f"{deployed.get('reason') or 'found live at start'} (by {deployed.get('by', '?')})"
        before = next(iter(manifest.document.get("lineage", [])), None)
        if deployed.get("action") == "rollback":
            return await self.served(manifest, before, f"rollback: {why}", rollback=True)
        if self.champion is not None:  # its predecessor scores beside it
            await self._use_models(self.champion, was_id or before)
        return await self.served(manifest, was_id or before, why)

    async def served(
        self, manifest: Manifest, previous_id: str | None, reason: str, *, rollback: bool = False
    ) -> events.ModelServed:
        """Return the event that `manifest` is live, with the data that monitoring needs."""
        fields = {"previous_id": previous_id, "reason": reason, "rollback": rollback, **self.now()}
        if self.shadow is not None and self.shadow.model_id == previous_id:
            fields["previous"] = self.shadow.manifest
        folder = self._registry.folder(self.slot)
        return await asyncio.to_thread(model_served, manifest, folder, **fields)

    def now(self) -> dict[str, Any]:
        """Return the fields of every event: the slot and the present time, ms UTC."""
        return {"slot": str(self.slot), "at_ms": self._venue.now_ms()}

    def _check(self) -> bool:
        if (pointer := self.pointer) is None:
            return not self.lost
        if (stamps := self._stamps(pointer)) == self._seen:
            return True
        try:
            live = self._registry.live(self.slot)
            if live is None or live.signature != pointer.signature:
                return False
            if (live.model_id, live.deployed_ms) != (pointer.model_id, pointer.deployed_ms):
                return False
            self._registry.verify(self.slot, live.model_id)
        except (HyperdriftError, RetrainError, OSError):
            return False
        self._seen = stamps
        return True

    def _stamps(self, pointer: Manifest) -> Stamps:
        """Return the stamps of all files of the live version; they change if a file does."""
        path = self._registry.pointer(self.slot)
        found = []
        for name in (path.name, *sorted(pointer.sha256)):
            try:
                stat = (path.parent / name).stat()
            except OSError:
                found.append((name, 0, 0, 0))
            else:
                found.append((name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)

    def _find_live(
        self, known_id: str | None, after_ms: int
    ) -> tuple[Manifest | None, LoadedModel | None]:
        self.lost = ""
        try:
            live = self._registry.renew(self.slot)
            if live is not None and live.deployed_ms < after_ms:
                raise VersionRefused(live.model_id, "an old LATEST.json came back")
            if live is not None:
                return live, self._registry.load(self.slot, live.model_id)
            if known_id is None and self._registry.previous(self.slot) is None:
                return None, None
            why = "LATEST.json was missing"
        except (HyperdriftError, RetrainError, OSError) as e:
            why = str(e)
        log.error("model.lost", slot=str(self.slot), model_id=known_id, why=why)
        self.lost = why
        model = self._registry.way_back(self.slot, known_id or "", at_last=True)
        self.left_by_hand = model.model_id in self._registry.left_by_hand(self.slot)
        at_ms = max(self._clock.now_ms(), after_ms + 1)  # the pointer with the last time is lost
        live = self._registry.rollback(
            self.slot, model.model_id, reason=why, by=BY_ITSELF, at_ms=at_ms
        )
        return live, model

    def _prepare(self, action: Change, target: str) -> LoadedModel:
        if isinstance(action, actions.Rollback) and not action.by:
            return self._registry.way_back(self.slot, target)
        return self._registry.load(self.slot, target)

    def _move_pointer(self, action: Change, target: str) -> Manifest:
        at_ms = self._clock.now_ms()
        if isinstance(action, actions.Rollback):
            by = action.by or BY_ITSELF
            return self._registry.rollback(
                self.slot,
                target,
                reason=action.reason,
                by=by,
                at_ms=at_ms,
                by_hand=bool(action.by),
            )
        promoted_by = (action.by or OPERATOR) if isinstance(action, actions.Promote) else None
        return self._registry.deploy(
            self.slot,
            target,
            reason=action.reason,
            by=promoted_by or BY_ITSELF,
            at_ms=at_ms,
            promoted_by=promoted_by,
        )

    async def _use_models(self, champion: LoadedModel, shadow_id: str | None) -> None:
        shadow = None
        if shadow_id and shadow_id != champion.model_id:
            try:
                shadow = await asyncio.to_thread(self._registry.load, self.slot, shadow_id)
            except (HyperdriftError, RetrainError, OSError) as e:
                log.warning("shadow.unreadable", slot=str(self.slot), model=shadow_id, why=str(e))
        folder = self._registry.folder(self.slot)
        self._labels = await asyncio.to_thread(LiveLabels.of, champion.manifest, folder)
        self.champion, self.shadow = champion, shadow

    def _order(self, manifest: Manifest, reason: str) -> None:
        self.pointer = manifest
        self._swap.order(self.slot, manifest, self._registry.pointer(self.slot), reason)


def model_served(
    manifest: Manifest,
    folder: Path,
    *,
    previous_id: str | None,
    reason: str,
    previous: Manifest | None = None,
    rollback: bool = False,
    **now: Any,
) -> events.ModelServed:
    """Return the event that a version in `folder` is live; `now` has the slot and the time."""
    cost = _certified(manifest, folder, "settings", "round_trip_bps")
    return events.ModelServed(
        **now,
        model_id=manifest.model_id,
        previous_id=previous_id,
        reason=reason,
        rollback=rollback,
        trained_to_ms=manifest.trained_to_ms,
        horizon_bars=manifest.horizon_bars,
        threshold=_threshold_in_force(manifest, folder),
        previous_threshold=_other_threshold(previous, manifest) if previous else 0.0,
        up=manifest.up,
        down=manifest.down,
        calibration=read_calibration(folder, manifest.model_id),
        win_rate=_certified(manifest, folder, "scores", "test", "decisions", "win_rate"),
        round_trip_bps=FEE_BPS if cost is None else cost,
        signal_share=_signal_share(manifest, folder),
    )


def _threshold_in_force(manifest: Manifest, folder: Path) -> float:
    """Return the label threshold as a fraction; for a "vol:" one, the value used in training.

    It is 0 if a version made by other software has none; then every move has a direction.
    """
    if isinstance(manifest.threshold, float):
        return manifest.threshold
    return _certified(manifest, folder, "settings", "threshold_in_force") or 0.0


def _other_threshold(previous: Manifest, manifest: Manifest) -> float:
    """Return the threshold of the previous version, as of this horizon; 0 if it is the same."""
    before, now = previous.threshold, manifest.threshold
    if not isinstance(before, float) or not isinstance(now, float):
        return 0.0
    scaled = before * math.sqrt(manifest.horizon_bars / previous.horizon_bars)
    return 0.0 if scaled == now else scaled


def _signal_share(manifest: Manifest, folder: Path) -> float:
    """Return the share of the bars with a signal out of fold, of both sides; 0 if unknown."""
    up, down = (_certified(manifest, folder, "decision_rule", s, "share") for s in ("up", "down"))
    return (up or 0.0) + (down or 0.0)


def _certified(manifest: Manifest, folder: Path, *keys: str) -> float | None:
    """Return a number of the certificate; None in a version of older or other software."""
    try:
        found: Any = read_certificate(manifest, folder)
        for key in keys:
            found = found[key]
        number = float(found)
    except (RetrainError, KeyError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def change_reason(action: Change) -> str:
    """Return the reason of a change, as the swap order gives it."""
    match action:
        case actions.Deploy():
            return action.reason
        case actions.Rollback():
            return f"rollback: {action.reason}"
    return f"promoted: {action.reason}"
