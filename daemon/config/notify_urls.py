"""Read the addresses of `[notify]`: from the configuration, a file, or the service's credential.

Most addresses hold a secret, such as a bot's token. No text of this module has any part of one.
"""

import os
from pathlib import Path
from typing import Final

from daemon.config.schema import NotifySection
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded

CREDENTIAL: Final = "notify-urls"
# The unit of the service takes the addresses from here, and so do root's commands.
CREDSTORE: Final = Path("/etc/credstore/hyperdrift.notify-urls")
_MOST: Final = 100


def notify_urls(notify: NotifySection) -> tuple[str, ...]:
    """Return every address, those of the configuration first.

    Raises:
        ConfigError: If the file cannot be read, or there are too many.
    """
    path = _path(notify)
    urls = notify.urls + (_read(path) if path is not None else ())
    if len(urls) > _MOST:
        raise ConfigError(f"[notify] has {len(urls)} addresses; write at most {_MOST}")
    return urls


def _path(notify: NotifySection) -> Path | None:
    if notify.urls_file:
        return expanded(notify.urls_file)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and os.access(f"{credentials}/{CREDENTIAL}", os.F_OK):
        return Path(credentials) / CREDENTIAL
    return CREDSTORE if os.access(CREDSTORE, os.R_OK) else None


def _read(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as e:
        what = f"notify.urls_file {path}: cannot be read ({e.strerror})"
        refused = isinstance(e, PermissionError)
        remedy = "let this user read it" if refused else "write one address a line there"
        raise ConfigError(f"{what}: {remedy}") from e
    except UnicodeError:
        raise ConfigError(f"notify.urls_file {path}: is not UTF-8; write it anew") from None
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
