"""What other users of the host can do to the service: a stranger, its bot, an operator.

They are real users beside the unit in a real systemd, one machine for all tests.
"""

import json
import re
import shutil
import socket
import textwrap
import time
from collections.abc import Iterator
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
PORT = free_port()
# What a stranger would say: a promotion, a refusal, a presence, a lost trade, an order, a flood.
FORGED = {
    "command": '{"command":"promote","model_id":"x","request_id":"f","issued_ms":1}',
    "model/ack": '{"swap_id":"s","model_id":"m","status":"refused","error":"x","bot_id":"bot"}',
    "bot/bot": '{"online":true,"bot_id":"bot","model_id":null,"python":"2.7","sklearn":"0.1"}',
    "trade": '{"trade_id":"1","side":"buy","opened_ms":1,"closed_ms":2,"pnl":-1}',
    "model": '{"swap_id":"s"}',
    "prediction": '{"t":0,"model_id":"m","p":[1,0,0]}',
}
JOIN = """
import asyncio

async def main():
SLOT
    await slot.start()
    for _ in range(1200):
        if slot.connected or slot._bus.trouble:
            break
        await asyncio.sleep(0.05)
    print("connected" if slot.connected else "refused", slot._bus.trouble)
    await slot.stop()

asyncio.run(main())
"""
SLOT = "SLOT"
TWO_LINES = """
    from hyperdrift import ModelSlot
    slot = ModelSlot("mqtt://127.0.0.1:PORT", "BTC-5m", bot_id="joined")
"""
IDLE = """
import socket, sys, time
held = []
for _ in range(300):
    held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
print("held", flush=True)
time.sleep(120)
"""
SQUAT = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print("listens", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            open("/tmp/heard", "ab").write(connection.recv(1000))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the service as `systemd/` has it, a stranger, a bot and an operator."""
    with exchange(300.0, 3000) as venue, machine(tmp_path_factory.mktemp("host")) as made:
        for kind in ("sysusers", "tmpfiles"):
            text = (ROOT / "systemd" / f"hyperdrift.{kind}").read_text()
            made.write(f"/usr/lib/{kind}.d/hyperdrift.conf", text)
        made.run("systemd-sysusers")
        made.run("systemd-tmpfiles", "--create", "hyperdrift.conf")
        made.write(f"/etc/systemd/system/{UNIT}", (ROOT / "systemd" / UNIT).read_text())
        text = (ROOT / "systemd" / "hyperdrift.toml").read_text()
        text = text.replace("[mqtt]", f"[mqtt]\nport = {PORT}").replace("= 180", "= 5")
        text = text.replace(":8377", f":{free_port()}")
        made.write(CONFIG, f"{text}\n{venue}")
        made.run("chown", "root:hyperdrift", CONFIG)
        made.run("chmod", "640", CONFIG)
        made.write("/run/config.toml", f"{text}\n{venue}")  # where a stranger got one from
        scripts = {"join": JOIN.replace(SLOT, TWO_LINES), "idle": IDLE, "squat": SQUAT}
        for name, script in scripts.items():
            made.write(f"/run/{name}.py", script.replace("PORT", str(PORT)))
        made.run("useradd", "mallory")
        made.run("useradd", "--groups", "hyperdrift-models", "thebot")
        made.run("useradd", "--groups", "hyperdrift", "alice")
        made.run("systemctl", "daemon-reload")
        made.run("systemctl", "start", UNIT)
        wait_until_ready(made)
        yield made


def wait_until_ready(host: Machine) -> None:
    until = time.monotonic() + 240
    while not host.shown(UNIT, "StatusText").startswith("BTC-5m:"):
        assert time.monotonic() < until, host.run("journalctl", "-u", UNIT, "-o", "cat")
        time.sleep(0.1)


def as_user(host: Machine, user: str, *command: str) -> str:
    return host.run("runuser", "-u", user, "--", *command, check=False)


def publish(host: Machine, user: str, topic: str, payload: str, *options: str) -> str:
    """Publish as a user of the host; return what `mosquitto_pub` said."""
    where = ("-h", "127.0.0.1", "-p", str(PORT), "-q", "1", "-t", f"hyperdrift/BTC-5m/{topic}")
    return as_user(host, user, "mosquitto_pub", *where, "-m", payload, *options)


def password(host: Machine, user: str) -> str:
    return host.run("cat", f"{DATA}/mqtt/{user}/password").strip()


def refusals(host: Machine) -> list[tuple[str, str]]:
    """Return the kind and the sentence of each line about a refusal."""
    lines = host.journal("-u", UNIT, "-o", "cat").splitlines()
    found = [json.loads(line) for line in lines if '"broker.refused"' in line]
    return [(entry["kind"], entry["why"]) for entry in found]


def refused(host: Machine, kind: str) -> list[str]:
    """Return the sentences about refusals of a kind, once there is one."""
    until = time.monotonic() + 90
    while not (found := [why for each, why in refusals(host) if each == kind]):
        assert time.monotonic() < until, refusals(host)
        time.sleep(0.1)
    return found


def journal(host: Machine) -> str:
    """Return the kinds and texts of the slot's journal."""
    script = (
        "import sqlite3,sys; db=sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True);"
        "print(db.execute('SELECT kind, body FROM journal').fetchall())"
    )
    return host.run("/usr/bin/python3", "-c", script, f"{DATA}/hyperdrift.sqlite")


def test_whatever_a_stranger_says_is_refused_and_changes_nothing(host: Machine) -> None:
    for topic, payload in FORGED.items():
        for login in ((), ("-u", "bot", "-P", "guessed"), ("-u", "operator"), ("-u", "daemon")):
            assert "not authorised" in publish(host, "mallory", topic, payload, "-r", *login)
    said = as_user(
        host, "mallory", "mosquitto_sub", "-p", str(PORT), "-t", "#", "-W", "60", "-h", "127.0.0.1"
    )
    assert "not authorised" in said
    told = refused(host, "login")
    assert len(told) == 1  # however often
    assert "put its user into group hyperdrift-models" in told[0]
    entries = journal(host)
    for word in ("CommandReceived", "SwapAcked", "BotSeen", "TradeClosed"):
        assert word not in entries


def test_a_stranger_is_told_the_group_that_it_is_not_in(host: Machine) -> None:
    said = as_user(host, "mallory", COMMAND, "status", "--config", "/run/config.toml")
    assert "you are not in group hyperdrift, so you may not read" in said
    assert "`sudo usermod -aG hyperdrift mallory`" in said
    assert said.count("\n") == 1
    said = as_user(host, "mallory", f"{HOME}/bin/python3", "/run/join.py")
    assert "refused it refuses a client without a user; you are not in group hyperdrift-m" in said


def test_a_stranger_reads_no_file_of_the_service_and_a_bot_no_password_but_its_own(
    host: Machine,
) -> None:
    files = host.run("find", DATA, "-type", "f").split()
    assert any(path.endswith("operator/password") for path in files)
    probe = 'for path in "$@"; do [ -r "$path" ] && echo "$path"; done; true'
    readable = as_user(host, "mallory", "sh", "-c", probe, "sh", *files, CONFIG)
    assert readable == ""
    readable = as_user(host, "thebot", "sh", "-c", probe, "sh", *files, CONFIG)
    assert readable == f"{DATA}/mqtt/bot/password\n"


def test_an_operator_commands_and_the_journal_says_no_more_than_it_knows(host: Machine) -> None:
    assert "daemon online" in as_user(host, "alice", COMMAND, "status", "--config", CONFIG)
    for name in ("pause", "resume"):
        given = (COMMAND, "command", name, "--slot", "BTC-5m", "--config", CONFIG)
        as_user(host, "alice", *given)
    entries = journal(host)
    assert entries.count("CommandReceived") == 2
    assert "unproven (alice)" in entries


def test_a_bot_joins_without_being_told_a_password_and_can_give_no_command(host: Machine) -> None:
    before = journal(host).count("CommandReceived")
    said = as_user(host, "thebot", f"{HOME}/bin/python3", "/run/join.py")
    assert said.endswith("connected \n")
    assert as_user(host, "alice", f"{HOME}/bin/python3", "/run/join.py").endswith("connected \n")
    login = ("-u", "bot", "-P", password(host, "bot"))
    payload = json.dumps(
        {"command": "pause", "request_id": "b", "issued_ms": int(time.time() * 1000)}
    )
    assert publish(host, "thebot", "command", payload, *login) == ""  # acknowledged and dropped
    assert publish(host, "thebot", "model", "{}", "-r", *login) == ""
    (denied,) = refused(host, "denied")
    assert "bot to hyperdrift/BTC-5m/command" in denied
    assert journal(host).count("CommandReceived") == before


def test_connections_that_say_nothing_keep_nobody_out(host: Machine) -> None:
    script = (
        f"runuser -u mallory -- /usr/bin/python3 /run/idle.py {PORT} >/run/held & "
        "until grep -q held /run/held; do sleep 0.1; done; "
        f"runuser -u alice -- {COMMAND} status --config {CONFIG}; kill $!"
    )
    assert "daemon online" in host.run("sh", "-c", script, check=False)
    assert len(refused(host, "flood")) == 1


def test_a_stranger_who_took_the_port_hears_no_password_and_stops_nothing(host: Machine) -> None:
    secrets = [password(host, user) for user in ("bot", "operator")]
    host.run("systemctl", "stop", UNIT)
    script = (
        f"runuser -u mallory -- /usr/bin/python3 /run/squat.py {PORT} >/run/squats & "
        "until grep -q listens /run/squats; do sleep 0.1; done; "
        f"timeout 180 {COMMAND} status --config {CONFIG}; systemctl start {UNIT}; "
        f"until systemctl status {UNIT} | grep 'Status: .BTC-5m'; do sleep 0.1; done; kill $!"
    )
    said = host.run("sh", "-c", script, check=False)
    heard = Path(f"/proc/{host.pid}/root/tmp/heard").read_bytes()
    assert heard  # it was spoken to, without a password
    assert not any(secret.encode() in heard for secret in secrets)
    assert "cannot be reached" in said
    assert len(refused(host, "port")) == 1
    until = time.monotonic() + 90  # its bars went on; now bots are reached again
    while "daemon online" not in as_user(host, "alice", COMMAND, "status", "--config", CONFIG):
        assert time.monotonic() < until


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the code of a page in order, each with its kind: sh, toml or python."""
    found = re.findall(r"^```(\w+)\n(.*?)^```|((?:^ {4}[^\n]*\n)+)", page, re.MULTILINE | re.DOTALL)
    return [(kind or "sh", code or textwrap.dedent(shell)) for kind, code, shell in found]


def follow_howto(host: Machine) -> str:
    """Do what the page on mosquitto says, to the letter; return its Python."""
    python = ""
    for kind, code in blocks((ROOT / "docs" / "howto" / "mosquitto.md").read_text()):
        if kind == "sh":
            host.run("bash", "-euc", code)
        elif kind == "toml":
            text = host.run("cat", CONFIG)
            assert text.count("[mqtt]") == 1
            text = re.sub(r"\[mqtt\]\n(.+\n)*", code, text)
            host.write(CONFIG, text)
        else:
            python = code
    return python


@pytest.fixture
def mosquitto(host: Machine) -> Machine:
    """The machine as the package leaves it, with what the page asks for."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("mosquitto is not installed")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8883)) == 0:
            pytest.skip("port 8883 is taken")
    for name in ("mosquitto.acl", "mosquitto.conf"):
        text = (ROOT / "systemd" / name).read_text()
        host.write(f"{HOME}/share/doc/hyperdrift/{name}", text)
    host.run("sh", "-c", "echo 127.0.0.1 broker.example >>/etc/hosts; id bot || useradd bot")
    return host


def test_the_page_on_mosquitto_holds_to_the_letter_and_each_forgery_is_refused(
    mosquitto: Machine,
) -> None:
    host, python = mosquitto, follow_howto(mosquitto)
    wait_until_ready(host)
    host.write("/run/join.py", JOIN.replace(SLOT, textwrap.indent(python, "    ")))
    said = as_user(host, "bot", f"{HOME}/bin/python3", "/run/join.py")
    assert said.endswith("connected \n")
    assert "daemon online" in as_user(host, "alice", COMMAND, "status", "--config", CONFIG)

    secure = ("-h", "broker.example", "-p", "8883", "--cafile", "/etc/my-bot/ca.crt")
    where = ("-q", "1", "-t", "hyperdrift/BTC-5m/command", "-m")
    known = host.run("cat", "/etc/my-bot/mqtt-password").strip()
    operator = host.run("cat", "/etc/hyperdrift/mqtt-operator").strip()
    forgers = {
        "stranger": (),
        "guesser": ("-u", "operator", "-P", known),
        "bot": ("-u", "bot", "-P", known),
        "operator": ("-u", "operator", "-P", operator),
    }
    answers: dict[str, str] = {}
    for name, login in forgers.items():
        payload = json.dumps(
            {"command": "pause", "request_id": name, "issued_ms": int(time.time() * 1000)}
        )
        answers[name] = host.run("mosquitto_pub", *secure, *login, *where, payload, check=False)
    assert "not authorised" in answers["stranger"]
    assert "not authorised" in answers["guesser"]
    assert answers["bot"] == answers["operator"] == ""  # acknowledged; the bot's is dropped
    wait_for_words(host, '"operator"')
    entries = journal(host)
    taken = [name for name in forgers if f'"request_id":"{name}"' in entries]
    assert taken == ["operator"]
    for path in ("/etc/my-bot/mqtt-password", "/etc/hyperdrift/mqtt-operator"):
        assert "Permission denied" in as_user(host, "mallory", "cat", path)
    host.run("systemctl", "stop", "mosquitto", UNIT)


def wait_for_words(host: Machine, words: str) -> None:
    until = time.monotonic() + 90
    while words not in journal(host):
        assert time.monotonic() < until, journal(host)
        time.sleep(0.1)
