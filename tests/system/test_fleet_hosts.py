"""The page's three hosts: each a machine with a systemd and an address of its own.

They have one host name, as clones of an image do. One cluster for all tests: a test finds it as
the one before left it.
"""

import contextlib
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system import dask_page, network_hosts, systemd_ns
from tests.system.exchange_process import exchange
from tests.system.network_hosts import NetworkHost, network
from tests.system.systemd_ns import HOME, ROOT, Machine, machine

pytestmark = pytest.mark.fleet

NAMES = ("first", "second", "third")
SCHEDULER = "hyperdrift-dask-scheduler.service"
WORKERS = "hyperdrift-dask-worker@.service"
WORKER = WORKERS.replace("@", "@1")
DAEMON = "hyperdrift.service"
CONFIG = "/etc/hyperdrift/hyperdrift.toml"
AS_USER = ("runuser", "-u", "hyperdrift", "--", f"{HOME}/bin/hyperdrift")
DASK = f"#!{HOME}/bin/python3\nfrom dask.cli import run_cli\nrun_cli()\n"
DAYS, HISTORY, SPEED = 3, 1000, 2.0
BOTH = "dasks://10.0.0.1:8786: 2 of 2 workers, 2 places"
EACH_ONCE = Counter(f"{host}-1" for host in dask_page.OTHERS)


class Cluster:
    """The three machines by name, and their networks."""

    def __init__(self, machines: dict[str, Machine], networks: dict[str, NetworkHost]) -> None:
        self.machines, self.networks = machines, networks
        self._spaces = {_space(Path(f"/proc/{m.pid}")): name for name, m in machines.items()}

    @property
    def first(self) -> Machine:
        return self.machines["first"]

    def worker(self, name: str) -> str:
        """Return the name of a machine's worker."""
        return f"{self.networks[name].address}-1"

    def retraining(self) -> set[str]:
        """Return the names of the machines on which a retrain runs now."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, KeyError):  # it has ended, or is none of theirs
                if b"\0-m\0retrain\0" in (process / "cmdline").read_bytes():
                    found.add(self._spaces[_space(process)])
        return found

    def joined(self) -> Counter[str]:
        """Return how often each worker has come to the scheduler."""
        said = self.first.run("journalctl", "-u", SCHEDULER, "-o", "cat")
        return Counter(re.findall(r"Register worker addr: \S+ name: (\S+)", said))

    def checks(self) -> dict[str, Any]:
        """Return what `hyperdrift doctor` finds, by name."""
        said = json.loads(self.first.run(*AS_USER, "doctor", "--json", check=False))
        return {check["name"]: check for check in said["checks"]}

    def told(self) -> str:
        """Return the newest lines of all journals."""
        lines = ("journalctl", "-n", "40", "--no-pager", "-o", "short-precise")
        return "\n".join(f"{name}\n{m.run(*lines)}" for name, m in self.machines.items())


class Watch:
    """On which machines a retrain is seen to run, in the order in which it came there."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.places: list[str] = []

    def first_place(self) -> str:
        """Return where it runs; wait until it does."""
        self.until(lambda: bool(self.places))
        return self.places[0]

    def until(self, holds: Callable[[], bool]) -> None:
        """Watch until something is so."""

        def seen() -> bool:
            self.places += sorted(self._cluster.retraining().difference(self.places))
            return holds()

        wait_for(self._cluster, seen)


def wait_for(cluster: Cluster, holds: Callable[[], bool], within_s: float = 300.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, cluster.told()
        time.sleep(0.2)


def _space(process: Path) -> Path:
    return (process / "ns" / "pid").readlink()


def install(host: Machine) -> None:
    """Install what the package does, with the extra."""
    for kind in ("sysusers", "tmpfiles"):
        text = (ROOT / "systemd" / f"hyperdrift.{kind}").read_text()
        host.write(f"/usr/lib/{kind}.d/hyperdrift.conf", text)
    host.run("systemd-sysusers")
    host.run("systemd-tmpfiles", "--create", "hyperdrift.conf")
    for unit in (SCHEDULER, WORKERS, DAEMON):
        host.write(f"/lib/systemd/system/{unit}", (ROOT / "systemd" / unit).read_text())
    host.write(f"{HOME}/bin/dask", DASK)
    host.run("chmod", "755", f"{HOME}/bin/dask")
    host.run("systemctl", "daemon-reload")


def start(host: Machine, address: str, certificates: Path) -> None:
    """Do on a host what the page says."""
    for name, path in zip(
        ("ca", "cert", "key"), dask_page.files(certificates, address), strict=True
    ):
        host.write(f"/etc/hyperdrift/dask/{name}.pem", Path(path).read_text())
    host.run("chmod", "-R", "go=", "/etc/hyperdrift/dask")
    host.write("/etc/hyperdrift/dask.env", dask_page.environment(address))
    host.run("bash", "-c", dask_page.start(address))


def configure(first: Machine, venue: str) -> None:
    """Write the daemon's configuration as the page has it, and fetch some bars."""
    tls = "/etc/hyperdrift/tls"
    first.run("cp", "-r", "/etc/hyperdrift/dask", tls)
    first.run("chgrp", "-R", "hyperdrift", tls)
    first.run("chmod", "-R", "g+rX", tls)
    text = (ROOT / "systemd" / "hyperdrift.toml").read_text()
    changed = {
        "= 180": f"= {DAYS}",
        "nice = 19": "nice = 0",
        "[retrain]\n": dask_page.block("dask_ca_file"),
    }
    for part, better in changed.items():
        assert part in text
        text = text.replace(part, better)
    first.write(CONFIG, f"{text}\n{venue}")
    first.run("chown", "root:hyperdrift", CONFIG)
    first.run("chmod", "640", CONFIG)
    first.run(*AS_USER, "backfill", "--coin", "BTC", "--days", str(DAYS))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := systemd_ns.why_not() or network_hosts.why_not():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("hosts")
    dask_page.make_certificates(folder)
    with ExitStack() as stack:
        networks, machines = stack.enter_context(network(NAMES)), {}
        for name, one in networks.items():
            (folder / name).mkdir()
            booted = machine(folder / name, prefix=one.prefix)
            machines[name] = stack.enter_context(booted)
            install(machines[name])
            start(machines[name], one.address, folder)
        beside = networks["first"].prefix
        configure(machines["first"], stack.enter_context(exchange(SPEED, HISTORY, prefix=beside)))
        made = Cluster(machines, networks)
        wait_for(made, lambda: made.joined() >= EACH_ONCE)
        yield made


def test_the_units_hold_what_they_are_made_of_and_expose_little(cluster: Cluster) -> None:
    for unit in (SCHEDULER, WORKER):
        said = cluster.first.run("systemd-analyze", "verify", "--recursive-errors=yes", unit)
        assert said == ""
        found = cluster.first.run("systemd-analyze", "security", "--no-pager", unit)
        exposure = re.search(r"exposure level for \S+ (\d+\.\d)", found)
        assert exposure is not None
        assert float(exposure[1]) <= 1.5


def test_a_retrain_runs_on_a_worker_and_on_the_other_one_when_its_host_loses_the_network(
    cluster: Cluster,
) -> None:
    backend = cluster.checks()["backend"]
    assert (backend["problem"], backend["note"]) == ("", BOTH)
    before, watch = cluster.joined(), Watch(cluster)
    command = cluster.first.inside(*AS_USER, "retrain", "--coin", "BTC", "--force", "--json")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        lost = watch.first_place()
        cluster.networks[lost].unplug()
        watch.until(lambda: process.poll() is not None)
        out, errors = process.communicate()
    assert process.returncode in {0, 3}, errors  # gates may refuse a model of three days
    assert json.loads(out)["gates"]
    assert lost_by(errors) == [cluster.worker(lost)]
    assert set(watch.places) == {"second", "third"}
    cluster.networks[lost].plug()
    again = cluster.worker(lost)
    wait_for(cluster, lambda: cluster.joined()[again] > before[again])


def test_the_workers_find_a_scheduler_that_was_restarted(cluster: Cluster) -> None:
    before = cluster.joined()
    cluster.first.run("systemctl", "restart", SCHEDULER)
    wait_for(cluster, lambda: cluster.joined() == before + EACH_ONCE)


def test_a_worker_that_is_killed_under_the_daemon_is_started_again_and_the_other_one_retrains(
    cluster: Cluster,
) -> None:
    def log() -> str:
        return cluster.first.run("journalctl", "-u", DAEMON, "-o", "cat")

    def versions() -> list[str]:
        return cluster.first.run("ls", "/var/lib/hyperdrift/models/BTC-5m").split()

    cluster.first.run("systemctl", "enable", "--now", DAEMON)
    wait_for(cluster, lambda: '"fleet.connected"' in log())
    before, had, watch = cluster.joined(), versions(), Watch(cluster)
    cluster.first.run(*AS_USER, "command", "retrain", "--slot", "BTC-5m")
    lost = watch.first_place()
    host = cluster.machines[lost]
    starts = int(host.shown(WORKER, "NRestarts"))
    host.run("kill", "-9", host.shown(WORKER, "MainPID"))
    watch.until(lambda: versions() != had)
    assert lost_by(log()) == [cluster.worker(lost)]
    assert set(watch.places) == {"second", "third"}
    assert int(host.shown(WORKER, "NRestarts")) == starts + 1
    assert cluster.joined() == before + Counter([cluster.worker(lost)])


def lost_by(log: str) -> list[str]:
    """Return the workers that lost a job, by the lines of the daemon or of a command."""
    return [json.loads(line)["worker"] for line in log.splitlines() if '"fleet.lost"' in line]
