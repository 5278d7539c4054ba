"""One small candidate, trained once for all tests that look at what a retrain leaves."""

import time
from pathlib import Path

import pytest

from retrain import artifact, pipeline
from retrain.job import Job
from tests.retrain.faults import Memory
from tests.retrain.planted import job, planted


@pytest.fixture(scope="session")
def candidate_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("candidate")


@pytest.fixture(scope="session")
def candidate_job() -> Job:
    """What the candidate is trained for; it keeps what was fitted."""
    return job(planted(4_000, seed=1), reason="a <test>", fits=Memory())


@pytest.fixture(scope="session")
def candidate(candidate_dir: Path, candidate_job: Job) -> pipeline.Candidate:
    return pipeline.run(
        candidate_job, candidate_dir, lambda _step, _percent: None, time.perf_counter
    )


@pytest.fixture(scope="session")
def manifest_path(candidate: pipeline.Candidate, candidate_dir: Path) -> Path:
    return candidate_dir / artifact.manifest_name(candidate.manifest["model_id"])
