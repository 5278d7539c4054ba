"""Read `retrain.backend`: on this host, on a Dask cluster of its own, or on one that runs."""

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from daemon.config.schema import RetrainSection
from daemon.core.extras import require
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded

LOCAL: Final = "local"
OWN_CLUSTER: Final = "dask"
LEAST_MIB: Final = 640
"""What a retrain on 180 days of 5m bars takes with one thread, MiB."""
_PORT: Final = 8786
_SCHEMES: Final = {"dask": "tcp", "dasks": "tls"}


@dataclass(frozen=True, slots=True)
class Backend:
    """Where jobs run.

    `address` is the scheduler's, as Dask writes it; empty for workers that this host starts.
    `tls` has the files of the authority, of our certificate and of its key; empty without TLS.
    """

    name: str
    address: str = ""
    tls: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether every job runs in a child process of ours."""
        return self.name == LOCAL


def read_backend(section: RetrainSection, name: str | None = None) -> Backend:
    """Return where the jobs of a configuration run.

    Args:
        section: Its `[retrain]`.
        name: What a command names in place of `retrain.backend`.

    Raises:
        ConfigError: If there is no such backend, a library for it or a file of TLS is missing.
    """
    text = section.backend if name is None else name
    named = (section.dask_ca_file, section.dask_cert_file, section.dask_key_file)
    files = tuple(str(expanded(name)) if name else "" for name in named)
    if text == LOCAL:
        return Backend(text)
    given = name is None and any(files)
    key = "retrain.backend" if name is None else "--backend"
    said = f"{key} is {text!r}"
    backend = Backend(text) if text == OWN_CLUSTER else _cluster(text, files, said, given=given)
    for library in ("distributed", "pyarrow"):
        require(library, f"{key} = {text!r}")
    return backend


def own_workers(memory_mib: int) -> int:
    """Return how many workers this host has as a cluster of its own: one a core, if they fit.

    Args:
        memory_mib: What the children of all may take, MiB; 0 sets no limit.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, memory_mib // LEAST_MIB)) if memory_mib else cores


def _cluster(text: str, files: tuple[str, ...], said: str, *, given: bool) -> Backend:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    rest = parts.username or parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in _SCHEMES or not host or rest:
        choices = f'"{LOCAL}", "{OWN_CLUSTER}", "dask://host:{_PORT}" or "dasks://host:{_PORT}"'
        raise ConfigError(f"{said}; write {choices}")
    secure = parts.scheme == "dasks"
    if secure and not all(files):
        named = "dask_ca_file, dask_cert_file and dask_key_file"
        raise ConfigError(f"{said}; write {named}, which TLS needs, too")
    if given and not secure:
        why = "would not be encrypted, though dask_ca_file or the like stands beside it"
        raise ConfigError(f"{said}, which {why}; write dasks://, or remove it")
    host = f"[{host}]" if ":" in host else host
    return Backend(text, f"{_SCHEMES[parts.scheme]}://{host}:{port}", files if secure else ())
