"""A real systemd as PID 1 of a namespace of its own, on a throw-away copy of this machine's root.

Units are installed, started, killed and starved as on a host, and nothing of it is left:
every write lands on a tmpfs. The network is the host's, or a namespace of `network_hosts`. Needs
root, overlayfs, util-linux and a cgroup2 hierarchy; `why_not` says what is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
PYTHON = Path("/usr/bin/python3")
ROOT = Path(__file__).parents[2]
HOME = Path("/opt/hyperdrift")
BOOT_S = 180.0
# What would touch the kernel, or run by a timer.
_MASKED = """systemd-modules-load.service kmod-static-nodes.service modprobe@.service
systemd-sysctl.service systemd-binfmt.service systemd-remount-fs.service systemd-udevd.service
systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket
sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount swap.target
proc-sys-fs-binfmt_misc.automount systemd-update-utmp.service timers.target
systemd-ask-password-console.path systemd-ask-password-wall.path systemd-networkd.service
systemd-resolved.service systemd-timesyncd.service systemd-logind.service"""
_PROBE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
"""
# $1 is the folder of this run, $2 the units to mask; the rest are pairs of folders to show inside.
_BOOT = """
set -eu
base=$1; masked=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$base"
mkdir "$base/up" "$base/work" "$base/root"
root=$base/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" "$root"
mount -t proc proc "$root/proc"
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
  touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm" "$root/dev/pts"; mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"; ln -s pts/ptmx "$root/dev/ptmx"
units=$root/etc/systemd/system
mkdir -p "$units" "$root/etc/systemd/journald.conf.d"
for unit in $masked; do ln -sf /dev/null "$units/$unit"; done
printf '[Journal]\\nStorage=volatile\\n' >"$root/etc/systemd/journald.conf.d/test.conf"
printf '[Unit]\\nRequires=systemd-journald.service\\nAfter=systemd-journald.service\\n' \
  >"$units/bare.target"
rm -f "$root/etc/fstab"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
hostname hyperdrift-test
while [ $# -gt 0 ]; do mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; shift 2; done
mkdir -p "$root/.old"; cd "$root"; pivot_root . .old; umount -l /.old
mount --make-rshared /  # as on a host: credentials come in by propagation
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  "$0" --system --unit=bare.target --log-target=journal --show-status=false
"""


@cache
def why_not() -> str:
    """Say why no systemd can be booted here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can make a namespace with a systemd"
    tools = ("unshare", "nsenter", "setsid")
    if not SYSTEMD.exists() or any(shutil.which(tool) is None for tool in tools):
        return "needs systemd and util-linux"
    if (cgroups := _cgroup_root()) is None or not os.access(cgroups, os.W_OK):
        return "no cgroup2 hierarchy is mounted, or it is not ours to write"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not PYTHON.exists() or version not in _said(str(PYTHON), "-V"):
        return f"the packages are of Python {version}, {PYTHON} is another one"
    probe = ("unshare", "--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc")
    if subprocess.run((*probe, "sh", "-ec", _PROBE), check=False, capture_output=True).returncode:
        return "namespaces or overlays are not allowed here"
    return ""


@dataclass(frozen=True)
class Machine:
    """The booted machine; `pid` is its systemd's, as the host counts."""

    pid: int
    folder: Path

    def inside(self, *command: str) -> tuple[str, ...]:
        """Return what to start here so that a command runs inside as root."""
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        spaces = ("--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--root", "--wd")
        enter = ("nsenter", "-t", str(self.pid), *spaces)
        return (*enter, "env", "-i", path, "LANG=C.UTF-8", *command)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside as root; return what it printed on both channels.

        Raises:
            AssertionError: If it fails and `check` is set.
        """
        done = subprocess.run(
            self.inside(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def journal(self, *options: str) -> str:
        """Return what journalctl finds, once all that was said by now is in the journal."""
        return self.run("sh", "-c", 'journalctl --sync && exec journalctl "$@"', "sh", *options)

    def write(self, path: str, text: str) -> None:
        """Write a file inside, making its folder."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"', "sh", path, text)

    def shown(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", what, unit).strip()


@contextmanager
def machine(folder: Path, *, bare: bool = False, prefix: Sequence[str] = ()) -> Iterator[Machine]:
    """Boot one with an environment of ours under /opt/hyperdrift; power it off at the end.

    Args:
        folder: A folder of this machine alone.
        bare: Whether it has nothing of ours; then /media/hyperdrift is `folder`, and
            /media/packages what the tests run on.
        prefix: Is put before what boots it, as `NetworkHost.prefix` is: its network.
    """
    cgroups = _cgroup_root()
    assert cgroups is not None
    group = Path(tempfile.mkdtemp(prefix="hyperdrift-test-", dir=cgroups))
    group.chmod(0o755)
    base = folder / "machine"
    base.mkdir()
    bare_places = {folder: Path("/media/hyperdrift"), _packages(): Path("/media/packages")}
    places = bare_places if bare else _environment(folder)
    shown = [str(part) for pair in places.items() for part in pair]
    # Its cgroup first, so that the namespace of cgroups begins there.
    enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    boot = subprocess.Popen(
        (
            *("sh", "-c", enter, "sh", str(group), *prefix),
            *("unshare", "--pid", "--fork", "--kill-child"),
            *("--mount", "--cgroup", "--uts", "--ipc"),
            *("bash", "-c", _BOOT, str(SYSTEMD), str(base), _MASKED, *shown),
        ),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _booted(boot, cgroups, folder)
    finally:
        boot.kill()  # and with it, by --kill-child, its systemd and everything inside
        boot.wait()
        _remove(group)


def _booted(boot: subprocess.Popen[bytes], cgroups: Path, folder: Path) -> Machine:
    """Wait until the machine is up."""
    children = Path(f"/proc/{boot.pid}/task/{boot.pid}/children")
    until = time.monotonic() + BOOT_S
    while time.monotonic() < until:
        time.sleep(0.05)
        assert boot.poll() is None, "the namespace ended while it was made"
        pids = children.read_text().split()
        if not pids or Path(f"/proc/{pids[0]}/comm").read_text() != "systemd\n":
            continue
        made = Machine(int(pids[0]), folder)
        if made.run("systemctl", "is-system-running", check=False).strip() in {
            "running",
            "degraded",
        }:
            # The waiting unshare is no process of that systemd's.
            (cgroups / "cgroup.procs").write_text(str(boot.pid))
            return made
    raise AssertionError(f"systemd did not come up in {BOOT_S:g} s")


def _environment(folder: Path) -> dict[Path, Path]:
    """Make an environment of the system's Python with our packages; return what to show where."""
    home = folder / "opt"
    packages = _packages()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / python / "site-packages"
    for made in (home / "bin", site):
        made.mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (home / "bin" / "python3").symlink_to(PYTHON)
    command = home / "bin" / "hyperdrift"
    command.write_text(f"#!{HOME}/bin/python3\nfrom daemon.cli import main\n\nmain()\n")
    command.chmod(0o755)
    (site / "shown.pth").write_text(f"{HOME}/packages\n{HOME}/source\n{HOME}/source/client\n")
    ours = {
        ROOT / name: HOME / "source" / name for name in ("client", "daemon", "monitor", "retrain")
    }
    return {home: HOME, packages: HOME / "packages", **ours}


def _packages() -> Path:
    return next(p for p in map(Path, sys.path) if p.name == "site-packages")


def _cgroup_root() -> Path | None:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)


def _remove(group: Path) -> None:
    """Remove a cgroup once the last process in it is gone."""
    for _ in range(600):
        for inner in sorted(group.rglob("*"), reverse=True):
            if inner.is_dir():
                _try_rmdir(inner)
        if _try_rmdir(group):
            return
        time.sleep(0.05)


def _try_rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
