"""A cluster behind TLS, with the certificates that the how-to makes."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from daemon.admin.fleet_check import check_backend
from daemon.config.schema import Config, DaemonSection, MqttSection, RetrainSection
from daemon.fleet.fleet_jobs import FleetJobs
from daemon.fleet.opening import open_jobs
from hyperdrift.clock import SystemClock
from tests.ports import free_port
from tests.retrain.planted import planted
from tests.system.dask_page import files, make_certificates
from tests.system.fleet_daemon import spec

pytestmark = pytest.mark.fleet

DASK = str(Path(sys.executable).with_name("dask"))
PORT = free_port()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the authority and the hosts' certificates as the page says."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def cluster(certificates: Path, tmp_path: Path) -> Iterator[None]:
    """Run a scheduler and a worker."""
    here = ("--protocol", "tls", "--host", "127.0.0.1", "--no-dashboard")
    one = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--resources", "retrain=1")
    place = ("--local-directory", str(tmp_path / "worker"), "--name", "w")
    commands = {
        "10.0.0.1": ("scheduler", *here, "--port", str(PORT)),
        "10.0.0.2": ("worker", f"tls://127.0.0.1:{PORT}", *here, *one, *place),
    }
    with ExitStack() as stack:
        for host, command in commands.items():
            authority, certificate, key = files(certificates, host)
            tls = ("--tls-ca-file", authority, "--tls-cert", certificate, "--tls-key", key)
            log = stack.enter_context((tmp_path / f"{host}.log").open("wb"))
            process = subprocess.Popen((DASK, *command, *tls), stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def config(folder: Path, address: str, tls: tuple[str, ...], password: str = "") -> Config:
    authority, certificate, key = tls
    section = RetrainSection(
        backend=address,
        dask_ca_file=authority,
        dask_cert_file=certificate,
        dask_key_file=key,
        nice=0,
    )
    mqtt = MqttSection(broker="mqtt://a@b", password_file=password)
    return Config(daemon=DaemonSection(data_dir=str(folder)), retrain=section, mqtt=mqtt)


async def retrained(settings: Config, folder: Path) -> list[dict[str, Any]]:
    """Retrain on the cluster, once it has a worker; return the lines of the child."""
    lines: list[dict[str, Any]] = []
    folder.mkdir(exist_ok=True)
    async with open_jobs(settings, folder / "jobs", SystemClock()) as jobs:
        async with asyncio.timeout(120):
            while not jobs.remote_places:
                await asyncio.sleep(0.1)
        frame, job = planted(800, 1), spec("C1-5m", 0)
        with structlog.testing.capture_logs() as logs:
            outcome = await jobs.retrain("job-1", job, frame, lines.append)
        assert outcome.manifest.exists()
        assert logs == []  # no worker lost it
    return lines


@pytest.mark.usefixtures("cluster")
async def test_a_daemon_with_a_certificate_retrains_there_and_one_without_does_not(
    certificates: Path, tmp_path: Path
) -> None:
    given, folder = files(certificates, "10.0.0.3"), tmp_path / "data"
    there = config(folder, f"dasks://127.0.0.1:{PORT}", given)
    assert [line for line in await retrained(there, folder) if line["event"] == "progress"]
    (found,) = await check_backend(there, SystemClock())
    assert (found.problem, found.note) == ("", f"dasks://127.0.0.1:{PORT}: 1 of 1 workers, 1 place")
    plain = config(folder, f"dask://127.0.0.1:{PORT}", ("", "", ""))
    (away,) = await check_backend(plain, SystemClock())
    assert f"tcp://127.0.0.1:{PORT} does not answer" in away.problem
    with structlog.testing.capture_logs() as logs:
        async with open_jobs(plain, folder / "jobs", SystemClock()) as jobs:
            assert isinstance(jobs, FleetJobs)
            await jobs._link.settled()
    assert [line["event"] for line in logs] == ["fleet.away"]


@pytest.mark.usefixtures("cluster")
async def test_files_that_were_renewed_by_rename_beside_a_password_are_used(
    certificates: Path, tmp_path: Path
) -> None:
    given = tuple(str(shutil.copy(path, tmp_path)) for path in files(certificates, "10.0.0.3"))
    key, password = Path(given[2]), tmp_path / "password"
    right = key.rename(tmp_path / "renewed")
    for path in (key, password):
        path.write_text("of another\n")
    there = config(tmp_path / "data", f"dasks://127.0.0.1:{PORT}", given, str(password))
    (tmp_path / "data").mkdir()
    async with asyncio.timeout(60), open_jobs(there, tmp_path / "data/jobs", SystemClock()) as jobs:
        assert isinstance(jobs, FleetJobs)
        while not (await jobs.seen()).trouble:
            await asyncio.sleep(0.1)
        right.rename(key)
        while not jobs.remote_places:
            await asyncio.sleep(0.1)


async def test_workers_of_this_host_that_the_daemon_starts_retrain_and_end_with_it(
    tmp_path: Path,
) -> None:
    own = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)),
        retrain=RetrainSection(backend="dask", memory_mib=1300, nice=0),
    )
    lines = await retrained(own, tmp_path)
    assert lines[-1]["event"] == "finished"
    async with asyncio.timeout(60):
        while workers_in(tmp_path):
            await asyncio.sleep(0.1)


def workers_in(folder: Path) -> list[str]:
    """Return the processes that work somewhere in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            if f"TMPDIR={folder}".encode() in environment:
                found.append(process.name)
    return found
