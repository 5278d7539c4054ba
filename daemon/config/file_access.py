"""Check that the daemon's user can use the files that the configuration names.

These files belong to others: a bot's trades, its interpreter, a list of addresses. A missing
file, or one under a home folder, which a service cannot see, would be noticed weeks later.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import structlog

from daemon.config.schema import Config
from hyperdrift.process.home import expanded

log = structlog.get_logger()

# systemd hides these folders from a service, or gives it its own.
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - no file is made
_READ, _ENTER = "-r", "-x"


def unreachable(config: Config, uid: int | None = None, path: Path | None = None) -> list[str]:
    """Return a sentence for every file that cannot be used: the key, the fault, what to do.

    Args:
        config: Names the files.
        uid: The user of the service; None checks for the user of this process.
        path: The configuration file itself.
    """
    who = {} if uid is None else _identity(uid)
    found = [
        (uid is not None and _hidden(key, name, config.data_dir)) or _problem(key, name, flag, who)
        for key, name, flag in _named(config)
    ]
    if path is not None and not _may(_READ, path, who):
        group = f"`chgrp hyperdrift {path}; chmod 640 {path}`"
        found.append(f"the daemon's user may not read {path}: {group}")
    return [problem for problem in found if problem]


def check_files_named(config: Config) -> None:
    """Log now what would otherwise fail with the first retrain or the first trade."""
    for why in unreachable(config):
        log.warning("config.unreachable", why=why)


def _named(config: Config) -> Iterator[tuple[str, Path, str]]:
    """Yield the key, the path and the needed access of each file that is named."""
    mqtt = config.mqtt
    for key, name, flag in (
        ("trades.file", config.trades.file, _READ),
        ("features.cohort_file", config.features.cohort_file, _READ),
        ("features.path", config.features.folder, _ENTER),
        ("retrain.python", _program(config.retrain.python), _ENTER),
        ("swap.on_deploy", _program(*config.swap.on_deploy[:1]), _ENTER),
        ("mqtt.password_file", mqtt.password_file, _READ),
        ("mqtt.ca_file", mqtt.ca_file, _READ),
        ("mqtt.cert_file", mqtt.cert_file, _READ),
        ("mqtt.key_file", mqtt.key_file, _READ),
        ("retrain.dask_ca_file", config.retrain.dask_ca_file, _READ),
        ("retrain.dask_cert_file", config.retrain.dask_cert_file, _READ),
        ("retrain.dask_key_file", config.retrain.dask_key_file, _READ),
        ("web.cert_file", config.web.cert_file, _READ),
        ("web.key_file", config.web.key_file, _READ),
        ("notify.urls_file", config.notify.urls_file, _READ),
        *(("mqtt.command_keys", name, _READ) for name in mqtt.command_keys),
    ):
        if name:  # a program is started without a shell: `~` is no home folder there
            yield key, Path(name) if flag == _ENTER else expanded(name), flag


def _program(name: str = "") -> str:
    """Return a program that is named by its path, or is not found; else ""."""
    return "" if "/" not in name and shutil.which(name) else name


def _hidden(key: str, path: Path, data_dir: Path) -> str:
    """Say that a service cannot see a file; with its data in such a folder it is no service."""
    for place in _HIDDEN:
        if path.is_relative_to(place) and not data_dir.is_relative_to(place):
            return f"{key}: a service sees nothing of {place}: put {path} elsewhere"
    return ""


def _problem(key: str, path: Path, flag: str, who: dict[str, Any]) -> str:
    """Return what is wrong with one file, "" if nothing is."""
    if _may(flag, path, who):
        return ""
    if _may("-e", path, {}):
        rights = "change its rights, or those of a folder above it"
        return f"{key}: the daemon's user may not use {path}: {rights}"
    if key == "trades.file":  # the bot makes it with its first trade
        return ""
    return f"{key}: {path} is not there: put it there, or change the key"


def _may(flag: str, path: Path, who: dict[str, Any]) -> bool:
    """Ask the system, which also knows access control lists."""
    command = ("test", flag, str(path))
    return subprocess.run(command, **who, check=False).returncode == 0  # noqa: S603 - no shell


def _identity(uid: int) -> dict[str, Any]:
    """Return the arguments that start a process as that user; none if this process is."""
    if os.geteuid() == uid or os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return {}
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": uid, "group": user.pw_gid, "extra_groups": groups}
