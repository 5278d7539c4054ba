"""A job goes to a worker; what no worker does, or does wrongly, another does, then this host."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from daemon.core.errors import RetrainFailedError
from daemon.core.subprocesses import Limits
from daemon.fleet.fleet_jobs import FleetJobs, PlacesHere
from daemon.fleet.link import ClusterLink, OnReport
from daemon.fleet.messages import ClusterSeen, JobBegan, JobDone, JobLost, JobPrinted, RunJob
from daemon.fleet.messages import WorkerSeen as Worker
from hyperdrift.clock import SystemClock
from tests.daemon.versions import START_MS, certificate, rewrite, write_version
from tests.monitor.test_engine import calibrated

FRAME = {"close": np.arange(3.0)}
SPEC = {"slot": "BTC-5m", "at_ms": START_MS}
HERE = (
    "import json, pathlib, sys\n"
    "folder = pathlib.Path([a for a in sys.argv if '/job' in a][-1])\n"
    "assert not (folder / 'candidate').exists(), 'what a worker sent is still there'\n"
    "print(json.dumps({'event': 'finished', 'model_id': 'here', 'passed': True, 'refused_by': [],"
    " 'manifest': 'candidate/manifest_here.json', 'helps': True, 'text': 'here'}))\n"
)
Behave = Callable[[RunJob], JobDone | JobLost]


class FakeLink(ClusterLink):
    """Workers that behave as they are told, one after the other."""

    def __init__(self, *behave: Behave) -> None:
        super().__init__(lambda: None, SystemClock())  # type: ignore[arg-type, return-value]
        self._behave = list(behave)
        self.asked: list[RunJob] = []
        names = [f"w{i}" for i in range(max(1, len(behave)))]
        workers = tuple(Worker(address=f"tcp://{n}", name=n, places=1) for n in names)
        self.seen = ClusterSeen("", workers)
        self._settled.set()

    async def ask(self, order: RunJob, on_report: OnReport) -> JobDone | JobLost:
        self.asked.append(order)
        if not self._behave:
            return JobLost(job=order.job, why="no worker fits")
        progress = {"event": "progress", "step": "judge", "percent": 60}
        on_report(JobBegan(order.job, "w0"))
        on_report(JobPrinted(order.job, json.dumps(progress)))
        on_report(JobPrinted(order.job, "garbage"))
        return await asyncio.to_thread(self._behave.pop(0), order)


class Places(PlacesHere):
    """Places of this host; `asked` is how many have asked for one."""

    asked = 0

    async def take(self, or_else: Callable[[], bool]) -> bool:
        self.asked += 1
        return await super().take(or_else)


def done(order: RunJob, *lines: dict[str, Any], code: int = 0, stderr: str = "") -> JobDone:
    number = len(order.without)
    where = {"job": order.job, "address": f"tcp://w{number}", "worker": f"w{number}"}
    return JobDone(**where, code=code, lines=tuple(map(json.dumps, lines)), stderr=stderr)


def finished(manifest: Path) -> dict[str, Any]:
    model_id = manifest.stem.removeprefix("manifest_")
    line = {"event": "finished", "model_id": model_id, "passed": True, "refused_by": []}
    return {**line, "manifest": f"candidate/{manifest.name}"}


def honest(order: RunJob) -> JobDone:
    manifest = write_version(Path(order.folder) / "candidate")
    gate = {"event": "gate", "name": "loads", "passed": True}
    return done(order, {"event": "note", "text": "few bars"}, gate, finished(manifest))


def lost(order: RunJob) -> JobLost:
    number = len(order.without)
    return JobLost(
        job=order.job, why="the worker is gone", address=f"tcp://w{number}", worker=f"w{number}"
    )


def with_other_digest(order: RunJob) -> JobDone:
    answer = honest(order)
    next((Path(order.folder) / "candidate").glob("*.joblib")).write_bytes(b"another model")
    return answer


def of_another_slot(order: RunJob) -> JobDone:
    manifest = write_version(Path(order.folder) / "candidate", slot="ETH-5m")
    return done(order, finished(manifest))


def of_another_time(order: RunJob) -> JobDone:
    return done(order, finished(write_version(Path(order.folder) / "candidate", 1)))


def without_files(order: RunJob) -> JobDone:
    manifest = write_version(Path(order.folder) / "candidate")
    manifest.unlink()
    return done(order, finished(manifest))


def of_a_refused_one(order: RunJob) -> JobDone:
    meta = certificate(refused=("beats_prior",))
    return done(order, finished(write_version(Path(order.folder) / "candidate", meta=meta)))


def with_damage(order: RunJob) -> JobDone:
    manifest = write_version(Path(order.folder) / "candidate")
    rewrite(manifest, sha256=None)
    return done(order, finished(manifest))


def leading_out(order: RunJob) -> JobDone:
    manifest = write_version(Path(order.folder) / "candidate")
    return done(order, finished(manifest) | {"manifest": "../../models/LATEST.json"})


def killed(order: RunJob) -> JobDone:
    return done(order, code=-9)


def killed_by_no_signal(order: RunJob) -> JobDone:
    return done(order, code=-200)


def silent(order: RunJob) -> JobDone:
    return done(order)


BAD = (
    *(lost, with_other_digest, of_another_slot, of_another_time, without_files),
    *(of_a_refused_one, with_damage, leading_out, killed),
    *(killed_by_no_signal, silent),
)


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Return a maker of jobs whose own child says that it ran here."""
    child = tmp_path / "python"
    (tmp_path / "child.py").write_text(HERE)
    child.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
    child.chmod(0o755)

    def made(link: ClusterLink) -> FleetJobs:
        limits = Limits(str(child), nice=0, timeout_s=120, memory_mib=0)
        return FleetJobs(tmp_path / "jobs", limits, None, link, Places(1))

    return made


async def retrain(jobs: FleetJobs, **changes: Any) -> tuple[Any, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    return await jobs.retrain("job-1", {**SPEC, **changes}, FRAME, lines.append), lines


async def test_a_worker_makes_the_candidate_and_its_lines_arrive_once(make: Any) -> None:
    link = FakeLink(honest)
    outcome, lines = await retrain(make(link))
    assert outcome.model_id.startswith("2025")
    assert outcome.manifest.exists()
    assert [line["event"] for line in lines] == ["progress", "note", "gate", "finished"]
    assert ([gate["name"] for gate in outcome.gates], outcome.notes) == (["loads"], ("few bars",))
    assert (link.asked[0].module, link.asked[0].wanted) == ("retrain", ("candidate",))


async def test_a_job_of_a_backtest_can_wait_for_those_of_a_daemon(make: Any) -> None:
    link = FakeLink(honest, honest)
    for is_backtest in (True, False):
        await retrain(make(link), backtest=is_backtest)
    assert [order.can_wait for order in link.asked] == [True, False]


@pytest.mark.parametrize("bad", BAD)
async def test_what_a_worker_does_wrongly_costs_one_attempt(make: Any, bad: Behave) -> None:
    link = FakeLink(bad, honest)
    with structlog.testing.capture_logs() as logs:
        outcome, lines = await retrain(make(link))
    assert outcome.model_id.startswith("2025")
    assert [order.without for order in link.asked] == [(), ("tcp://w0",)]
    (told,) = [line for line in logs if line["event"] == "fleet.lost"]
    assert told["worker"] == "w0"
    assert told["why"]
    assert [line["event"] for line in lines].count("finished") == 1


async def test_after_two_workers_this_host_has_its_turn(make: Any) -> None:
    link = FakeLink(lost, with_other_digest, honest)
    outcome, _ = await retrain(make(link))
    assert (outcome.model_id, len(link.asked)) == ("here", 2)


async def test_without_a_cluster_this_host_works(make: Any) -> None:
    link = FakeLink()
    outcome, _ = await retrain(make(link))
    assert (outcome.model_id, len(link.asked)) == ("here", 1)


async def test_a_job_that_cannot_be_done_is_not_tried_again(make: Any) -> None:
    failed = {"event": "failed", "error": "have 3 bars, need 500", "kind": "TooFewBars"}
    link = FakeLink(lambda order: done(order, failed, code=2), honest)
    with pytest.raises(RetrainFailedError, match="have 3 bars"):
        await retrain(make(link))
    assert len(link.asked) == 1


async def test_a_bots_own_features_run_here_which_is_said_once(make: Any) -> None:
    link = FakeLink(honest)
    jobs = make(link)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            outcome, _ = await retrain(jobs, computer="bot.features:Class")
            assert outcome.model_id == "here"
    assert [line["event"] for line in logs] == ["fleet.local"]
    assert link.asked == []


async def test_a_challenger_is_asked_on_a_worker(make: Any) -> None:
    answer = {"event": "finished", "helps": False, "text": "no", "rows": 5}
    link = FakeLink(lambda order: done(order, {"event": "finished"}), lambda o: done(o, answer))
    found = await make(link).challenge("job-1", SPEC, FRAME)
    assert (found.helps, found.text) == (False, "no")
    assert link.asked[1].arguments == ("--challenge",)


async def test_a_calibration_is_made_by_the_second_worker_if_the_first_sends_none(
    make: Any, tmp_path: Path
) -> None:
    def calibrate(order: RunJob) -> JobDone:
        text = calibrated() if order.without else '{"reference": 1}'
        (Path(order.folder) / "calibration.json").write_text(text)
        return done(order, {"event": "finished"})

    link = FakeLink(calibrate, calibrate)
    (tmp_path / "jobs" / "job-1").mkdir(parents=True)
    (tmp_path / "jobs" / "job-1" / "job.json").write_text(json.dumps(SPEC))
    assert await make(link).calibrate("job-1", 1.0) == calibrated()
    assert (len(link.asked), link.asked[0].wanted) == (2, ("calibration.json",))


async def test_a_job_that_waits_for_this_host_goes_to_a_cluster_that_is_back(make: Any) -> None:
    link = FakeLink(lambda order: JobLost(job=order.job, why="it went away"), honest)
    jobs, told = make(link), list[int]()
    jobs.listen(lambda: told.append(jobs.remote_places))
    await jobs._here.take(lambda: False)  # another job runs here for ever
    waiting = asyncio.create_task(retrain(jobs))
    await until(lambda: jobs._here.asked == 2)
    for seen in (ClusterSeen("it does not answer"), ClusterSeen("", link.seen.workers)):
        await asyncio.sleep(0.01)
        assert len(link.asked) == 1
        link.seen = seen
        link.changed()
    outcome, _ = await asyncio.wait_for(waiting, 60)
    assert outcome.model_id.startswith("2025")
    assert told == [0, 2]


async def test_a_job_that_two_workers_lost_waits_for_this_host_whoever_comes(make: Any) -> None:
    link = FakeLink(lost, lost, honest)
    jobs = make(link)
    jobs.listen(lambda: None)
    await jobs._here.take(lambda: False)
    waiting = asyncio.create_task(retrain(jobs))
    await until(lambda: jobs._here.asked == 2)
    link.seen = ClusterSeen("", link.seen.workers)
    link.changed()
    await asyncio.sleep(0.01)
    jobs._here.leave()
    outcome, _ = await asyncio.wait_for(waiting, 60)
    assert (outcome.model_id, len(link.asked)) == ("here", 2)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for a step of something that runs in a thread."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_the_queue_learns_how_many_places_there_are(make: Any) -> None:
    jobs = make(FakeLink(honest, honest))
    assert jobs.remote_places == 2
    assert jobs.limited(Limits(nice=3), 1).remote_places == 2


async def test_a_reload_changes_how_many_jobs_this_host_runs() -> None:
    here, running = PlacesHere(1), list[int]()

    async def job(number: int) -> None:
        await here.take(lambda: False)
        running.append(number)
        try:
            await asyncio.Event().wait()
        finally:
            here.leave()

    tasks = [asyncio.create_task(job(number)) for number in range(4)]
    await asyncio.sleep(0)
    assert running == [0]
    here.resize(2)
    for _ in range(3):
        await asyncio.sleep(0)
    assert running == [0, 1]
    tasks[0].cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert running == [0, 1, 2]
    here.resize(1)
    tasks[1].cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert running == [0, 1, 2]
    for task in tasks:
        task.cancel()
