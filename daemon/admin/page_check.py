"""Check the status page from this host: who answers at its address, and who may read it."""

import contextlib
import http.client
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.admin import local_daemon
from daemon.admin.host_checks import Check
from daemon.config.schema import Config
from daemon.web.server.access import AccessRules
from daemon.web.server.page_token import PageToken
from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.login import listeners, user_name

_ANSWER_S: Final = 5.0
_NOBODY: Final = "is answered by nobody"
_SENSIBLE: Final = 'write web.listen = "127.0.0.1:8377"'


def token(config: Config, *, new: bool = False) -> str:
    """Return the token of the page; make one if there is none yet, or if a new one is wanted.

    Raises:
        ConfigError: If there is no page, or no data folder yet.
        OSError: If this user may not read or write it.
    """
    if not config.web.listen:
        raise ConfigError(f"web.listen is empty, so there is no status page; {_SENSIBLE}")
    kept = PageToken(config.data_dir)
    if not new and (value := kept.read()):
        return value
    if kept.path.parent.is_dir():
        with _as_owner_of(kept.path.parent):
            return kept.replace()
    raise ConfigError(f"{kept.path} is not there: the first start of the daemon makes it")


@contextlib.contextmanager
def _as_owner_of(folder: Path) -> Iterator[None]:
    """Let root write as the user who owns a folder: the file is the daemon's then.

    Whoever owns the folder could make a link of the file's name, and root would follow it.
    """
    if os.geteuid() != 0:
        yield
        return
    owner = folder.lstat()
    try:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def stranger(config: Config) -> str:
    """Return who listens in place of the daemon at the address of the page; "" if nobody does."""
    port = config.web.place[1]
    owner = config.data_dir.stat().st_uid if config.data_dir.exists() else None
    others = [uid for uid in sorted(listeners(port)) if uid not in {0, owner}]
    return f"{user_name(others[0])} has port {port}" if others else ""


def page(config: Config) -> Check:
    """Check that the daemon's page answers; blocks for some seconds if nothing does."""
    section = config.web
    if not section.listen:
        return Check("page", note="switched off")
    if who := stranger(config):
        return Check("page", f"{who}, not the daemon's: stop it, or write another web.listen")
    answer = _answer(config)
    if answer == "ok":
        allowed = "everybody on this host" if AccessRules(section).is_open else "the token's owner"
        return Check("page", note=f"{section.url}, {allowed} may read")
    if local_daemon.is_running(config):
        return Check("page", f"{section.url} {answer}: `journalctl -u hyperdrift -g web[.]`")
    if answer == _NOBODY:
        return Check("page", note=f"{section.url} comes with the daemon")
    port = f"another program has port {section.place[1]}"
    return Check("page", f"{port}: stop it, or write another web.listen")


def _answer(config: Config) -> str:
    """Return `ok`, or what is wrong with the answer of the page."""
    host, port = config.web.place
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
    if config.web.cert_file:
        anybody = ssl._create_unverified_context()  # noqa: S323, SLF001 - nothing is told
        connection = http.client.HTTPSConnection(host, port, timeout=_ANSWER_S, context=anybody)
    try:
        connection.request("GET", "/healthz", headers={"Host": f"localhost:{port}"})
        said = connection.getresponse().read(100).decode(errors="replace").strip()
    except ConnectionRefusedError:
        return _NOBODY
    except (OSError, http.client.HTTPException) as e:
        return f"does not answer ({str(e) or type(e).__name__})"
    finally:
        connection.close()
    return "ok" if said == "ok" else "answers like no page of hyperdrift"
