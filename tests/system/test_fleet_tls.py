"""A cluster behind TLS, with the certificates that the how-to makes, also as systemd runs it."""

import asyncio
import contextlib
import re
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
from tests.docs.blocks import blocks
from tests.retrain.planted import planted
from tests.system.exchange_process import free_port
from tests.system.fleet_daemon import spec
from tests.system.systemd_ns import HOME, machine, why_not

pytestmark = pytest.mark.fleet

DASK = str(Path(sys.executable).with_name("dask"))
ROOT = Path(__file__).parents[2]
PORT = free_port()
UNITS = ("hyperdrift-dask-scheduler.service", "hyperdrift-dask-worker@.service")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the authority and the hosts' certificates as the page says."""
    folder = tmp_path_factory.mktemp("certificates")
    page = "docs/howto/dask-cluster.md"
    (script,) = (b.code for b in blocks() if b.page == page and "openssl" in b.code)
    done = subprocess.run(("bash", "-ec", script), cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return folder


def files(folder: Path, host: str) -> tuple[str, ...]:
    named = {"ca": "ca.pem", "cert": f"{host}.pem", "key": f"{host}.key"}
    return tuple(str(folder / name) for name in named.values())


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


async def test_the_units_run_a_hardened_scheduler_and_a_worker_that_retrains(
    certificates: Path, tmp_path: Path
) -> None:
    if why := why_not():
        pytest.skip(why)
    with machine(tmp_path) as host:
        host.write(
            f"{HOME}/bin/dask", f"#!{HOME}/bin/python3\nfrom dask.cli import run_cli\nrun_cli()\n"
        )
        host.run("chmod", "755", f"{HOME}/bin/dask")
        for name, path in zip(("ca", "cert", "key"), files(certificates, "10.0.0.1"), strict=True):
            host.write(f"/etc/hyperdrift/dask/{name}.pem", Path(path).read_text())
        host.write("/etc/hyperdrift/dask.env", "SCHEDULER=tls://127.0.0.1:8786\nLISTEN=127.0.0.1\n")
        for unit in UNITS:
            host.write(f"/etc/systemd/system/{unit}", (ROOT / "systemd" / unit).read_text())
            whole = f"/etc/systemd/system/{unit}".replace("@", "@1")
            host.write(whole, (ROOT / "systemd" / unit).read_text())
            assert host.run("systemd-analyze", "verify", "--recursive-errors=yes", whole) == ""
            said = host.run("systemd-analyze", "security", "--offline=true", "--no-pager", whole)
            exposure = re.search(r"exposure level for \S+ (\d+\.\d)", said)
            assert exposure is not None
            assert float(exposure[1]) <= 1.5
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "start", UNITS[0], UNITS[1].replace("@", "@1"))
        there = config(tmp_path / "data", "dasks://127.0.0.1:8786", files(certificates, "10.0.0.3"))
        try:
            lines = await retrained(there, tmp_path / "data")
        except TimeoutError:
            pytest.fail(host.run("journalctl", "-n", "60", "--no-pager"))
        assert lines[-1]["event"] == "finished"
