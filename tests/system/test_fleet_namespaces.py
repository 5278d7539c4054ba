"""A cluster of four hosts loses workers and its scheduler, and every retrain still ends once."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system import network_hosts
from tests.system.network_hosts import NetworkHost, network

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parents[2]
DASK = Path(sys.executable).with_name("dask")
OTHER = ROOT / ".venv/between/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
SLOTS, ROUNDS = 5, 10
PORT = 8786
NAMES = ("scheduler", "first", "second", "odd", "daemon")


class Machines:
    """The processes of the cluster; one that ends is started again, as systemd does it."""

    def __init__(self, folder: Path, hosts: dict[str, NetworkHost]) -> None:
        self._folder, self._hosts = folder, hosts
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    @contextmanager
    def running(self) -> Iterator["Machines"]:
        """Keep every process running during the block."""
        for name in NAMES[:-1]:
            self._begin(name)
        self._keeper.start()
        try:
            yield self
        finally:
            self._over.set()
            self._keeper.join()
            for name in self._processes:
                self.kill(name)

    def kill(self, name: str) -> None:
        """Kill a process and its children without a word, as a power cut does."""
        process = self._processes[name]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _begin(self, name: str) -> None:
        other = {"PYTHONPATH": f"{OTHER}/site-packages"} if name == "odd" else {}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                (*self._hosts[name].prefix, *self._command(name)),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | other,
                start_new_session=True,
            )

    def _command(self, name: str) -> tuple[str, ...]:
        if name == "scheduler":
            return (str(DASK), "scheduler", "--port", str(PORT), "--no-dashboard", "--no-show")
        scheduler = f"tcp://{self._hosts['scheduler'].address}:{PORT}"
        one = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        place = ("--local-directory", str(self._folder / name), "--resources", "retrain=1")
        return (str(DASK), "worker", scheduler, "--name", name, *one, *place)

    def _keep(self) -> None:
        while not self._over.wait(0.5):
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    self._begin(name)


def daemon(folder: Path, host: NetworkHost, *arguments: str) -> subprocess.Popen[str]:
    folder.mkdir()
    said = str(folder / "said.json")
    command = (sys.executable, "-m", "tests.system.fleet_daemon", said, str(folder), *arguments)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}"}
    return subprocess.Popen(
        (*host.prefix, *command),
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )


def disturb(process: subprocess.Popen[str], machines: Machines) -> None:
    """Kill workers at random while the daemon works, and the scheduler once."""
    chance, done, said = random.Random(7), 0, ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if not line.startswith("done"):
            continue
        done += 1
        if done == SLOTS * ROUNDS // 2:
            machines.kill("scheduler")
        elif done % 4 == 1:
            machines.kill(chance.choice(("first", "second")))
    assert process.wait() == 0, said[-3000:]
    process.stderr.close()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run it all once: what the disturbed cluster made, and what this host makes alone."""
    if why := network_hosts.why_not():
        pytest.skip(why)
    if not OTHER.exists():
        pytest.skip("another scikit-learn is not installed: `make fleet` does it")
    folder = tmp_path_factory.mktemp("fleet")
    with network(NAMES) as hosts:
        scheduler = f"dask://{hosts['scheduler'].address}:{PORT}"
        (folder / "machines").mkdir()
        with Machines(folder / "machines", hosts).running() as machines:
            work = (scheduler, str(SLOTS), str(ROUNDS))
            disturb(daemon(folder / "daemon", hosts["daemon"], *work), machines)
        alone = daemon(folder / "alone", hosts["daemon"], "local", str(SLOTS), "1")
        _, errors = alone.communicate()
    assert alone.returncode == 0, errors[-3000:]
    fleet, ours = (json.loads((folder / n / "said.json").read_text()) for n in ("daemon", "alone"))
    return {**fleet, "alone": ours["made"]}


def events(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [line for line in found["logs"] if line["event"] == name]


def test_every_retrain_ends_with_one_judged_candidate(found: dict[str, Any]) -> None:
    ended = Counter((made["slot"], made["model_id"]) for made in found["made"])
    assert len(ended) == SLOTS * ROUNDS
    assert set(ended.values()) == {1}
    assert set(found["versions"].values()) == {ROUNDS}
    assert all("beats_prior" in made["gates"] for made in found["made"])


def test_the_same_job_gives_the_same_digests_wherever_it_ran(found: dict[str, Any]) -> None:
    alone = {made["slot"]: made["digests"] for made in found["alone"]}
    for made in found["made"]:
        ours = alone[made["slot"]]
        assert made["digests"][".joblib"] == ours[".joblib"]
        if made["round"] == 0:
            assert made["digests"] == ours
    assert ".onnx" in alone["C0-5m"]


def test_the_worker_with_another_scikit_learn_is_told_once_and_not_used(
    found: dict[str, Any],
) -> None:
    (refused,) = events(found, "fleet.worker_refused")
    assert refused["worker"] == "odd"
    assert "scikit-learn 1." in refused["why"]


def test_workers_that_died_cost_an_attempt_and_the_scheduler_one_line(
    found: dict[str, Any],
) -> None:
    assert events(found, "fleet.lost")
    assert "odd" not in {line["worker"] for line in events(found, "fleet.lost")}
    assert 1 <= len(events(found, "fleet.away")) <= 2
    assert len(events(found, "fleet.connected")) >= 2
    assert events(found, "fleet.away")[-1]["log_level"] == "warning"


def test_the_event_loop_is_never_held(found: dict[str, Any]) -> None:
    assert found["held_ms"] < 50
