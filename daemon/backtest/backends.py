"""Open what trains the candidates of a backtest: children on this host, or another backend."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.backtest.candidate_cache import CandidateJobs
from daemon.backtest.warm_jobs import WarmJobs
from daemon.config.limits import child_limits
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from hyperdrift.errors import ConfigError

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """What trains: `places` candidates at once; `is_here` if children can share files."""

    jobs: CandidateJobs
    places: int
    is_here: bool


@asynccontextmanager
async def opened(config: Config, backend: str, root: Path) -> AsyncIterator[TrainingPlaces]:
    """Yield what trains with a backend, and end what it started at the end.

    Args:
        config: Limits of a child, and which files it may not read.
        backend: As `[retrain] backend` names it.
        root: Holds the folders of the jobs.

    Raises:
        ConfigError: If there is no such backend.
    """
    if backend != LOCAL:
        raise ConfigError(f'--backend {backend!r} is not "{LOCAL}"')
    async with WarmJobs.opened(root, child_limits(config.retrain), secret_paths(config)) as jobs:
        yield TrainingPlaces(jobs, len(os.sched_getaffinity(0)), is_here=True)
