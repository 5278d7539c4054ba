"""The Debian package in a real systemd, by apt: installed, upgraded, removed, purged.

One machine for the whole story, because one whole installation with every pinned package
takes half a minute.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.exchange_process import exchange, free_port
from tests.system.systemd_ns import ROOT, Machine, machine, why_not

DEPENDENCIES = ("dpkg-query", "-W", "-f", "${db:Status-Status}", "python3-venv")


def why_no_apt() -> str:
    if shutil.which("dpkg-deb") is None:
        return "needs dpkg-deb"
    known = subprocess.run(DEPENDENCIES, capture_output=True, text=True, check=False).stdout
    return "" if known == "installed" else "needs python3-venv"


WHY_NOT = why_not() or why_no_apt()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
CONFIG = "/etc/hyperdrift/hyperdrift.toml"
DATA = "/var/lib/hyperdrift"
KEY = f"{DATA}/keys/hyperdrift.key"
PROGRAM = "/opt/hyperdrift/bin"
STORE = f"{DATA}/hyperdrift.sqlite"
AGE = """
import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript(
    "DROP INDEX chatter; DROP TABLE silences; DROP VIEW predictions; DROP INDEX scored_bars;"
    "ALTER TABLE flow DROP COLUMN seen; PRAGMA user_version = 1"
)
"""
OLDEST = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT min(t) FROM bars").fetchone()[0])
"""
OTHERS = ("env", "PYTHONPATH=/media/packages")  # the dependencies that were not fetched
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y")


def build(folder: Path) -> None:
    """Build the package as `make deb` does, and beside it one that is older and one that fails."""
    source = folder / "source"
    wanted = shutil.ignore_patterns(".*", "tests", "benchmarks", "*.egg-info", "dist", "build")
    shutil.copytree(ROOT, source, ignore=wanted)
    command = ("sh", "packaging/build.sh", sys.executable, str(folder))
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.deb")
    built.rename(folder / "new.deb")
    pinned = (source / "requirements.txt").read_text()
    one = re.search(r"^msgspec==.*(\n .*)*", pinned, re.MULTILINE)
    assert one is not None
    repack(folder, "old", "0.0.1", one[0] + "\n")
    repack(
        folder, "broken", "9.0.0", re.sub("sha256:[0-9a-f]+", "sha256:" + 64 * "0", one[0]) + "\n"
    )


def repack(folder: Path, name: str, version: str, requirements: str) -> None:
    """Write the package again with another version and list of requirements."""
    tree = folder / name
    subprocess.run(("dpkg-deb", "-R", folder / "new.deb", tree), check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub("Version: .*", f"Version: {version}", control.read_text()))
    (tree / "opt/hyperdrift/share/requirements.txt").write_text(requirements)
    pack = ("dpkg-deb", "--root-owner-group", "--build", tree, folder / f"{name}.deb")
    subprocess.run(pack, check=True, capture_output=True)


def install(host: Machine, name: str, *, check: bool = True) -> str:
    return host.run(*APT, "install", f"/media/hyperdrift/{name}.deb", check=check)


def at(venue: str) -> list[str]:
    """Return a `[hyperliquid]` section as environment, for the check-up of the first install."""
    pairs = (line.replace('"', "").split(" = ") for line in venue.splitlines()[1:])
    return [f"HYPERDRIFT_HYPERLIQUID__{key.upper()}={value}" for key, value in pairs]


def traces(host: Machine) -> str:
    """Return whatever of the machine bears our name, users and units too."""
    places = "/etc /opt /usr /lib/systemd /var /run/systemd"
    skipped = "-path /var/lib/dpkg -prune -o -path /var/log -prune -o"
    files = host.run("sh", "-c", f"find {places} {skipped} -name '*hyperdrift*' -print")
    files_of = "/etc/passwd /etc/group /etc/shadow /etc/gshadow"
    users = host.run("sh", "-c", f"grep -h hyperdrift {files_of}", check=False)
    units = host.run("systemctl", "list-units", "--all", "--plain", "hyperdrift*")
    return files + users + units


def age(host: Machine) -> None:
    """Make the store one that the first version wrote, with bars in it."""
    as_daemon = ("runuser", "-u", "hyperdrift", "--")
    bars = ("/media/hyperdrift/bars.csv", "--coin", "BTC", "--interval", "5m")
    host.run(*OTHERS, *as_daemon, "hyperdrift", "import", *bars)
    host.run(*as_daemon, "/usr/bin/python3", "-c", AGE, STORE)


def test_it_is_installed_upgraded_with_its_configuration_and_removed_without_a_trace(
    tmp_path: Path,
) -> None:
    build(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "bars.csv").write_text(
        "t,open,high,low,close,volume\n1735689600000,1,1,1,1,1\n1735689900000,1,1,1,1,1\n"
    )
    with machine(tmp_path, bare=True) as host, exchange(60.0, 3000) as venue:
        before = traces(host)
        host.run(*OTHERS, *at(venue), *APT, "install", "/media/hyperdrift/old.deb")
        assert host.run("stat", "-c", "%a %U %G", CONFIG).split() == ["640", "root", "hyperdrift"]
        models = host.run("stat", "-c", "%a %U %G", f"{DATA}/models").split()
        assert models == ["2750", "hyperdrift", "hyperdrift-models"]
        host.run(*OTHERS, "runuser", "-u", "hyperdrift", "--", "hyperdrift", "keygen")
        assert host.run("stat", "-c", "%a %U", KEY).split() == ["600", "hyperdrift"]

        mine = host.run("cat", CONFIG).replace("[mqtt]", f"[mqtt]\nport = {free_port()}")
        host.write(CONFIG, f"{mine}\n{venue}# mine\n")
        age(host)
        first = host.run("readlink", PROGRAM)
        said = install(host, "new")  # the whole of it, every pinned package
        assert "store          ok (2 bars, schema 1 of" in said
        assert "systemctl enable --now hyperdrift" in said
        assert host.run("tail", "-n1", CONFIG) == "# mine\n"
        assert host.run("readlink", PROGRAM) != first
        assert len(host.run("sh", "-c", "ls -d /opt/hyperdrift/env-*").split()) == 1

        host.run("systemctl", "enable", "--now", "hyperdrift")  # returns once it is ready
        found = json.loads(host.run("hyperdrift", "doctor", "--json"))
        assert found["ok"], found
        assert {c["name"] for c in found["checks"]} >= {"daemon", "venue", "broker", "store"}
        copies = host.run("ls", DATA).split()
        assert "hyperdrift.sqlite.v1" in copies
        assert host.run("/usr/bin/python3", "-c", OLDEST, STORE) == "1735689600000\n"

        runs = host.shown("hyperdrift.service", "MainPID")
        said = install(host, "broken", check=False)  # the old one goes on
        assert "packages could not be fetched" in said
        assert host.shown("hyperdrift.service", "MainPID") == runs
        assert json.loads(host.run("hyperdrift", "doctor", "--json"))["ok"]
        assert len(host.run("sh", "-c", "ls -d /opt/hyperdrift/env-*").split()) == 1

        host.run(*APT, "remove", "hyperdrift")
        assert host.shown("hyperdrift.service", "LoadState") == "not-found"
        assert host.run("tail", "-n1", CONFIG) == "# mine\n"
        assert "env-" not in host.run("ls", "/opt", "/opt/hyperdrift", check=False)
        host.run(*APT, "purge", "hyperdrift")
        assert traces(host) == before
