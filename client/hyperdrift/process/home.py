"""Expand `~` in a path, also for a user who has no home folder."""

from pathlib import Path

from hyperdrift.errors import ConfigError


def expanded(path: Path | str) -> Path:
    """Return a path with `~` replaced by the user's home folder.

    Raises:
        ConfigError: If nothing names the home folder: HOME is not set, and the user is in no list
            of users, as in many containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as e:
        remedy = "set HOME, or write a whole path, from / on"
        raise ConfigError(f"{path}: this user has no home folder; {remedy}") from e
