"""The Debian package in a real systemd, by apt: installed, upgraded, removed, purged.

One machine for the whole story, because one whole installation with every pinned package
takes half a minute.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from daemon.store.migrations import SCHEMA
from tests.daemon.versions import write_version
from tests.ports import free_port
from tests.system.exchange_process import exchange
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
UNIT = "hyperdrift.service"
KEY = f"{DATA}/keys/hyperdrift.key"
PROGRAM = "/opt/hyperdrift/bin"
STORE = f"{DATA}/hyperdrift.sqlite"
# What is installed later changes the schema once more; its code can do without that change.
LATER = 'MIGRATIONS = (*MIGRATIONS, "CREATE TABLE later (x INTEGER) STRICT")\n'
OLDER = r"sed -i '/^SCHEMA: Final/i MIGRATIONS = MIGRATIONS[:-1]' "
CODE = "/opt/hyperdrift/env-*/lib/python3*/site-packages/daemon/store/migrations.py"
DEPLOY = """
import sys
from pathlib import Path
from hyperdrift.slot_name import SlotName
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
data, slot = Path(sys.argv[1]), SlotName("BTC", "5m")
registry = Registry(data / "models", own_signer(data), ring=trusted_keys(data))
model_id = registry.adopt(slot, Path(sys.argv[2]))
registry.deploy(slot, model_id, reason="a test", by="test", at_ms=1_750_000_000_000)
print(model_id)
"""
SCORED = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
scored = db.execute("SELECT body FROM journal WHERE kind = 'BarScored' ORDER BY seq")
bars = db.execute("SELECT * FROM bars ORDER BY t").fetchall()
version = db.execute("PRAGMA user_version").fetchone()[0]
print(json.dumps([version, [json.loads(body)["t"] for body, in scored], bars]))
"""
PAGE = """
from daemon.web.pages.renderer import STATIC, PageRenderer
from daemon.web.views import SignIn
print(PageRenderer().render("sign-in", SignIn(), signed_in=False, csrf="", now_ms=0))
print(*STATIC.iterdir())
"""
OTHERS = ("env", "PYTHONPATH=/media/packages")  # the dependencies that were not fetched
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y")


def build(folder: Path) -> None:
    """Build the package as `make deb` does, and beside it one that is older and one that fails."""
    source = folder / "source"
    wanted = shutil.ignore_patterns(".*", "tests", "benchmarks", "*.egg-info", "dist", "build")
    shutil.copytree(ROOT, source, ignore=wanted)
    schema = source / "daemon" / "store" / "migrations.py"
    schema.write_text(schema.read_text().replace("\nSCHEMA: Final", f"\n{LATER}SCHEMA: Final"))
    command = ("sh", "packaging/build.sh", sys.executable, str(folder))
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.deb")
    built.rename(folder / "new.deb")
    pinned = (source / "requirements.txt").read_text()
    one = re.search(r"^msgspec==.*(\n .*)*", pinned, re.MULTILINE)
    assert one is not None
    wheels(folder, one[0] + "\n")
    repack(folder, "old", "0.0.1", one[0] + "\n")
    repack(
        folder, "broken", "9.0.0", re.sub("sha256:[0-9a-f]+", "sha256:" + 64 * "0", one[0]) + "\n"
    )


def wheels(folder: Path, requirements: str) -> None:
    """Fetch packages as files, as `make wheels` does."""
    pinned = folder / "requirements.txt"
    pinned.write_text(requirements)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    where = ("--require-hashes", "--no-deps", "-r", pinned, "-d", folder / "wheels")
    subprocess.run((*pip, *where), check=True)


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


AS_DAEMON = ("runuser", "-u", "hyperdrift", "--")


def stored(host: Machine) -> tuple[int, list[int], list[Any]]:
    """Return the version of the store's schema, the times of bars scored, and all bars."""
    said = host.run(*AS_DAEMON, "/usr/bin/python3", "-c", SCORED, STORE)
    version, scored, bars = json.loads(said)
    return version, scored, bars


def live(host: Machine) -> str:
    """Return what the daemon says is live; a fault if it does not run."""
    said = json.loads(host.run("hyperdrift", "status", "--json"))
    assert said["status"]["state"] == "online", said
    return str(said["slots"]["BTC-5m"]["model_id"])


def wait_for_bars(host: Machine, count: int) -> list[int]:
    """Wait until so many bars were scored; return their times."""
    until = time.monotonic() + 180
    while len(scored := stored(host)[1]) < count:
        assert time.monotonic() < until, "no bar was scored"
        time.sleep(0.2)
    return scored


def start_an_older_one(host: Machine, folder: Path) -> str:
    """Have the daemon of an older version serve a model; return which."""
    version = write_version(folder / "version")
    host.run("sh", "-c", OLDER + CODE)
    where = f"/media/hyperdrift/version/{version.name}"
    python = (
        *OTHERS,
        *AS_DAEMON,
        f"/opt/hyperdrift/{host.run('readlink', PROGRAM).strip()}/python3",
    )
    model_id = host.run(*python, "-c", DEPLOY, DATA, where).strip()
    others = f"[Service]\nEnvironment={OTHERS[1]}\n"
    host.write("/run/systemd/system/hyperdrift.service.d/others.conf", others)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "--now", "hyperdrift")
    wait_for_bars(host, 2)
    host.run("rm", "-r", "/run/systemd/system/hyperdrift.service.d")
    return model_id


def it_is_upgraded_while_it_runs(host: Machine, folder: Path) -> None:
    """The old one goes on until all is fetched; the new one finds model, bars and settings."""
    model_id = start_an_older_one(host, folder)
    first, was = host.run("readlink", PROGRAM), host.shown(UNIT, "MainPID")
    older, _, bars = stored(host)
    install(host, "new")  # the whole of it, every pinned package
    assert host.shown(UNIT, "ActiveState") == "active"  # so it says that it is ready
    assert host.shown(UNIT, "MainPID") not in {was, "0"}
    assert host.run("tail", "-n1", CONFIG) == "# mine\n"
    assert host.run("readlink", PROGRAM) != first
    assert len(host.run("sh", "-c", "ls -d /opt/hyperdrift/env-*").split()) == 1
    it_takes_the_room_that_apt_tells_and_has_all_that_it_needs(host)

    found = json.loads(host.run("hyperdrift", "doctor", "--json"))
    assert found["ok"], found
    assert {c["name"] for c in found["checks"]} >= {"daemon", "venue", "broker", "store"}
    assert f"hyperdrift.sqlite.v{older}" in host.run("ls", DATA).split()
    assert live(host) == model_id
    scored = wait_for_bars(host, len(stored(host)[1]) + 2)
    assert set(map(int.__sub__, scored[1:], scored)) == {300_000}
    newer, _, bars_now = stored(host)
    assert (older, newer) == (SCHEMA, SCHEMA + 1)
    assert bars_now[: len(bars) - 1] == bars[:-1]


def it_takes_the_room_that_apt_tells_and_has_all_that_it_needs(host: Machine) -> None:
    told = int(host.run("dpkg-query", "-W", "-f", "${Installed-Size}", "hyperdrift"))
    takes = int(host.run("du", "-sk", "/opt/hyperdrift").split()[0])
    assert takes == pytest.approx(told, rel=0.1)
    as_nobody = ("runuser", "-u", "nobody", "--", f"{PROGRAM}/python")
    assert "Usage" in host.run(*as_nobody, "-m", "daemon.cli", "--help")
    page = host.run(*as_nobody, "-c", PAGE)
    assert "</html>" in page
    assert all(f"/{name}" in page for name in ("page.css", "live.js", "favicon.svg"))
    libraries = "pyarrow.feather, pyarrow.parquet, pyarrow.csv, pyarrow.compute, matplotlib.figure"
    more = "daemon.app, daemon.demo.market, retrain.__main__, numpy.testing, pip"
    said = host.run(*as_nobody, "-c", f"import {libraries}, {more}", check=False)
    assert said.strip().splitlines()[-1] == "ModuleNotFoundError: No module named 'pip'"


def test_it_is_installed_upgraded_while_it_runs_and_removed_without_a_trace(
    tmp_path: Path,
) -> None:
    build(tmp_path)
    tmp_path.chmod(0o755)
    with machine(tmp_path, bare=True) as host, exchange(60.0, 3000) as venue:
        before = traces(host)
        offline = ("HYPERDRIFT_WHEELS=/media/hyperdrift/wheels", "unshare", "--net")
        old = (*APT, "install", "/media/hyperdrift/old.deb")
        said = host.run(*OTHERS, *at(venue), "HYPERDRIFT_WHEELS=/nowhere", *old, check=False)
        assert "HYPERDRIFT_WHEELS=/nowhere is no folder" in said
        said = host.run(*OTHERS, *at(venue), *offline, *APT, "install", "-f")
        assert "systemctl enable --now hyperdrift" in said
        assert host.run("stat", "-c", "%a %U %G", CONFIG).split() == ["640", "root", "hyperdrift"]
        models = host.run("stat", "-c", "%a %U %G", f"{DATA}/models").split()
        assert models == ["2750", "hyperdrift", "hyperdrift-models"]
        token = host.run("stat", "-c", "%a %U %G", f"{DATA}/web/token").split()
        assert token == ["640", "hyperdrift", "hyperdrift"]  # before the first start
        host.run(*OTHERS, "runuser", "-u", "hyperdrift", "--", "hyperdrift", "keygen")
        assert host.run("stat", "-c", "%a %U", KEY).split() == ["600", "hyperdrift"]

        mine = host.run("cat", CONFIG).replace("[mqtt]", f"[mqtt]\nport = {free_port()}")
        mine = mine.replace(":8377", f":{free_port()}")
        host.write(CONFIG, f"{mine}\n{venue}# mine\n")
        it_is_upgraded_while_it_runs(host, tmp_path)

        runs = host.shown(UNIT, "MainPID")
        said = install(host, "broken", check=False)  # the old one goes on
        assert "packages could not be fetched" in said
        assert host.shown(UNIT, "MainPID") == runs
        assert json.loads(host.run("hyperdrift", "doctor", "--json"))["ok"]
        assert len(host.run("sh", "-c", "ls -d /opt/hyperdrift/env-*").split()) == 1

        host.run(*APT, "remove", "hyperdrift")
        assert host.shown(UNIT, "LoadState") == "not-found"
        assert host.run("tail", "-n1", CONFIG) == "# mine\n"
        assert "env-" not in host.run("ls", "/opt", "/opt/hyperdrift", check=False)
        host.run(*APT, "purge", "hyperdrift")
        assert traces(host) == before
