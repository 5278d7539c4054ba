"""Check the host of a daemon without changing anything: folders, disk, store, keys.

The usual faults after an installation are file permissions. One command run as root leaves files
that the service's user cannot write, and the daemon fails days later, in a retrain.
"""

import os
import pwd
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.config.file_access import unreachable
from daemon.config.schema import Config
from daemon.core.confined import landlock_version
from daemon.core.errors import StoreCorrupt
from daemon.core.suggestions import several
from daemon.registry.keys import command_keys, private_path, public_path
from daemon.registry.signing import Signer
from daemon.store.data_folder import STORE_NAME
from daemon.store.migrations import SCHEMA
from daemon.store.properties import other_venue
from daemon.store.store import Store
from hyperdrift.errors import ConfigError, HyperdriftError

# Enough for a candidate, its report and the copy of the store before a migration.
_FREE_BYTES: Final = 1 << 30
_FRESH: Final = "not there yet, the first start makes it"
_RESTORE: Final = (
    "a start sets it aside and begins a new one; copy a backup over it first if there is one"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `problem` says what is wrong and what to do, "" if nothing is wrong."""

    name: str
    problem: str = ""
    note: str = ""
    unreachable: bool = False


def inspect(config: Config, file: Path | None = None) -> list[Check]:
    """Run all checks of this host; blocks while it reads the whole store."""
    here = [folders(config), disk(config), store(config), keys(config), confinement()]
    return [*configuration(config, file), *here]


def configuration(config: Config, file: Path | None = None) -> list[Check]:
    """Check that the daemon's user can read its configuration and the files named there."""
    uid = config.data_dir.stat().st_uid if config.data_dir.is_dir() else os.geteuid()
    if problems := unreachable(config, uid, file):
        return [Check("configuration", problem) for problem in problems]
    return [Check("configuration", note=several(slot.name for slot in config.slots))]


def confinement() -> Check:
    """Tell whether a retrain can be kept from keys and from the data folder."""
    if landlock_version():
        return Check("retrains", note="read no key, and write their own folder only")
    return Check("retrains", note="could read keys: this kernel has no Landlock (Linux 5.13)")


def has_store(config: Config) -> bool:
    """Whether there is a store; False if this user may not look."""
    return os.path.exists(config.data_dir / STORE_NAME)  # noqa: PTH110 - Path would raise


def folders(config: Config) -> Check:
    """Check that all of the data folder has one owner, and that this user can write it."""
    root = config.data_dir
    try:
        problem = _rights(root)
    except OSError as e:
        problem = f"{e.filename}: {e.strerror}; run this as root, or as the daemon's user"
    return Check("folders", problem, str(root) if root.exists() else f"{root} is {_FRESH}")


def disk(config: Config) -> Check:
    """Check that there is room for a retrain and for a copy of the store."""
    try:
        free = shutil.disk_usage(_nearest(config.data_dir)).free
        kept = config.data_dir / STORE_NAME
        needed = _FREE_BYTES + (kept.stat().st_size if kept.exists() else 0)
    except OSError as e:
        return Check("disk", f"{e.filename}: {e.strerror}; run this as root")
    if free < needed:
        have = f"{free / 2**30:.1f} GiB free for {config.data_dir}, {needed / 2**30:.1f} needed"
        return Check("disk", f"{have}: make room, or `hyperdrift models prune`")
    return Check("disk", note=f"{free / 2**30:.1f} GiB free")


def store(config: Config) -> Check:
    """Check that the database is intact and has a schema that this version reads."""
    path = config.data_dir / STORE_NAME
    try:
        if not path.exists():
            return Check("store", note=_FRESH)
        with Store(path, read_only=True) as held:
            database = held.database
            found = str(database.read("PRAGMA quick_check(1)")[0][0])
            schema = int(database.read("PRAGMA user_version")[0][0])
            bars = int(database.read("SELECT count(*) FROM bars")[0][0]) if schema else 0
            other = other_venue(held, config.hyperliquid.venue, config.data_dir)
    except StoreCorrupt as e:
        return Check("store", f"{e}; {_RESTORE}")
    except HyperdriftError as e:
        return Check("store", str(e))
    except OSError as e:
        return Check("store", f"{path}: {e.strerror}; run this as root, or as the daemon's user")
    if found != "ok":
        return Check("store", f"{path} is damaged: {' '.join(found.split())}; {_RESTORE}")
    if other:
        return Check("store", other)
    older = f" of {SCHEMA}: the next start copies it, then brings it up" if schema < SCHEMA else ""
    return Check("store", note=f"{bars} bars, schema {schema}{older}")


def keys(config: Config) -> Check:
    """Check that the daemon can sign, that nobody else can, and that bots have the right key."""
    try:
        return Check("keys", _key_problem(config), _key_note(config))
    except ConfigError as e:
        return Check("keys", str(e))
    except OSError as e:
        return Check("keys", f"{e.filename}: {e.strerror}; run this as root")


def _key_problem(config: Config) -> str:
    private, public = private_path(config.data_dir), public_path(config.data_dir)
    if public.exists() or not config.mqtt.command_keys:
        command_keys(config)
    if not private.exists():
        lost = (
            f"{private} is gone and {public.name} is not: put it back from a copy, or remove both"
        )
        return (
            f"{lost}; the next start makes a pair, and bots need its public key" * public.exists()
        )
    if private.stat().st_mode & 0o077:
        return f"others may read {private}: `chmod 600 {private}`, and make a new key if any did"
    if not public.exists() or not os.access(private, os.R_OK):
        return ""
    if Signer.load(private).public_pem() != public.read_bytes():
        return f"{public} is not the key of {private}: remove it, the next start writes it again"
    return ""


def _key_note(config: Config) -> str:
    private = private_path(config.data_dir)
    if not private.exists():
        return _FRESH
    return "" if os.access(private, os.R_OK) else "the private key is not this user's to read"


def _rights(root: Path) -> str:
    """Return what is wrong with the permissions of the data folder, "" if nothing is."""
    if not root.exists():
        parent = _nearest(root)
        if not parent.is_dir():
            return f"{parent} is not a folder: write another daemon.data_dir"
        allowed = os.access(parent, os.W_OK)
        return "" if allowed else f"{root} is not there and this user cannot make it in {parent}"
    if not root.is_dir():
        return f"{root} is not a folder: write another daemon.data_dir"
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return f"{root} is on a file system that is mounted read-only: `mount -o remount,rw` it"
    owner = root.stat().st_uid
    most = Counter(path.lstat().st_uid for path in _kept(root)).most_common(1)[0][0]
    if owner == 0 != most:
        return f"{root} is root's, what is in it {_user(most)}'s: `chown {_user(most)} {root}`"
    faults = (_fault(path, owner, root) for path in _kept(root))
    if fault := next(filter(None, faults), ""):
        return fault
    if os.geteuid() == owner and not os.access(root, os.W_OK | os.X_OK):
        return f"its owner cannot write {root}: `chmod u+rwx {root}`"
    return ""


def _fault(path: Path, owner: int, root: Path) -> str:
    """Return what is wrong with the permissions of one file, "" if nothing is."""
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IWOTH and not path.is_symlink():
        return f"everybody may write {path}: `chmod o-w {path}`"
    is_secret = path.parent.parent.name == "mqtt" or path.name == "token"
    if is_secret and mode & stat.S_IROTH:
        return f"everybody may read {path}: remove it, and restart the daemon for a new one"
    if found.st_uid != owner:
        return f"{path} is not {_user(owner)}'s: `chown -R {_user(owner)} {root}`"
    return ""


def _kept(root: Path) -> Iterator[Path]:
    """Yield the data folder and its content, down to the files of a slot."""
    yield root
    for path in sorted(root.iterdir()):
        yield path
        if path.name in {"models", "keys", "mqtt", "web"} and path.is_dir():
            yield from sorted(path.glob("*"))
            yield from sorted(path.glob("*/*"))


def _nearest(path: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
