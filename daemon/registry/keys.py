"""The keys of a data folder: the daemon signs with one and trusts all of them.

A bot is given `hyperdrift.pub`. After a change of keys the old public key may stay in the
folder under another name. Then a rollback to a version that it signed is still possible.
"""

import os
from pathlib import Path

import structlog

from daemon.config.schema import Config
from daemon.registry.signing import KeyRing, Signer, generate, write_public
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded

log = structlog.get_logger()

NAME = "hyperdrift"


def private_path(data_dir: Path) -> Path:
    """Return the path of the daemon's private key, which may not exist."""
    return data_dir / "keys" / f"{NAME}.key"


def public_path(data_dir: Path) -> Path:
    """Return the path of the public key that bots are given."""
    return data_dir / "keys" / f"{NAME}.pub"


def own_signer(data_dir: Path) -> Signer:
    """Return the signer of a data folder; the first call creates its key pair.

    Raises:
        ConfigError: If the private key cannot be used.
    """
    private, public = private_path(data_dir), public_path(data_dir)
    if not private.exists():
        generate(private, public)
        log.info("keys.generated", public=str(public))
    elif not public.exists():
        write_public(private, public)
    return Signer.load(private)


def trusted_keys(data_dir: Path) -> KeyRing | None:
    """Return the public keys of a data folder, the current and the old ones; None if none.

    Raises:
        ConfigError: If one of them cannot be used.
    """
    found = sorted((data_dir / "keys").glob("*.pub"))
    return KeyRing.load(found) if found else None


def command_keys(config: Config) -> KeyRing | None:
    """Return the public keys that may sign commands; None if commands need no signature.

    The daemon's own key is one of them.

    Raises:
        ConfigError: If one of them cannot be used.
    """
    if not config.mqtt.command_keys:
        return None
    listed = [expanded(path) for path in config.mqtt.command_keys]
    try:
        return KeyRing.load([*listed, public_path(config.data_dir)])
    except ConfigError as e:
        raise ConfigError(f"mqtt.command_keys: {e}") from e


def command_signer(config: Config, path: Path | None) -> Signer | None:
    """Return a signer for commands: of the key at `path`, else of the daemon's key if readable.

    Raises:
        ConfigError: If the key cannot be used.
    """
    own = private_path(config.data_dir)
    if path is not None:
        return Signer.load(path, "name FILE.key that `hyperdrift keygen --out FILE` made")
    return Signer.load(own) if os.access(own, os.R_OK) else None
