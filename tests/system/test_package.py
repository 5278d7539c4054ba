"""The Debian package in a real systemd, by dpkg: installed, upgraded, removed, purged."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.systemd_ns import ROOT, Machine, machine, why_not

WHY_NOT = why_not() or ("" if shutil.which("dpkg-deb") else "needs dpkg-deb")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
CONFIG = "/etc/hyperdrift/hyperdrift.toml"
KEY = "/var/lib/hyperdrift/keys/hyperdrift.key"
OTHERS = ("env", "PYTHONPATH=/media/packages")  # the dependencies that were not fetched


def build(folder: Path, version: str) -> str:
    """Build the package of a copy of the source; return the file's name."""
    source = folder / f"source-{version}"
    wanted = shutil.ignore_patterns(".*", "tests", "benchmarks", "*.egg-info", "dist")
    shutil.copytree(ROOT, source, ignore=wanted)
    project = (source / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(
        project.replace('\nversion = "0.1.0"', f'\nversion = "{version}"')
    )
    # Fetching every dependency takes minutes: one of them, with its hashes, stands for all.
    pinned = (source / "requirements.txt").read_text()
    one = re.search(r"^msgspec==.*(\n .*)*", pinned, re.MULTILINE)
    assert one is not None
    (source / "requirements.txt").write_text(one[0] + "\n")
    command = ("sh", "packaging/build.sh", sys.executable, str(folder))
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return f"hyperdrift_{version}_all.deb"


def install(host: Machine, package: str) -> str:
    # The machine's dpkg may not know of python3-venv, whose files are there.
    options = ("--force-depends", "--force-confold", "--install")
    return host.run(*OTHERS, "dpkg", *options, f"/media/hyperdrift/{package}")


def test_it_is_installed_upgraded_with_its_configuration_and_removed_without_a_trace(
    tmp_path: Path,
) -> None:
    old, new = build(tmp_path, "0.1.0"), build(tmp_path, "0.2.0")
    with machine(tmp_path, bare=True) as host:
        before = traces(host)
        said = install(host, old)
        assert "store          ok" in said
        assert "folders        ok" in said
        assert host.run("stat", "-c", "%a %U %G", CONFIG).split() == ["640", "root", "hyperdrift"]
        models = host.run("stat", "-c", "%a %U %G", "/var/lib/hyperdrift/models").split()
        assert models == ["2750", "hyperdrift", "hyperdrift-models"]
        host.run("systemd-analyze", "verify", "hyperdrift.service")
        host.run(*OTHERS, "runuser", "-u", "hyperdrift", "--", "hyperdrift", "keygen")
        assert host.run("stat", "-c", "%a %U", KEY).split() == ["600", "hyperdrift"]

        host.run("sh", "-c", f"echo '# mine' >>{CONFIG}")
        first = host.run("readlink", "/opt/hyperdrift/bin")
        assert "keys           ok" in install(host, new)
        assert host.run("tail", "-n1", CONFIG) == "# mine\n"
        assert host.run("readlink", "/opt/hyperdrift/bin") != first
        assert len(host.run("sh", "-c", "ls -d /opt/hyperdrift/env-*").split()) == 1

        host.run("dpkg", "--remove", "hyperdrift")
        assert host.run("tail", "-n1", CONFIG) == "# mine\n"
        assert "env-" not in host.run("ls", "/opt", "/opt/hyperdrift", check=False)
        host.run("dpkg", "--purge", "hyperdrift")
        assert traces(host) == before


def traces(host: Machine) -> str:
    """Return whatever of the machine bears our name, users and units too."""
    places = "/etc /opt /usr/bin /usr/lib/sysusers.d /usr/lib/tmpfiles.d /lib/systemd /var/lib"
    files = host.run(
        "sh", "-c", f"find {places} -path /var/lib/dpkg -prune -o -name '*hyperdrift*' -print"
    )
    users = host.run("sh", "-c", "grep -h hyperdrift /etc/passwd /etc/group", check=False)
    units = host.run("systemctl", "list-units", "--all", "--plain", "hyperdrift*")
    return files + users + units
