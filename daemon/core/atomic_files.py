"""File operations that leave either the old state or the new one, even after a power cut.

Every file that must survive a power cut is written through one `Files`. A test replaces it
and stops after any single operation.
"""

import os
import shutil
from pathlib import Path


class Files:
    """File operations; when one returns, the content and the name are on the disk."""

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """Create or overwrite a file that nobody reads yet, and sync it."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder its final name in one step."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Make a second name for a file that never changes; copy it if there are no hard links.

        Raises:
            FileExistsError: If the target exists.
        """
        try:
            self.hard_link(source, target)
        except FileExistsError:
            raise
        except OSError:
            self.write(target, source.read_bytes())

    def hard_link(self, source: Path, target: Path) -> None:
        """Make a second name in one step.

        Raises:
            FileExistsError: If the target exists.
            OSError: If the file system has no links.
        """
        target.hardlink_to(source)

    def make_folder(self, path: Path) -> None:
        """Create a folder and those above it."""
        path.mkdir(parents=True, exist_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file or a whole folder, if it exists."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Sync a folder, so that the names in it survive a power cut."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """Replace a file; a reader sees the whole old content or the whole new content."""
        aside = path.with_name(f".{path.name}.partial")
        self.remove(aside)  # one left by a crash may have other rights
        self.write(aside, content, mode)
        self.rename(aside, path)
        self.sync_folder(path.parent)

    def create(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """Write a file that must not exist yet; it appears whole or not at all.

        Raises:
            FileExistsError: If it exists.
        """
        aside = path.with_name(f".{path.name}.partial")
        self.remove(aside)
        self.write(aside, content, mode)
        try:
            self.hard_link(aside, path)
        except FileExistsError:
            raise
        except OSError as e:
            if path.exists():
                raise FileExistsError(path) from e
            self.rename(aside, path)
        self.remove(aside)
        self.sync_folder(path.parent)
