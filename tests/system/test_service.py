"""The unit in a real systemd: ready, killed, starved, stopped, and what its neighbours may read.

One machine for all: a test finds the service as the one before left it, on the same data.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.system.exchange_process import exchange
from tests.system.systemd_ns import HOME, ROOT, Machine, machine, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "can run")

UNIT = "hyperdrift.service"
CONFIG = "/etc/hyperdrift/hyperdrift.toml"
DATA = "/var/lib/hyperdrift"
COMMAND = f"{HOME}/bin/hyperdrift"
SPEED = 300.0
HISTORY = 3000
# Where `hyperdrift.service` has minutes, so that one test need not wait for them.
IMPATIENT = "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=1s\n"
AFTER = "after.service"
# Holds the lock of a data folder as a command does that an operator runs.
HOLD = """
import sys, time
from pathlib import Path
from daemon.store.folder_lock import folder_lock
with folder_lock(Path(sys.argv[2])):
    time.sleep(600)
"""
BROKEN = """
from daemon import app, cli
async def run(*_):
    1 / 0
app.run = run
cli.main()
"""


def after_us() -> str:
    """Return a unit that begins after ours, as a bot's does."""
    unit = f"[Unit]\nWants={UNIT}\nAfter={UNIT}\n"
    return f"{unit}[Service]\nType=oneshot\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    """The replay exchange beside the machine; yields `[hyperliquid]`."""
    with exchange(SPEED, HISTORY) as section:
        yield section


@pytest.fixture(scope="module")
def host(venue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which everything of `systemd/` is installed."""
    with machine(tmp_path_factory.mktemp("host")) as made:
        for kind in ("sysusers", "tmpfiles"):
            text = (ROOT / "systemd" / f"hyperdrift.{kind}").read_text()
            made.write(f"/usr/lib/{kind}.d/hyperdrift.conf", text)
        made.run("systemd-sysusers")
        made.run("systemd-tmpfiles", "--create", "hyperdrift.conf")
        made.write(f"/etc/systemd/system/{UNIT}", (ROOT / "systemd" / UNIT).read_text())
        made.write(CONFIG, f"{example()}\n{venue}")
        made.run("chown", "root:hyperdrift", CONFIG)
        made.run("systemctl", "daemon-reload")
        yield made


def example() -> str:
    """Return the example configuration with ports that are free here."""
    text = (ROOT / "systemd" / "hyperdrift.toml").read_text()
    assert '\nbroker = "embedded"' in text
    assert ":8377" in text
    text = text.replace(":8377", f":{free_port()}")
    return text.replace("[mqtt]", f"[mqtt]\nport = {free_port()}").replace("= 180", "= 10")


@pytest.fixture
def service(host: Machine) -> Machine:
    """The machine with the service started; `systemctl start` returns once it is ready."""
    host.run("systemctl", "start", UNIT)
    return host


def processes(host: Machine) -> str:
    """Return the command lines of all that the service runs."""
    group = f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs"
    script = 'for p in $(cat "$0"); do tr "\\0" " " <"/proc/$p/cmdline"; done 2>/dev/null'
    return host.run("sh", "-c", f"[ -e {group} ] || exit 0; {script}", group)


def wait_for(holds: Callable[[], bool], within_s: float = 180.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def log_lines(host: Machine, invocation: str) -> list[dict[str, str]]:
    """Return what one run of the daemon wrote, parsed, each with its priority as `PRIORITY`."""
    text = host.journal("-o", "json", f"_SYSTEMD_INVOCATION_ID={invocation}")
    rows = [json.loads(line) for line in text.splitlines()]
    return [{**json.loads(r["MESSAGE"]), "PRIORITY": r["PRIORITY"]} for r in rows]


def stored(host: Machine) -> tuple[int, list[dict[str, str]]]:
    """Return how many bars are stored, and every stretch of them that is not as it should be."""
    options = ("--coin", "BTC", "--config", CONFIG, "--json")
    found = json.loads(host.run(COMMAND, "bars", "gaps", *options))
    return found["bars"], [s for s in found["stretches"] if s["kind"] == "missing"]


def test_the_units_hold_what_they_are_made_of_and_expose_little(host: Machine) -> None:
    unit = f"/etc/systemd/system/{UNIT}"
    assert host.run("systemd-analyze", "verify", "--recursive-errors=yes", unit) == ""
    said = host.run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"exposure level for \S+ (\d+\.\d)", said)
    assert exposure is not None
    assert float(exposure[1]) <= 1.5


def test_started_means_that_the_feed_is_live_and_the_status_says_what_it_does(
    service: Machine,
) -> None:
    collecting = "BTC-5m: no model yet, collecting bars: the first model needs 5000"
    assert service.shown(UNIT, "StatusText").startswith(collecting)
    before, missing = stored(service)
    assert before >= 10 * 288 - 1  # the history that was asked for; the newest may just be closing
    assert missing == []
    wait_for(lambda: stored(service)[0] > before)
    invocation = service.shown(UNIT, "InvocationID")
    wait_for(lambda: "daemon.ready" in {x["event"] for x in log_lines(service, invocation)})
    lines = log_lines(service, invocation)
    events = [line["event"] for line in lines]
    assert events.index("feed.stream_connected") < events.index("daemon.ready")
    assert {line["PRIORITY"] for line in lines if line["level"] == "info"} == {"6"}


def test_killed_it_is_back_at_once_and_no_bar_is_lost(service: Machine) -> None:
    first = service.shown(UNIT, "MainPID")
    killed_at = time.monotonic()
    service.run("kill", "-9", first)
    wait_for(lambda: service.shown(UNIT, "MainPID") not in {first, "0"})
    away_s = time.monotonic() - killed_at
    wait_for(lambda: service.shown(UNIT, "ActiveState") == "active")
    assert service.shown(UNIT, "RestartUSec") == "500ms"
    assert away_s < 60  # the rest is for a busy machine
    before, _ = stored(service)
    wait_for(lambda: stored(service)[0] > before)
    assert stored(service)[1] == []


def test_starved_of_its_heartbeat_it_is_started_again(host: Machine) -> None:
    impatient = f"/etc/systemd/system/{UNIT}.d/impatient.conf"
    host.write(impatient, IMPATIENT)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", UNIT)
    first = host.shown(UNIT, "MainPID")
    host.run("kill", "-STOP", first)
    wait_for(lambda: host.shown(UNIT, "MainPID") not in {first, "0"})
    wait_for(lambda: host.shown(UNIT, "ActiveState") == "active")
    said = host.journal("-o", "cat", "-u", UNIT, "_PID=1")
    assert "Watchdog timeout (limit 4s)!" in said
    assert "Failed with result 'watchdog'" in said
    host.run("systemctl", "stop", UNIT)
    host.run("rm", impatient)
    host.run("systemctl", "daemon-reload")


def test_stopped_in_the_middle_of_a_retrain_it_ends_cleanly_with_its_children(
    service: Machine,
) -> None:
    retrain = ("command", "retrain", "--slot", "BTC-5m", "--config", CONFIG)
    assert "accepted" in service.run(COMMAND, *retrain)
    wait_for(lambda: "python3 -m retrain" in processes(service))
    service.run("systemctl", "stop", UNIT)
    assert service.shown(UNIT, "TimeoutStopUSec") == "10s"  # after which the result is another
    assert service.shown(UNIT, "Result") == "success"
    assert processes(service) == ""
    service.run("systemctl", "start", UNIT)  # and goes on with that retrain, at once
    wait_for(lambda: "python3 -m retrain" in processes(service))
    service.run("systemctl", "stop", UNIT)


def test_reload_takes_what_can_change_and_names_what_cannot(service: Machine) -> None:
    whole, first = service.run("cat", CONFIG), service.shown(UNIT, "MainPID")
    service.write(CONFIG, whole + "[policy]\nmin_bars = 100000\n")
    service.run("systemctl", "reload", UNIT)
    log = ("-o", "cat", f"_PID={first}")
    wait_for(lambda: '"changed": ["policy.min_bars"]' in service.journal(*log))
    wait_for(lambda: "the first model needs 100000" in service.journal(*log))
    service.write(CONFIG, whole.replace("speed =", "weight_per_minute = 7\nspeed ="))
    service.run("systemctl", "reload", UNIT)
    wait_for(lambda: "hyperliquid.weight_per_minute: needs a restart" in service.journal(*log))
    assert service.shown(UNIT, "MainPID") == first
    service.write(CONFIG, whole)


def test_with_the_venue_away_a_boot_goes_on_and_a_reload_and_a_stop_work(host: Machine) -> None:
    host.run("systemctl", "stop", UNIT)
    whole = host.run("cat", CONFIG)
    away = re.sub(r"//127\.0\.0\.1:\d+", f"//127.0.0.1:{free_port()}", whole)
    host.write(CONFIG, away)
    host.run("systemctl", "enable", UNIT)
    host.write(f"/etc/systemd/system/{AFTER}", after_us())
    host.run("systemctl", "enable", AFTER)
    asked_at = time.monotonic()
    host.run("systemctl", "start", "multi-user.target")
    assert time.monotonic() - asked_at < 90  # fifteen seconds, and a busy machine
    assert host.shown("multi-user.target", "ActiveState") == "active"
    assert host.shown(AFTER, "Result") == "success"
    assert host.shown(UNIT, "ActiveState") == "active"
    wait_for(lambda: "Connect" in host.shown(UNIT, "StatusText"))
    assert host.shown(UNIT, "StatusText").startswith("waiting for the venue: ")
    host.write(CONFIG, away + "[policy]\nmin_bars = 70000\n")
    host.run("systemctl", "reload", UNIT)
    log = ("-o", "cat", f"_PID={host.shown(UNIT, 'MainPID')}")
    wait_for(lambda: '"changed": ["policy.min_bars"]' in host.journal(*log))
    host.run("systemctl", "stop", UNIT)
    assert host.shown(UNIT, "Result") == "success"
    host.run("systemctl", "disable", UNIT, AFTER)
    host.write(CONFIG, whole)


def test_while_a_command_holds_the_data_folder_it_waits_and_says_for_whom(host: Machine) -> None:
    host.run("systemctl", "stop", UNIT)
    host.write("/run/hold.py", HOLD)
    host.run("systemd-run", "--unit=holder", f"{HOME}/bin/python3", "/run/hold.py", "retrain", DATA)
    wait_for(lambda: host.run("cat", f"{DATA}/lock").endswith("hold.py retrain\n"))
    holder = host.shown("holder.service", "MainPID")
    host.run("systemctl", "start", "--no-block", UNIT)
    who = f"another hyperdrift (process {holder}) runs on {DATA} (hold.py retrain)"
    why = f"waiting for the data folder: {who}"
    wait_for(lambda: host.shown(UNIT, "StatusText").startswith(why))
    first, restarts = host.shown(UNIT, "MainPID"), host.shown(UNIT, "NRestarts")
    host.run("systemctl", "stop", "holder.service")
    wait_for(lambda: host.shown(UNIT, "StatusText").startswith("BTC-5m"))
    assert (host.shown(UNIT, "MainPID"), host.shown(UNIT, "NRestarts")) == (first, restarts)


def test_a_daemon_that_dies_again_and_again_ends_as_failed_and_says_of_what(host: Machine) -> None:
    host.run("systemctl", "stop", UNIT)
    limits = (host.shown(UNIT, "StartLimitBurst"), host.shown(UNIT, "StartLimitIntervalUSec"))
    assert limits == ("20", "10min")  # so one that dies within 29 s of each start ends, too
    unit = f"/etc/systemd/system/{UNIT}.d/broken.conf"
    broken = f"ExecStart=\nExecStart={HOME}/bin/python3 /run/broken.py run"
    host.write(unit, f"[Unit]\nStartLimitBurst=2\n[Service]\n{broken}\n")
    host.write("/run/broken.py", BROKEN)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", UNIT, check=False)
    wait_for(lambda: host.shown(UNIT, "ActiveState") == "failed")
    said = host.run("systemctl", "status", UNIT, check=False)
    assert 'Status: "failed: ZeroDivisionError: division by zero"' in said
    assert "Start request repeated too quickly" in said
    host.run("rm", unit)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "reset-failed", UNIT)


def test_stopped_while_it_fetches_bars_it_ends_cleanly(host: Machine, tmp_path: Path) -> None:
    host.run("systemctl", "stop", UNIT)
    whole, faults = host.run("cat", CONFIG), tmp_path / "faults.toml"
    faults.write_text(
        '[[faults]]\nkind = "slow"\nat_ms = 0\nfor_ms = 900_000_000\n'
        f"delay_ms = {round(1000 * SPEED)}\n"  # a second for each answer
    )
    with exchange(SPEED, HISTORY, "--faults", str(faults)) as section:
        slow = whole[: whole.index("[hyperliquid]")] + section
        host.write(CONFIG, slow.replace(f'"{DATA}"', f'"{DATA}/other"'))
        host.run("systemctl", "start", "--no-block", UNIT)
        fetching = "starting: fetching the bars that are missing"
        status = f"$(systemctl show --value -p StatusText {UNIT})"
        # Looked at inside, to stop it while it does so also on a slow machine.
        stop = f'until [ "{status}" = "{fetching}" ]; do :; done; systemctl stop {UNIT}'
        host.run("timeout", "180", "sh", "-c", stop)
    assert host.shown(UNIT, "Result") == "success"
    host.write(CONFIG, whole)
    host.run("rm", "-r", f"{DATA}/other")


def test_a_mistake_in_the_configuration_is_not_tried_again(host: Machine) -> None:
    host.run("systemctl", "stop", UNIT)
    whole = host.run("cat", CONFIG)
    host.write(CONFIG, whole.replace("[retrain]", "[retrain]\nnicest = 1"))
    assert "failed" in host.run("systemctl", "start", UNIT, check=False)
    assert host.shown(UNIT, "ExecMainStatus") == "2"
    assert host.shown(UNIT, "SubState") == "failed"
    said = host.journal("-o", "cat", "-u", UNIT, "-t", "hyperdrift", "-n", "1")
    assert "'nicest' is not a setting; did you mean 'nice'?" in said
    host.write(CONFIG, whole)
    host.run("systemctl", "reset-failed", UNIT)


def test_a_library_of_the_retrain_finds_what_it_looks_for_in_the_sandbox(host: Machine) -> None:
    ask = "import joblib; print(joblib.cpu_count(only_physical_cores=True))"
    unit = (ROOT / "systemd" / UNIT).read_text()
    unit = re.sub("ExecStart=.*", f"ExecStart={HOME}/bin/python3 -W error -c '{ask}'", unit)
    unit = re.sub("Restart=.*", "Restart=no", re.sub("Type=.*", "Type=oneshot", unit))
    host.write("/etc/systemd/system/probe.service", unit)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "probe.service")


def test_a_bot_reads_models_and_nothing_else(service: Machine) -> None:
    saved = f"umask 0027; mkdir -p {DATA}/models/BTC-5m; echo 1 >{DATA}/models/BTC-5m/LATEST.json"
    as_daemon = ("setpriv", "--reuid", "hyperdrift", "--regid", "hyperdrift", "--clear-groups")
    service.run(*as_daemon, "sh", "-c", saved)
    service.run("useradd", "--system", "bot")
    as_bot = ("setpriv", "--reuid", "bot", "--regid", "bot", "--groups", "hyperdrift-models")
    assert service.run(*as_bot, "cat", f"{DATA}/models/BTC-5m/LATEST.json") == "1\n"
    kept = (DATA, f"{DATA}/keys", f"{DATA}/keys/hyperdrift.key", CONFIG)
    files = service.run("sh", "-c", f"ls -d {DATA}/*.db* {DATA}/*.sqlite* 2>/dev/null", check=False)
    assert files
    for path in (*kept, *files.split()):
        service.run("ls", path)  # it is there
        read = 'if [ -d "$0" ]; then ls "$0"; else cat "$0"; fi'
        said = service.run(*as_bot, "sh", "-c", read, path, check=False)
        assert "Permission denied" in said, path
    for path in (f"{DATA}/models/x", f"{DATA}/models/BTC-5m/LATEST.json"):
        said = service.run(*as_bot, "sh", "-c", f"echo 2 >{path}", check=False)
        assert "Permission denied" in said, path

    service.write("/run/readable.toml", service.run("cat", CONFIG))
    for options in ((), ("--config", "/run/readable.toml")):
        command = (COMMAND, "bars", "gaps", "--coin", "BTC", *options)
        said = service.run("runuser", "-u", "nobody", "--", *command, check=False)
        assert re.fullmatch(r"hyperdrift: .*Permission denied.*; run this with sudo, or .*\n", said)


def test_the_bots_unit_gets_the_public_key_and_starts_after_the_service(service: Machine) -> None:
    text = (ROOT / "systemd" / "bot-5m.service").read_text()
    tell = "\nExecStart=/bin/sh -c 'cat %d/hyperdrift.pub; id -Gn'\nType=oneshot\nRestart=no\n"
    text = re.sub(r"\nExecStart=.*\n", tell, text)
    text = text.replace("Restart=always\n", "")
    service.write("/etc/systemd/system/bot-5m.service", text)
    service.run("sh", "-c", "id bot || useradd --system bot")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "start", "bot-5m.service")
    said = service.journal("-o", "cat", "-u", "bot-5m.service", "-t", "sh")
    key = Path(f"/proc/{service.pid}/root{DATA}/keys/hyperdrift.pub").read_text()
    assert key.strip().splitlines()[0] in said
    assert "hyperdrift-models" in said
    assert UNIT in service.shown("bot-5m.service", "After").split()
