"""`doctor` says whether the cluster that retrains answers, and which workers fit."""

from daemon.admin.fleet_check import check_backend, checks
from daemon.config.schema import Config, RetrainSection
from daemon.fleet.messages import ClusterSeen, WorkerSeen
from tests.fakes import FakeClock

NAME = "dask://trainer:8786"
FIT = WorkerSeen(address="a", name="a", places=2)
OTHER = WorkerSeen(address="b", name="b", places=1, why_not="numpy 1.0, here 2.0")


def test_workers_that_fit_are_counted_and_the_others_named() -> None:
    backend, worker = checks(NAME, ClusterSeen("", (FIT, OTHER)))
    assert (backend.problem, backend.note) == ("", f"{NAME}: 1 of 2 workers, 2 places")
    assert (worker.name, worker.problem) == ("worker b", "numpy 1.0, here 2.0")


def test_a_cluster_without_a_worker_that_fits_is_a_fault() -> None:
    backend, _ = checks(NAME, ClusterSeen("", (OTHER,)))
    assert (
        backend.problem == f"{NAME} has no worker that fits; retrains run on this host until then"
    )


def test_a_cluster_without_any_worker_wants_one() -> None:
    (backend,) = checks(NAME, ClusterSeen("", ()))
    assert f"{NAME} has no worker: start one; retrains run on this host" in backend.problem


def test_a_scheduler_that_is_away_is_a_fault_with_what_to_do() -> None:
    (backend,) = checks(NAME, ClusterSeen("tcp://trainer:8786 does not answer (refused)"))
    assert "start its scheduler, or open the port" in backend.problem


async def test_this_host_alone_needs_no_line_and_workers_of_its_own_are_not_started() -> None:
    assert await check_backend(Config(), FakeClock()) == []
    (own,) = await check_backend(Config(retrain=RetrainSection(backend="dask")), FakeClock())
    assert own.problem == ""
