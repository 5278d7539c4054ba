"""Hosts with oddities, each caused for real: what people do there goes on, or is one clear line."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.admin import doctor, host_checks, status_view
from daemon.config import loader
from daemon.config.schema import Config
from daemon.core.errors import NoAnswer
from daemon.mqtt.messages import CommandReply
from hyperdrift.clock import SystemClock
from tests.ports import free_port
from tests.system.exchange_process import ROOT, exchange

CLI = (sys.executable, "-m", "daemon.cli")
LOCAL = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
CLOCK = SystemClock()
# In no list of users; it may read what root's tests need, and has no other right.
STRANGER = (
    *("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
    *("env", "-u", "HOME", "-u", "LOGNAME", "-u", "USER", "-u", "LNAME", "-u", "USERNAME"),
)
only_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root may mount and setpriv"
)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a real file system of 16 MiB there; yield the file that may fill it."""
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(folder))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder / "filler"
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def fill(filler: Path) -> None:
    """Write until the disk takes no byte more."""
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def configuration(folder: Path, venue: str) -> Path:
    path = folder / "hyperdrift.toml"
    path.write_text(
        f'[daemon]\ndata_dir = "{folder}/data"\n[[slots]]\ncoin = "BTC"\nhistory_days = 1\n'
        f"[mqtt]\nport = {free_port()}\n{venue}"
    )
    return path


async def until(look: Callable[[], Any], true: Callable[[Any], bool]) -> Any:
    """Look again and again until it is so; return what was seen."""
    async with asyncio.timeout(240):
        while True:
            try:
                seen = await look()
            except NoAnswer as e:
                seen = str(e)
            if true(seen):
                return seen
            await asyncio.sleep(0.1)


async def pause(config: Config, request: str = "pause") -> CommandReply:
    return await status_view.command(
        config, CLOCK, request, "BTC-5m", reason="", model_id="", by="alice"
    )


async def halt(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process by a signal, and wait until it stands."""
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "T":
        await asyncio.sleep(0.01)


async def accepted(config: Config, request: str) -> None:
    """Ask again and again until the daemon takes it."""
    await until(
        lambda: pause(config, request), lambda s: isinstance(s, CommandReply) and s.accepted
    )


@only_root
async def test_a_full_disk_and_a_stopped_daemon_are_told_as_such_by_status_command_and_doctor(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "data") as filler, exchange(1.0, 400) as venue:
        path = configuration(tmp_path, venue)
        config = loader.load(path)
        fill(filler)
        full = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh", *CLI, "run", "--config", str(path))
        daemon = subprocess.Popen(full, cwd=ROOT, env=LOCAL)
        who = f"the daemon (process {daemon.pid})"
        try:
            # At the start: nobody listens yet, and no log line can be written either.
            waits = f"{who} waits: the disk of {tmp_path}/data is full; make room there"
            assert await until(lambda: status_view.status(config, CLOCK), lambda s: s == waits)
            found = {check.name: check for check in await doctor.check_up(config, CLOCK)}
            assert found["daemon"].problem == waits

            filler.unlink()
            await accepted(config, "pause")

            fill(filler)
            refused = await pause(config, "resume")
            assert not refused.accepted
            assert refused.detail.startswith("not taken, the journal cannot be written: ")
            assert "full" in refused.detail
            filler.unlink()
            await accepted(config, "resume")

            await halt(daemon)
            halted = f"{who} is stopped by a signal: `kill -CONT {daemon.pid}` lets it go on"
            seen = await status_view.status(config, CLOCK)
            assert seen["status"]["trouble"] == halted
            with pytest.raises(NoAnswer, match="is stopped by a signal"):
                await pause(config)
            found = {check.name: check for check in await doctor.check_up(config, CLOCK)}
            assert found["daemon"].problem == halted
            assert not found["store"].problem
            assert not found["broker"].problem  # it is no other broker
        finally:
            daemon.send_signal(signal.SIGCONT)
            daemon.terminate()
            daemon.wait(60)
        fill(filler)  # what is stored can still be read
        assert "make room" in host_checks.disk(config).problem
        assert "schema" in host_checks.store(config).note


@only_root
def test_a_user_in_no_list_and_without_a_home_gets_an_answer_from_each_command(
    tmp_path: Path,
) -> None:
    path = configuration(tmp_path, "")

    def said(*words: str) -> tuple[int, str]:
        run = (*STRANGER, *CLI, *words)
        done = subprocess.run(
            run, cwd=tmp_path, env=LOCAL, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    code, line = said("command", "pause", "--slot", "BTC-5x", "--config", str(path))
    assert (code, line.count("\n")) == (2, 1)
    assert "interval '5x' is not one of" in line  # who asks is no trouble
    path.rename(tmp_path / "other")
    code, line = said("status")
    assert (code, line.count("\n")) == (2, 1)
    assert "this user has no home folder; set HOME, or write a whole path" in line


def test_no_channel_that_is_closed_or_full_ends_a_command_or_gets_into_a_file(
    tmp_path: Path,
) -> None:
    def keygen(name: str, channels: str) -> int:
        run = f'exec "$@" {channels}'
        words = (*CLI, "keygen", "--out", str(tmp_path / name))
        done = subprocess.run(("sh", "-c", run, "sh", *words), cwd=ROOT, env=LOCAL, check=False)
        return done.returncode

    assert keygen("closed", "0<&- >&- 2>&-") == 0
    assert (tmp_path / "closed.key").read_text().startswith("-----BEGIN PRIVATE KEY")
    code = f"exec {sys.executable} -m daemon.cli keygen --out {tmp_path / 'full'} >/dev/full"
    done = subprocess.run(
        ("sh", "-c", code), cwd=ROOT, env=LOCAL, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "hyperdrift: what this prints: No space left on device; make room on that disk\n"
    )


def test_a_configuration_in_a_closed_folder_is_one_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    configuration(closed, "").parent.chmod(0)
    bound = "-dac_override,-dac_read_search"
    strip = ("setpriv", f"--bounding-set={bound}", f"--inh-caps={bound}", "--")
    run = (*(strip if os.geteuid() == 0 else ()), *CLI, "status", "--config")
    done = subprocess.run(
        (*run, str(closed / "hyperdrift.toml")),
        env=LOCAL,
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o755)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be read (Permission denied); run this with sudo, or" in done.stderr


FOLLOW = """
import asyncio, sys
from pathlib import Path
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.process.folder_watch import FolderWatch
from tests.captured import capture_logs
from tests.daemon.runtime.test_trade_follower import BTC, Desk, line

async def main(folder):
    watch = FolderWatch(lambda: None)
    watch.start(), watch.follow(folder), watch.stop()
    store, file = ThreadedStore(Store.open_or_rebuild(folder / "db")), folder / "trades.jsonl"
    file.write_text(line("t1"))
    desk = Desk(store)
    with capture_logs() as logs:
        async with desk.following(file, BTC):
            print((await desk.next()).trade_id)
    for entry in logs:
        print(entry["event"], entry.get("remedy"))
    store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_without_inotify_a_bot_and_the_trades_go_on_and_one_line_says_which_limit_to_raise(
    tmp_path: Path,
) -> None:
    none = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'
    alone = ("unshare", "--user", "--map-root-user", "sh", "-c")
    if subprocess.run((*alone, none, "sh", "true"), capture_output=True, check=False).returncode:
        pytest.skip("no namespace of users can be made here")
    done = subprocess.run(
        (*alone, none, "sh", sys.executable, "-c", FOLLOW, str(tmp_path)),
        cwd=ROOT,
        env=LOCAL,
        capture_output=True,
        text=True,
        check=False,
    )
    first, *told = done.stdout.splitlines()
    assert first == "t1", done.stderr
    assert sum("trades.not_watched" in line for line in told) == 1
    assert "sysctl fs.inotify.max_user_instances" in told[0]


RETRAIN = """
import asyncio, sys, tempfile
from pathlib import Path
from daemon.training.jobs import Jobs, Limits
from hyperdrift.loaded_model import LoadedModel
from tests.daemon.small_retrain import interpreter
from tests.retrain.planted import planted

folder = Path(sys.argv[1])
try:
    Path("/tmp/probe").write_bytes(bytes(65_536))
except OSError as e:
    print(e.strerror)
spec = {"slot": "BTC-5m", "interval": "5m", "horizon_bars": 6, "threshold": 0.005, "at_ms": 1}
jobs = Jobs(folder / "jobs", Limits(interpreter(folder), nice=0, timeout_s=600))
done = asyncio.run(jobs.retrain("job-1", spec, dict(planted(3_000, seed=1)), lambda _: None))
print([gate["passed"] for gate in done.gates if gate["name"] == "loads"])
"""
READ_ONLY = """
set -e
mount --make-rprivate /
for place in /tmp /var/tmp; do mount --bind $place $place; mount -o remount,bind,ro $place; done
mount --bind "$1" "$1"; mount -o remount,bind,rw "$1"
shift; exec "$@"
"""
FULL = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -t tmpfs -o size=64k tmpfs /tmp
mkdir -p "$1"; mount --bind /mnt "$1"
dd if=/dev/zero of=/tmp/filler bs=1k 2>/dev/null || true
shift; exec "$@"
"""


@only_root
@pytest.mark.parametrize(
    ("script", "why"), [(READ_ONLY, "Read-only file system"), (FULL, "No space left on device")]
)
def test_a_retrain_needs_no_place_in_the_folder_for_temporary_files(
    tmp_path: Path, script: str, why: str
) -> None:
    if script == FULL and any(Path(place).is_relative_to("/tmp") for place in (ROOT, sys.prefix)):
        pytest.skip("the checkout lies in /tmp, which is covered here")
    words = ("unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path))
    if subprocess.run((*words, "true"), capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        (*words, sys.executable, "-c", RETRAIN, str(tmp_path)),
        cwd=ROOT,
        env=LOCAL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [why, "[True]"], done.stderr
