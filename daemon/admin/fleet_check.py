"""Check the Dask cluster that retrains: whether it answers, and which workers fit."""

import tempfile
from pathlib import Path
from typing import Final

from daemon.admin.host_checks import Check
from daemon.config.backend import read_backend
from daemon.config.schema import Config
from daemon.fleet.messages import ClusterSeen
from daemon.fleet.opening import look
from hyperdrift.clock import Clock

_HERE: Final = "retrains run on this host until then"


async def check_backend(config: Config, clock: Clock) -> list[Check]:
    """Return a line for `retrain.backend`, and one for each worker that gets no jobs.

    Args:
        config: Names the cluster; jobs of this host alone need no check.
        clock: Paces what is tried again.
    """
    backend = read_backend(config.retrain)
    if backend.is_local:
        return []
    if not backend.address:
        return [Check("backend", note="workers of this host, which the daemon starts")]
    with tempfile.TemporaryDirectory() as folder:
        seen = await look(config, Path(folder) / "jobs", clock)
    return checks(backend.name, seen)


def checks(name: str, seen: ClusterSeen) -> list[Check]:
    """Return the lines for what was seen of a cluster, `name` as the configuration has it."""
    if seen.trouble:
        remedy = "start its scheduler, or open the port"
        return [Check("backend", f"{seen.trouble}: {remedy}; {_HERE}")]
    refused = [worker for worker in seen.workers if worker.why_not]
    fit = len(seen.workers) - len(refused)
    if not fit:
        what = "no worker that fits" if refused else "no worker: start one"
        backend = Check("backend", f"{name} has {what}; {_HERE}")
    else:
        places = f"{seen.places} place{'s' * (seen.places != 1)}"
        backend = Check("backend", note=f"{name}: {fit} of {len(seen.workers)} workers, {places}")
    return [backend, *(Check(f"worker {one.name}", one.why_not) for one in refused)]
