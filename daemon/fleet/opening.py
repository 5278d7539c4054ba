"""Open what runs jobs: child processes on this host, or the workers of a cluster."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from daemon.config.backend import Backend, own_workers, read_backend
from daemon.config.limits import child_limits
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from daemon.core import subprocesses
from daemon.core.subprocesses import Limits
from daemon.core.tasks import running
from daemon.fleet.fleet_jobs import FleetJobs, PlacesHere
from daemon.fleet.link import ClusterLink
from daemon.fleet.messages import ClusterSeen
from daemon.fleet.process_settings import ProcessSettings
from daemon.fleet.tls_files import read_tls
from daemon.training.jobs import Jobs
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError

_MODULE: Final = "daemon.fleet.cluster_process"


def make_jobs(config: Config, root: Path, clock: Clock, backend: str | None = None) -> Jobs:
    """Make what runs jobs in folders under `root`; `serve` must run for a cluster to be used.

    Args:
        config: Its `[retrain]` says where and how.
        root: Holds the folders; it lies in the data folder.
        clock: Paces what is tried again.
        backend: What a command names in place of `retrain.backend`.

    Raises:
        ConfigError: If there is no such backend, its library is missing, or a file of TLS.
    """
    limits, hidden = child_limits(config.retrain), secret_paths(config)
    chosen = read_backend(config.retrain, backend)
    if chosen.is_local:
        return Jobs(root, limits, hidden)
    for path in chosen.tls:
        if not os.access(path, os.R_OK):
            msg = f"retrain.backend = {chosen.name!r} needs {path}, which cannot be read"
            raise ConfigError(f"{msg}; correct its path, or its rights")
    around, workers = Jobs(root, Limits(config.retrain.python, 0, memory_mib=0), hidden), 0
    if not chosen.address:
        workers = own_workers(limits.memory_mib)
        limits = replace(limits, memory_mib=limits.memory_mib // workers)
    start = partial(_started, chosen, around, limits.interpreter, workers)
    link = ClusterLink(start, clock, partial(read_tls, chosen.tls))
    here = PlacesHere(config.retrain.parallel)
    link.changed = here.look
    return FleetJobs(root, limits, hidden, link, here)


@contextlib.asynccontextmanager
async def open_jobs(
    config: Config, root: Path, clock: Clock, backend: str | None = None
) -> AsyncIterator[Jobs]:
    """Yield what runs jobs in folders under `root`, and serve it meanwhile.

    Args:
        config: Its `[retrain]` says where and how.
        root: Holds the folders; it lies in the data folder.
        clock: Paces what is tried again.
        backend: What a command names in place of `retrain.backend`.

    Raises:
        ConfigError: If there is no such backend, or its library is missing.
    """
    jobs = make_jobs(config, root, clock, backend)
    async with running(jobs.serve(), "jobs"):
        yield jobs


async def look(config: Config, root: Path, clock: Clock) -> ClusterSeen:
    """Return what is there of the cluster of a configuration.

    Args:
        config: Its `[retrain]` says where it is.
        root: A folder to write in.
        clock: Paces what is tried again.

    Raises:
        ConfigError: If there is no such backend, or its library is missing.
    """
    async with open_jobs(config, root, clock) as jobs:
        if not isinstance(jobs, FleetJobs):
            return ClusterSeen()
        return await jobs.seen()


@contextlib.asynccontextmanager
async def _started(
    backend: Backend, around: Jobs, trainer: str, workers: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the process that speaks with Dask, and end it with all its workers."""
    async with around.own_surroundings() as (where, retrain_only):
        settings = ProcessSettings(
            address=backend.address,
            trainer=trainer,
            path=str(retrain_only),
            secure=bool(backend.tls),
            workers=workers,
        )
        told = msgspec.json.encode(settings).decode()
        limits = Limits(sys.executable, nice=0, memory_mib=0)
        pipe = asyncio.subprocess.PIPE
        process = await subprocesses.start(("-m", _MODULE, told), limits, where, stdin=pipe)
        try:
            yield process
        finally:
            await subprocesses.end(process)
