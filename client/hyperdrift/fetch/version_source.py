"""Get the files of an ordered version: from a folder, and what is not there from the daemon.

Each file is used only if its digest is the one in the swap order, wherever it comes from.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperdrift.errors import ConfigError, VersionNotHere
from hyperdrift.fetch.fetcher import Fetcher
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import check_order
from hyperdrift.version_files import LATEST, as_path, manifest_of, read_file, read_manifest

# So often a folder that is there is asked alone: it may lag behind for a moment.
FOLDER_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the versions of a slot may be on this host.

    `folder` is the slot's folder as this bot sees it, None for the one that an order names.
    `cache` is a folder for what was fetched, None to keep that in memory only.
    """

    folder: Path | None
    cache: Path | None

    @classmethod
    def of(
        cls,
        slot: SlotName,
        *,
        models_dir: Path | str | None,
        folder: Path | str | None,
        cache_dir: Path | str | None,
    ) -> "Folders":
        """Return the folders by the words of `ModelSlot`.

        Raises:
            ConfigError: If both `models_dir` and `folder` are given.
        """
        models, own, cache = as_path(models_dir), as_path(folder), as_path(cache_dir)
        if models is not None and own is not None:
            raise ConfigError("give models_dir, or the slot's own folder, not both")
        return cls(
            models / str(slot) if models is not None else own,
            cache / str(slot) if cache is not None else None,
        )


class VersionSource:
    """Gets the versions of one slot for a bot.

    Args:
        fetcher: Gets files from the daemon.
        folders: Where versions may be.
    """

    def __init__(self, fetcher: Fetcher, folders: Folders) -> None:
        self._fetcher, self._folder, self._cache = fetcher, folders.folder, folders.cache

    @property
    def at_start(self) -> tuple[Path, ...]:
        """The pointers that may be loaded without an order, the better one first."""
        return tuple(each / LATEST for each in (self._folder, self._cache) if each is not None)

    async def manifest(self, order: SwapOrder, tries: int) -> Manifest:
        """Return the manifest of an ordered version, which is not checked yet.

        Args:
            order: The swap order.
            tries: How often it was tried before.

        Raises:
            VersionNotHere: If it can be had nowhere.
        """
        self._fetcher.keep({order.latest, *order.sha256.values()})
        folder = self._of(order)
        found = VersionNotHere(order.model_id, f"{folder or 'no folder'} is not here")
        try:
            if folder is not None:
                return await asyncio.to_thread(_manifest_in, folder, order)
        except VersionNotHere as e:
            found = e
        if not order.latest or await self._is_patient(folder, tries):
            raise VersionNotHere(order.model_id, found.reason) from found
        content = await self._fetch(order.latest, found, order)
        return manifest_of(content, "the fetched LATEST.json")

    async def contents(
        self, order: SwapOrder, manifest: Manifest, names: Iterable[str], tries: int
    ) -> dict[str, bytes]:
        """Return file name -> bytes whose digest was compared.

        Args:
            order: The swap order.
            manifest: The manifest of its version.
            names: The files that are needed.
            tries: How often it was tried before.

        Raises:
            VersionNotHere: If one can be had nowhere.
        """
        folders = [each for each in (self._of(order), self._cache) if each is not None]
        contents = {}
        for name in names:
            found = await asyncio.to_thread(_read_from, manifest, folders, name)
            if isinstance(found, VersionNotHere):
                if not order.latest or await self._is_patient(self._of(order), tries):
                    raise found
                found = await self._fetch(manifest.sha256[name], found, order)
            contents[name] = found
        return contents

    async def keep(self, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Write a version that went live into the cache, and remove all others from there."""
        if self._cache is not None:
            with contextlib.suppress(OSError):  # the model is live; a start has to fetch it again
                await asyncio.to_thread(_write, self._cache, manifest, contents)

    def _of(self, order: SwapOrder) -> Path | None:
        named = Path(order.manifest)
        return self._folder or (named.parent if named.is_absolute() else None)

    async def _is_patient(self, folder: Path | None, tries: int) -> bool:
        """Whether the folder is here and may have the file in a moment."""
        if folder is None or tries >= FOLDER_TRIES:
            return False
        return await asyncio.to_thread(os.path.isdir, folder)

    async def _fetch(self, digest: str, why: VersionNotHere, order: SwapOrder) -> bytes:
        try:
            return await self._fetcher.fetch(digest)
        except VersionNotHere as e:
            raise VersionNotHere(order.model_id, f"{why.reason}; {e.reason}") from e


def _manifest_in(folder: Path, order: SwapOrder) -> Manifest:
    """Return the LATEST.json of a folder, if it is the order's.

    Raises:
        VersionNotHere: If it is not.
    """
    manifest = read_manifest(folder / LATEST)
    check_order(manifest, order)
    if manifest.deployed_ms < order.issued_ms:
        raise VersionNotHere(order.model_id, f"{folder / LATEST} is of an earlier deploy")
    return manifest


def _read_from(manifest: Manifest, folders: list[Path], name: str) -> bytes | VersionNotHere:
    """Return a file from the first folder that has it; if none has, why the first has not."""
    missing = VersionNotHere(manifest.model_id, "no folder is here")
    for folder in reversed(folders):
        try:
            return read_file(manifest, folder, name)
        except VersionNotHere as e:  # noqa: PERF203 - two folders at most
            missing = e
    return missing


def _write(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """Replace what a cache holds by one version, and remove the rest after the pointer moved."""
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(dict(manifest.document), ensure_ascii=False).encode()
    whole = {**contents, LATEST: document}  # the pointer is the last one
    for name, content in whole.items():
        aside = folder / f".{name}.{os.getpid()}"
        aside.write_bytes(content)
        aside.replace(folder / name)
    for path in folder.iterdir():
        if path.name not in whole and path.is_file():
            path.unlink()
