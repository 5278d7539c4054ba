"""Jobs on a real scheduler and a real worker of Dask, in this process; their children are ours."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pytest
from distributed import Client, LocalCluster

from daemon.fleet import on_worker
from daemon.fleet.cluster import Cluster, _Attempt, _Peer
from daemon.fleet.handshake import own_facts
from daemon.fleet.messages import ClusterSeen, JobDone, JobLost, JobPrinted, RunJob, WorkerSeen
from hyperdrift.clock import SystemClock
from retrain.forms import job_bars

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

CHILD = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
asked = json.loads((folder / "job.json").read_text())
print(json.dumps({"event": "progress", "step": f"pid {os.getpid()}", "percent": 1}), flush=True)
if asked.get("forever"):
    time.sleep(600)
while "until" in asked and not os.path.exists(asked["until"]):
    time.sleep(0.02)
if "sklearn" in asked:
    (folder / "candidate").mkdir()
    (folder / "candidate" / "manifest_m.json").write_text(json.dumps({"sklearn": asked["sklearn"]}))
bars = (folder / "bars.arrow").stat().st_size > 0
(folder / "made.json").write_text(f"{bars} {asked['jobs']}")
print(json.dumps({"event": "finished"}))
"""


class Reports:
    """What the cluster says, and who waits for it."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self._more = asyncio.Event()

    def take(self, report: msgspec.Struct) -> None:
        self.said.append(report)
        self._more.set()

    async def of(self, kind: type[Any]) -> Any:
        return (await self.several(kind, 1))[0]

    async def several(self, kind: type[Any], count: int) -> list[Any]:
        async with asyncio.timeout(60):
            while len(found := [each for each in self.said if isinstance(each, kind)]) < count:
                self._more.clear()
                await self._more.wait()
        return found


class Host:
    """A cluster of one worker, and our side of it."""

    def __init__(self, folder: Path, dask: Any) -> None:
        self._folder, self.dask = folder, dask
        facts = own_facts(sys.executable, sys.executable, "")
        self.reports = Reports()
        self.cluster = Cluster(facts, SystemClock(), self.reports.take)

    async def connect(self, tasks: asyncio.TaskGroup) -> tuple[Client, asyncio.Task[None]]:
        client = await Client(self.dask, asynchronous=True, set_as_default=False)
        using = tasks.create_task(self.cluster.use(client, tasks))
        await self.reports.of(ClusterSeen)
        return client, using

    @property
    def left(self) -> list[Path]:
        """The folders of jobs on the worker."""
        (worker,) = self.dask.workers.values()
        return list(Path(worker.local_directory).glob("hyperdrift-*"))

    def order(self, name: str = "job", *, can_wait: bool = False, **spec: Any) -> RunJob:
        folder = self._folder / name
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps(spec))
        job_bars.write(folder, {"t": np.arange(3)})
        wanted = ("made.json", "candidate")
        return RunJob(
            job=name,
            folder=str(folder),
            module="a_child",
            wanted=wanted,
            nice=0,
            can_wait=can_wait,
        )


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    (tmp_path / "a_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *sys.path)))
    monkeypatch.chdir(tmp_path)  # Dask makes a folder for its scratch files
    cloudpickle.register_pickle_by_value(on_worker)
    async with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        resources={"retrain": 1},
        dashboard_address="127.0.0.1:0",
        asynchronous=True,
    ) as dask:
        yield Host(tmp_path, dask)
    cloudpickle.unregister_pickle_by_value(on_worker)


async def until_waiting(host: Host, count: int) -> None:
    """Wait until so many jobs have arrived at the worker."""
    (worker,) = host.dask.workers.values()
    async with asyncio.timeout(60):
        while len(worker.state.tasks) < count:
            await asyncio.sleep(0.02)


async def gone(pid: int) -> bool:
    """Wait until a process is gone."""
    for _ in range(3000):
        if not Path(f"/proc/{pid}").exists():
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_job_travels_to_a_worker_and_its_files_back(host: Host) -> None:
    async with asyncio.TaskGroup() as tasks:
        client, using = await host.connect(tasks)
        (worker,) = (await host.reports.of(ClusterSeen)).workers
        assert (worker.places, worker.why_not) == (1, "")
        order = host.order(jobs=7, python="/of/this/host")
        host.cluster.start(order, tasks)
        done = await host.reports.of(JobDone)
        using.cancel()
        await client.close()
    assert (done.code, done.stderr) == (0, "")
    assert [json.loads(line)["event"] for line in done.lines] == ["progress", "finished"]
    assert (Path(order.folder) / "made.json").read_text() == "True 1"  # one thread, as it has


async def test_a_worker_whose_libraries_were_replaced_costs_an_attempt_and_is_asked_again(
    host: Host,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        client, using = await host.connect(tasks)
        (worker,) = (await host.reports.of(ClusterSeen)).workers
        asked = host.cluster._asked[worker.address]
        host.cluster.start(host.order(sklearn="0.1"), tasks)
        lost = await host.reports.of(JobLost)
        assert lost.why.startswith("scikit-learn 0.1, here ")
        assert lost.address == worker.address
        assert host.cluster._asked.get(worker.address) is not asked
        using.cancel()
        await client.close()


def test_what_another_daemons_job_or_a_lost_attempt_prints_is_not_a_jobs_own(
    tmp_path: Path,
) -> None:
    reports = Reports()
    cluster = Cluster({}, SystemClock(), reports.take)
    order = RunJob(job="BTC-5m-1", folder=str(tmp_path), module="retrain", wanted=())
    own, other = (_Attempt(order, _Peer(WorkerSeen(address="a", name="w"), {}, 1)) for _ in "ab")
    cluster._attempts[order.job] = own
    for key in (other.key, own.key):
        cluster._printed((0.0, {"key": key, "line": key}))
    assert reports.said == [JobPrinted(order.job, own.key)]


async def test_a_cancelled_job_ends_on_its_worker(host: Host) -> None:
    async with asyncio.TaskGroup() as tasks:
        client, using = await host.connect(tasks)
        host.cluster.start(host.order(forever=True), tasks)
        printed = await host.reports.of(JobPrinted)
        pid = int(json.loads(printed.line)["step"].split()[1])
        assert Path(f"/proc/{pid}").exists()
        assert len(host.left) == 1  # where Dask itself removes what a killed worker left
        host.cluster.cancel("job")
        assert await gone(pid)
        using.cancel()
        await client.close()
    assert not [each for each in host.reports.said if isinstance(each, JobDone | JobLost)]


async def test_a_job_that_can_wait_lets_later_ones_begin_first(host: Host, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        client, using = await host.connect(tasks)
        host.cluster.start(host.order("running", until=str(tmp_path / "go")), tasks)
        await host.reports.of(JobPrinted)
        for name, can_wait in (("of-a-backtest", True), ("of-a-daemon", False)):
            host.cluster.start(host.order(name, can_wait=can_wait), tasks)
        await until_waiting(host, 3)
        (tmp_path / "go").touch()
        done = await host.reports.several(JobDone, 3)
        using.cancel()
        await client.close()
    assert [one.job for one in done] == ["running", "of-a-daemon", "of-a-backtest"]


async def test_when_the_daemon_is_gone_nothing_is_left_running(host: Host) -> None:
    async with asyncio.TaskGroup() as tasks:
        client, using = await host.connect(tasks)
        host.cluster.start(host.order(forever=True), tasks)
        printed = await host.reports.of(JobPrinted)
        pid = int(json.loads(printed.line)["step"].split()[1])
        assert client.scheduler_comm is not None
        client.scheduler_comm.comm.abort()  # as when the process is killed
        assert await gone(pid)
        host.cluster.cancel("job")
        using.cancel()
        await client.close()


@pytest.mark.parametrize(("busy", "idle"), [("a", "b"), ("b", "a")])
async def test_of_workers_that_are_free_for_us_one_that_others_leave_idle_is_chosen(
    tmp_path: Path, busy: str, idle: str
) -> None:
    cluster = Cluster({"python": "3"}, SystemClock(), lambda _: None)
    for address in ("a", "b"):
        cluster._peers[address] = _Peer(WorkerSeen(address=address, name="", places=1), {}, 1)
        cluster._asked[address] = asyncio.create_task(asyncio.sleep(0))
    known = {idle: {"metrics": {}}, busy: {"metrics": {"task_counts": {"executing": 1}}}}
    order = RunJob(job="j", folder=str(tmp_path), module="retrain", wanted=())
    async with asyncio.TaskGroup() as tasks:
        cluster._look(None, known, tasks)  # type: ignore[arg-type] # nobody has to be asked
    chosen = cluster._pick(order)
    assert chosen is not None
    assert chosen.seen.address == idle


async def test_a_worker_that_was_started_again_is_asked_again_though_its_address_is_the_same() -> (
    None
):
    cluster = Cluster({"python": "3"}, SystemClock(), lambda _: None)
    cluster._peers["a"] = _Peer(WorkerSeen(address="a", name="", places=1), {}, 1)
    cluster._asked["a"] = asking = asyncio.create_task(asyncio.sleep(0))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            cluster._look(None, {"a": {"local_directory": "one"}}, tasks)  # type: ignore[arg-type]
            assert cluster._asked["a"] is asking
        cluster._look(None, {"a": {"local_directory": "two"}}, tasks)  # type: ignore[arg-type]
        assert "a" not in cluster._peers
        assert cluster._asked["a"] is not asking
