"""The daemon's end of the cluster process: its news is logged once, its end loses no job."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import structlog

from daemon.core.tasks import running
from daemon.fleet.link import ClusterLink
from daemon.fleet.messages import JobBegan, JobDone, JobLost, JobPrinted, RunJob, TlsFiles
from hyperdrift.clock import SystemClock

READY = (
    "say(type='seen', workers=[{'address': 'a', 'name': 'w', 'places': 2},"
    " {'address': 'b', 'name': 'v', 'why_not': 'numpy 1, here 2'}])\n"
)
PREAMBLE = (
    "import json, sys, time\n"
    "def say(**told):\n    print(json.dumps(told), flush=True)\n"
    "def order():\n    return json.loads(sys.stdin.readline())\n"
)
ORDER = RunJob(job="job-1", folder="/f", module="retrain", wanted=("candidate",))


def link(tmp_path: Path, script: str, read_tls: Callable[[], TlsFiles] = TlsFiles) -> ClusterLink:
    """Return one whose process runs a script."""
    (tmp_path / "process.py").write_text(PREAMBLE + script)

    @asynccontextmanager
    async def started() -> AsyncIterator[asyncio.subprocess.Process]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, tmp_path / "process.py", stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return ClusterLink(started, SystemClock(), read_tls)


async def test_a_job_is_ordered_and_its_reports_arrive(tmp_path: Path) -> None:
    script = (
        "print('no report')\n" + READY + "o = order()\n"
        "say(type='began', job=o['job'], worker='w')\n"
        "say(type='printed', job='another', line='x')\n"
        "say(type='printed', job=o['job'], line='x')\n"
        "say(type='done', job=o['job'], address='a', worker='w', code=0, lines=['y'], stderr='')\n"
        "order()\n"
    )
    made, said = link(tmp_path, script), list[JobBegan | JobPrinted]()
    with structlog.testing.capture_logs() as logs:
        async with running(made.run(), "link"):
            await made.settled()
            assert made.seen.places == 2
            answer = await made.ask(ORDER, said.append)
    assert isinstance(answer, JobDone)
    assert (answer.worker, answer.lines) == ("w", ("y",))
    assert said == [JobBegan("job-1", "w"), JobPrinted("job-1", "x")]
    assert [line["event"] for line in logs] == ["fleet.connected", "fleet.worker_refused"]
    assert logs[1]["why"] == "numpy 1, here 2"


async def test_a_process_that_dies_loses_its_jobs_and_says_its_last_words(tmp_path: Path) -> None:
    made = link(tmp_path, READY + "order()\nsys.exit('out of luck')\n")
    places = list[int]()
    made.changed = lambda: places.append(made.seen.places)
    with structlog.testing.capture_logs() as logs:
        async with running(made.run(), "link"):
            await made.settled()
            answer = await made.ask(ORDER, lambda _: None)
            while not made.seen.trouble:
                await asyncio.sleep(0)
    assert isinstance(answer, JobLost)
    assert answer.address == ""
    (away,) = [line for line in logs if line["event"] == "fleet.away"]
    assert "out of luck" in away["why"]
    assert places == [2, 0]


async def test_a_process_that_gives_no_answer_is_ended_and_its_jobs_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.fleet.link._SLACK_S", 0.05)
    made = link(tmp_path, READY + "order()\ntime.sleep(600)\n")
    hasty = msgspec.structs.replace(ORDER, timeout_s=0.0)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(60), running(made.run(), "link"):
            await made.settled()
            one, other = await asyncio.gather(
                made.ask(hasty, lambda _: None),
                made.ask(msgspec.structs.replace(ORDER, job="job-2"), lambda _: None),
            )
            while not made.seen.trouble:
                await asyncio.sleep(0)
    assert isinstance(one, JobLost)
    assert isinstance(other, JobLost)
    assert one.address == other.address == ""
    assert [line["event"] for line in logs][-1] == "fleet.away"


async def test_a_cancelled_job_is_cancelled_in_the_cluster(tmp_path: Path) -> None:
    script = READY + "o = order()\nsay(type='began', job=o['job'], worker='w')\n"
    script += f"open({str(tmp_path / 'said')!r}, 'w').write(json.dumps(order()))\norder()\n"
    made, began = link(tmp_path, script), asyncio.Event()
    async with running(made.run(), "link"):
        await made.settled()
        asking = asyncio.create_task(made.ask(ORDER, lambda _: began.set()))
        await began.wait()
        asking.cancel()
        await asyncio.wait([asking])
        while not (said := tmp_path / "said").exists() or not said.read_text():
            await asyncio.sleep(0.01)
    assert said.read_text() == '{"type": "cancel", "job": "job-1"}'


async def test_files_of_tls_are_handed_over_whenever_they_are_asked_for(tmp_path: Path) -> None:
    said, files = tmp_path / "said", [TlsFiles(key="old"), TlsFiles(key="new")]
    ask = "say(type='tls_wanted')\nkeys.append(order()['key'])\n"
    script = (
        f"keys = []\n{ask}{ask}open({str(said)!r}, 'w').write(' '.join(keys))\n{READY}order()\n"
    )
    made = link(tmp_path, script, lambda: files.pop(0))
    async with running(made.run(), "link"):
        await made.settled()
    assert said.read_text() == "old new"


async def test_a_first_answer_that_comes_late_is_told_as_well(tmp_path: Path) -> None:
    made = link(tmp_path, "say(type='seen', trouble='it does not answer')\norder()\n")
    made._settled.set()  # as when nobody waits for the first answer any longer
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(60), running(made.run(), "link"):
            while not logs:
                await asyncio.sleep(0.01)
    assert [line["event"] for line in logs] == ["fleet.away"]


async def test_a_scheduler_that_is_away_is_told_once_and_so_is_its_return(tmp_path: Path) -> None:
    away = "say(type='seen', trouble='it does not answer')\n"
    made = link(tmp_path, f"{away}{away}{READY}{READY}{away}order()\n")
    with structlog.testing.capture_logs() as logs:
        async with running(made.run(), "link"):
            while len(logs) < 4:
                await asyncio.sleep(0)
            answer = await made.ask(ORDER, lambda _: None)
    assert [line["event"] for line in logs] == [
        *("fleet.away", "fleet.connected", "fleet.worker_refused", "fleet.away")
    ]
    assert isinstance(answer, JobLost)
    assert answer.why == "it does not answer"


async def test_a_refused_worker_is_told_of_once_for_its_host_and_reason_whatever_its_name(
    tmp_path: Path,
) -> None:
    script = (
        "def seen(n, host, why):\n"
        "    w = {'address': f'tls://{host}:{40000 + n}', 'name': f'w-{n}', 'places': 1}\n"
        "    w['why_not'] = f'{why} ({w[\"address\"]})'\n"
        "    say(type='seen', workers=[w])\n"
        "for n in range(300):\n    seen(n, '10.0.0.2', 'numpy 1, here 2')\n"
        "seen(300, '10.0.0.3', 'numpy 1, here 2')\n"
        "seen(301, '10.0.0.2', 'scipy 1, here 2')\n"
        "for n in range(400):\n    seen(n, f'10.1.{n}.1', 'x')\norder()\n"
    )
    made = link(tmp_path, script)
    with structlog.testing.capture_logs() as logs:
        async with running(made.run(), "link"):
            while not made.seen.workers or "10.1.399.1" not in made.seen.workers[0].address:
                await asyncio.sleep(0)
    told = [line for line in logs if line["event"] == "fleet.worker_refused"]
    assert [(line["worker"], line["host"]) for line in told[:3]] == [
        ("w-0", "10.0.0.2"), ("w-300", "10.0.0.3"), ("w-301", "10.0.0.2")
    ]  # fmt: skip
    assert len(told) == 403
    assert len(made._refused) == 100


async def test_a_cluster_that_has_no_worker_left_is_told_with_what_to_do(tmp_path: Path) -> None:
    none = "say(type='seen', workers=[])\n"
    made = link(tmp_path, f"{none}{READY}{READY}{none}{none}order()\n")
    with structlog.testing.capture_logs() as logs:
        async with running(made.run(), "link"):
            while len(logs) < 5:
                await asyncio.sleep(0)
    told = [(line["event"], line.get("why", "")) for line in logs]
    assert told == [
        ("fleet.connected", ""),
        ("fleet.no_worker", "the cluster has no worker"),
        ("fleet.connected", ""),
        ("fleet.worker_refused", "numpy 1, here 2"),
        ("fleet.no_worker", "the cluster has no worker"),
    ]
    assert "start workers" in logs[-1]["outcome"]
