"""The live model of one slot, seen from the daemon: what is on disk, in memory and ordered.

A change goes live in one order: files and pointer first, then our own copy, then the
order to the bot. A crash anywhere in between leaves a pointer that names one whole
version, and the next start carries on from it.
"""

import asyncio
import math
from pathlib import Path
from typing import Any

import structlog

from daemon.bars import SlotName
from daemon.clock import Clock, VenueClock
from daemon.errors import DaemonError
from daemon.registry import Registry
from daemon.swap import SwapCoordinator
from daemon.training import read_calibration
from monitor import actions, events
from retrain import artifact
from retrain.errors import RetrainError
from retrain.manifest import Manifest

log = structlog.get_logger()

BY_ITSELF = "hyperdrift"
OPERATOR = "operator"

Change = actions.Deploy | actions.Promote | actions.Rollback


class Serving:
    """Loads, deploys and rolls back; `champion` answers, `shadow` is the one before it."""

    def __init__(
        self,
        slot: SlotName,
        registry: Registry,
        swap: SwapCoordinator,
        *,
        clock: Clock,
        venue: VenueClock,
    ) -> None:
        self.slot, self._registry, self._swap = slot, registry, swap
        self._clock, self._venue = clock, venue
        self.champion: artifact.LoadedModel | None = None
        self.shadow: artifact.LoadedModel | None = None

    @property
    def champion_path(self) -> str | None:
        """Path of the live version's own manifest, None without one."""
        if self.champion is None:
            return None
        return str(self._registry.manifest_path(self.slot, self.champion.model_id))

    async def resume(self, shadow_id: str | None) -> Manifest | None:
        """Load what the files say is live, and order the bot to have it; None before the first.

        Raises:
            VersionRefused, RetrainError: If what is live cannot be read.
        """
        live = await asyncio.to_thread(self._registry.live, self.slot)
        if live is not None:
            await self._load(live.model_id, shadow_id)
            self._order(live, "the daemon started")
        return live

    async def change(self, action: Change) -> events.ModelServed | events.SwapFailed:
        """Carry out a change of the live model; the event says how it went."""
        previous = self.champion.model_id if self.champion else None
        back = isinstance(action, actions.Rollback)
        target = action.to_model_id if isinstance(action, actions.Rollback) else action.model_id
        reason = change_reason(action)
        try:
            manifest = await asyncio.to_thread(self._move_pointer, action, target)
            await self._load(manifest.model_id, None if back else previous)
        except (DaemonError, RetrainError, OSError) as e:
            return events.SwapFailed(**self.now(), model_id=target, error=str(e))
        self._order(manifest, reason)
        return await self.served(manifest, previous, reason)

    async def served(
        self, manifest: Manifest, previous_id: str | None, reason: str
    ) -> events.ModelServed:
        """Say that `manifest` is live, with all that its monitoring needs."""
        folder = self._registry.folder(self.slot)
        return await asyncio.to_thread(
            model_served, manifest, folder, previous_id=previous_id, reason=reason, **self.now()
        )

    def now(self) -> dict[str, Any]:
        """Return the fields that every event of now has."""
        return {"slot": str(self.slot), "at_ms": self._venue.now_ms()}

    def _move_pointer(self, action: Change, target: str) -> Manifest:
        at_ms = self._clock.now_ms()
        if isinstance(action, actions.Rollback):
            return self._registry.rollback(
                self.slot, target or None, reason=action.reason, by=BY_ITSELF, at_ms=at_ms
            )
        promoted_by = OPERATOR if isinstance(action, actions.Promote) else None
        return self._registry.deploy(
            self.slot,
            target,
            reason=change_reason(action),
            by=promoted_by or BY_ITSELF,
            at_ms=at_ms,
            promoted_by=promoted_by,
        )

    async def _load(self, model_id: str, shadow_id: str | None) -> None:
        path = self._registry.manifest_path(self.slot, model_id)
        champion = await asyncio.to_thread(artifact.load, path)
        shadow = None
        if shadow_id and shadow_id != model_id:
            try:
                path = self._registry.manifest_path(self.slot, shadow_id)
                shadow = await asyncio.to_thread(artifact.load, path)
            except (RetrainError, OSError) as e:
                log.warning("shadow.unreadable", slot=str(self.slot), model=shadow_id, why=str(e))
        self.champion, self.shadow = champion, shadow

    def _order(self, manifest: Manifest, reason: str) -> None:
        self._swap.order(self.slot, manifest, self._registry.pointer(self.slot), reason)


def model_served(
    manifest: Manifest, folder: Path, *, previous_id: str | None, reason: str, **now: Any
) -> events.ModelServed:
    """Say that a version in `folder` is live; `now` has the slot and the time."""
    return events.ModelServed(
        **now,
        model_id=manifest.model_id,
        previous_id=previous_id,
        reason=reason,
        trained_to_ms=manifest.trained_to_ms,
        horizon_bars=manifest.horizon_bars,
        threshold=manifest.threshold if isinstance(manifest.threshold, float) else 0.0,
        up=manifest.up,
        down=manifest.down,
        calibration=read_calibration(folder, manifest.model_id),
        win_rate=_judged_win_rate(manifest, folder),
    )


def _judged_win_rate(manifest: Manifest, folder: Path) -> float | None:
    """Return the share of signals that won on the test block; None if there were none."""
    try:
        scores = artifact.training_meta(manifest, folder)["scores"]["test"]
        rate = scores["decisions"]["win_rate"]
    except (RetrainError, KeyError, TypeError):  # a version of somebody else's making
        return None
    return float(rate) if isinstance(rate, float) and math.isfinite(rate) else None


def change_reason(action: Change) -> str:
    """Say why the live model changes, in the words of the order."""
    match action:
        case actions.Deploy():
            return action.reason
        case actions.Rollback():
            return f"rollback: {action.reason}"
    return f"promoted: {action.reason}"
