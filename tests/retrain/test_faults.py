"""Each planted fault is refused by a gate that names it; without one, the same market passes."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrain import artifact
from retrain.job import Job
from retrain.pipeline import Candidate
from tests.retrain.faults import FAULTS, Fault, Market, run_with
from tests.retrain.planted import job, planted, well_known


@pytest.fixture(scope="module")
def honest(
    candidate: Candidate, candidate_job: Job, manifest_path: Path
) -> tuple[Candidate, Market]:
    other = planted(len(candidate_job.frame["t"]), seed=9, strength=3e-4)
    return candidate, Market(candidate_job, other, artifact.read_champion(manifest_path))


SHOWN = [fault for fault in FAULTS if not fault.variant]


@pytest.mark.parametrize("fault", SHOWN, ids=[fault.name for fault in SHOWN])
def test_a_planted_fault_is_refused_by_a_gate_that_names_it(
    fault: Fault, honest: tuple[Candidate, Market]
) -> None:
    candidate, market = honest
    assert candidate.refused_by == ()
    refused_by = run_with(fault, market, proved="loads" in fault.named_by).refused_by
    assert set(refused_by) & set(fault.named_by), f"refused by {refused_by}"


def test_labels_mixed_where_nearly_everything_can_be_known_are_refused(
    honest: tuple[Candidate, Market],
) -> None:
    market = replace(honest[1], job=job(well_known(2_000, seed=2), horizon_bars=12))
    (noise,) = (fault for fault in FAULTS if fault.name == "fitted to noise")
    refused_by = run_with(noise, market, proved=False).refused_by
    assert {"train_accuracy", "test_accuracy"} <= set(refused_by)
