"""Change the live model by hand: through the daemon if it runs, else in its data folder.

One process at a time holds the lock of the folder. If that is the daemon, the command is sent to
it over MQTT, so that the journal has one sequence of events.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daemon.admin import status_view
from daemon.config.schema import Config
from daemon.core.errors import BrokerUnreachable, DataFolderBusy, Declined
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer, private_path, public_path, trusted_keys
from daemon.registry.latest_pointer import LATEST
from daemon.registry.registry import Registry
from daemon.registry.signing import generate
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, VersionRefused
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName
from retrain.errors import RetrainError

# Loading two models and writing the pointer takes a second or two.
MOVED_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """The slot, and who asks for the change and why."""

    slot: SlotName
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The version that is live now, and who made the change: this process or the daemon."""

    model_id: str
    previous_id: str | None
    through: str


class ManualDeploy:
    """Changes the live version in a data folder.

    Args:
        config: Names the data folder.
        clock: Real time, for the journal.
        key: The private key that signs commands to the daemon; None takes its own if readable.
    """

    def __init__(self, config: Config, clock: Clock, key: Path | None = None) -> None:
        self._config, self._clock, self._key = config, clock, key

    async def promote(self, wish: DeployRequest, model_id: str) -> Moved:
        """Put a version live whatever its gates said, recorded as this person's decision.

        Raises:
            VersionRefused: If it does not exist or is damaged.
            Declined: If the daemon declined.
            BrokerUnreachable: If the daemon runs and cannot be asked.
        """
        _prove(self._reader(wish.slot), wish.slot, model_id)
        try:
            with self._own(wish.slot) as (registry, store):
                return self._deploy(registry, store, wish, model_id)
        except DataFolderBusy:
            return await self._ask(wish, "promote", model_id)

    async def rollback(self, wish: DeployRequest, to: str = "") -> Moved:
        """Put `to` back live, or the newest version that was live before and is undamaged.

        Raises:
            VersionRefused: If there is none, or it is damaged.
            Declined: If the daemon declined.
            BrokerUnreachable: If the daemon runs and cannot be asked.
        """
        if to:
            _prove(self._reader(wish.slot), wish.slot, to)
        try:
            with self._own(wish.slot) as (registry, store):
                return self._roll_back(registry, store, wish, to)
        except DataFolderBusy:
            return await self._ask(wish, "rollback", to)

    def prune(self, wish: DeployRequest, keep: int) -> tuple[str, ...]:
        """Remove all but the newest `keep` versions and those that must stay; return the removed.

        Raises:
            DataFolderBusy: If the daemon runs; it prunes after each retrain.
        """
        try:
            with self._own(wish.slot) as (registry, store):
                removed = registry.prune(wish.slot, keep)
                at_ms = self._clock.now_ms()
                deployment_log.note_pruned(store, wish.slot, at_ms, removed, keep=keep, by=wish.by)
                return removed
        except DataFolderBusy as e:
            folder = self._config.data_dir
            msg = f"hyperdrift runs on {folder} and prunes after each retrain; stop it to prune now"
            raise DataFolderBusy(msg) from e

    def _deploy(
        self, registry: Registry, store: Store, wish: DeployRequest, model_id: str
    ) -> Moved:
        manifest = registry.deploy(
            wish.slot,
            model_id,
            reason=wish.reason,
            by=wish.by,
            at_ms=self._clock.now_ms(),
            promoted_by=wish.by,
        )
        return self._noted(store, wish, manifest)

    def _roll_back(self, registry: Registry, store: Store, wish: DeployRequest, to: str) -> Moved:
        known = deployment_log.newest(store, wish.slot)  # the pointer may be lost
        after_ms = int(known["deployed_ms"]) if known else 0
        at_ms = max(self._clock.now_ms(), after_ms + 1)
        manifest = registry.rollback(
            wish.slot, to or None, reason=wish.reason, by=wish.by, at_ms=at_ms, by_hand=True
        )
        return self._noted(store, wish, manifest)

    def _noted(self, store: Store, wish: DeployRequest, manifest: Manifest) -> Moved:
        deployment_log.note(store, wish.slot, manifest, self._clock.now_ms())
        return _moved(manifest, "the folder")

    async def _ask(self, wish: DeployRequest, name: str, model_id: str) -> Moved:
        """Ask the daemon and wait until its pointer has moved."""
        registry = self._reader(wish.slot)
        before_ms = _deployed_ms(registry.live(wish.slot))
        try:
            reply = await status_view.command(
                self._config,
                self._clock,
                name,
                str(wish.slot),
                reason=wish.reason,
                model_id=model_id,
                by=wish.by,
                key=self._key,
            )
        except BrokerUnreachable as e:
            msg = f"hyperdrift has the folder, but {e}; or stop it and do this again"
            raise BrokerUnreachable(msg) from e
        if not reply.accepted:
            raise Declined(reply.detail)
        deadline = self._clock.monotonic() + MOVED_WITHIN_S
        while self._clock.monotonic() < deadline:
            live = registry.live(wish.slot)
            if live is not None and live.deployed_ms > before_ms:
                return _moved(live, "the daemon")
            await self._clock.sleep(0.1)
        why = f"{reply.detail}, but the pointer has not moved in {MOVED_WITHIN_S:g} s"
        raise Declined(f"{why}; look at the daemon's log")

    def _reader(self, slot: SlotName) -> Registry:
        """Return the registry without a signer; refuse a slot that never had a version."""
        data_dir = self._config.data_dir
        registry = Registry(data_dir / "models", ring=trusted_keys(data_dir))
        if not registry.folder(slot).is_dir():
            raise BadInput(f"{slot} has no versions in {data_dir / 'models'}; look at --config")
        return registry

    @contextlib.contextmanager
    def _own(self, slot: SlotName) -> Iterator[tuple[Registry, Store]]:
        data_dir = self._config.data_dir
        self._reader(slot)
        try:
            with folder_lock(data_dir), open_store(data_dir) as store:
                signer = own_signer(data_dir)
                yield Registry(data_dir / "models", signer, ring=trusted_keys(data_dir)), store
        except OSError as e:
            where = e.filename or data_dir
            msg = f"{where}: {e.strerror}; do this as the user that hyperdrift runs as"
            raise BadInput(msg) from e


def new_keys(config: Config) -> None:
    """Make the daemon's key pair, and sign the live version with it.

    Raises:
        BadInput: If there is a private key already.
        DataFolderBusy: If the daemon runs; it would keep using its old key.
        VersionRefused: If the live version was signed with a key whose public part is gone.
    """
    data_dir = config.data_dir
    with folder_lock(data_dir):
        generate(private_path(data_dir), public_path(data_dir))
        registry = Registry(data_dir / "models", own_signer(data_dir), ring=trusted_keys(data_dir))
        for pointer in sorted((data_dir / "models").glob(f"*/{LATEST}")):
            registry.renew(SlotName.parse(pointer.parent.name))


def _prove(registry: Registry, slot: SlotName, model_id: str) -> None:
    """Refuse a version that no bot could load."""
    try:
        registry.load(slot, model_id)
    except RetrainError as e:
        raise VersionRefused(model_id, str(e)) from e


def _moved(manifest: Manifest, through: str) -> Moved:
    deployed: dict[str, Any] = dict(manifest.document.get("deployed", {}))
    return Moved(model_id=manifest.model_id, previous_id=deployed.get("previous"), through=through)


def _deployed_ms(manifest: Manifest | None) -> int:
    return manifest.deployed_ms if manifest is not None else 0
