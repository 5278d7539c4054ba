"""A check-up of a real store, a real broker and the replay exchange, well and with each fault."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon import cli
from daemon.admin import doctor, host_checks
from daemon.admin.slot_checks import newest_bars
from daemon.config import loader as configuration
from daemon.config.schema import Config
from daemon.core.bars import Bar, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.mqtt.messages import DaemonStatus
from daemon.mqtt.passwords import own_passwords, password_path
from daemon.registry.keys import own_signer, private_path, public_path
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import open_store
from daemon.store.properties import record_venue
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.daemon.brokers import Embedded, Mosquitto, connection
from tests.daemon.secured import SecuredMosquitto

SLOT, TOPICS, BAR_MS = SlotName("BTC", "5m"), Topics(), 300_000
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Host:
    """A machine with a data folder as the first start leaves it."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.data_dir / "hyperdrift.sqlite"

    def start(self) -> None:
        open_store(self.data_dir).close()
        own_signer(self.data_dir)

    def config(self) -> Config:
        return configuration.load(self.write())

    def write(self) -> Path:
        path = self.folder / "hyperdrift.toml"
        path.write_text(f'[daemon]\ndata_dir = "{self.data_dir}"\n[[slots]]\ncoin = "BTC"\n')
        for key, value in self.settings.items():
            section, _, name = key.partition(".")
            path.write_text(f'{path.read_text()}[{section}]\n{name} = "{value}"\n')
        return path

    async def check_up(self) -> dict[str, host_checks.Check]:
        found = await doctor.check_up(self.config(), SystemClock())
        return {check.name: check for check in found}


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.start()
    return made


@contextlib.asynccontextmanager
async def exchange(late_ms: int = 0) -> AsyncIterator[tuple[str, str]]:
    """Hold a venue at the present; give its addresses, REST and stream."""
    clock = SystemClock()
    now = clock.now_ms()
    first = (now // BAR_MS - 300) * BAR_MS
    recording = generate(600, BAR_MS, seed=3, start_ms=first)
    async with ReplayExchange((recording,), clock, speed=1.0, start_ms=now - late_ms) as venue:
        yield venue.url, venue.ws_url


@pytest.fixture
async def venue(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with exchange() as urls:
        name_venue(monkeypatch, urls)
        yield


def name_venue(monkeypatch: pytest.MonkeyPatch, urls: tuple[str, str]) -> None:
    monkeypatch.setenv("HYPERDRIFT_HYPERLIQUID__REST_URL", urls[0])
    monkeypatch.setenv("HYPERDRIFT_HYPERLIQUID__WS_URL", urls[1])


@pytest.fixture
async def bus(machine: Host, tmp_path: Path) -> AsyncIterator[MqttConnection]:
    """Speak on the broker that the machine's configuration names."""
    broker = Embedded(tmp_path)
    await broker.start()
    machine.settings["mqtt.broker"] = broker.url
    try:
        async with connection(broker.url) as speaking:
            yield speaking
    finally:
        await broker.stop()


def online(**changes: object) -> DaemonStatus:
    said = {"version": version("hyperdrift"), "slots": (str(SLOT),), **changes}
    return DaemonStatus(state="online", **said)  # type: ignore[arg-type]


def problems(found: dict[str, host_checks.Check]) -> set[str]:
    return {name for name, check in found.items() if check.problem}


async def test_all_is_well_beside_a_daemon_and_a_bot(
    machine: Host, venue: None, broker: Mosquitto | Embedded
) -> None:
    machine.settings["mqtt.broker"] = broker.url
    async with connection(broker.url) as bus:
        sklearn = version("scikit-learn")
        bot = BotPresence(online=True, bot_id="my-bot", python="3.11.2", sklearn=sklearn)
        bus.publish(TOPICS.status, online(), retain=True)
        bus.publish(TOPICS.bot(SLOT, bot.bot_id), bot, retain=True)
        await bus.flush()
        found = await machine.check_up()
    assert problems(found) == set()
    assert doctor.exit_code(list(found.values())) == 0
    assert found["daemon"].note == f"version {version('hyperdrift')}, 1 slot"
    assert "my-bot" in found["bot"].note


async def test_all_is_well_before_the_first_start_and_nothing_is_made(
    tmp_path: Path, venue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERDRIFT_MQTT__PORT", "9")
    machine = Host(tmp_path)
    found = await machine.check_up()
    assert problems(found) == set()
    assert "not running" in found["daemon"].note
    assert not machine.data_dir.exists()


async def test_each_slot_has_a_line_for_its_newest_bar_also_while_the_daemon_is_down(
    machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERDRIFT_HYPERLIQUID__REST_URL", NOWHERE)
    now_ms = SystemClock().now_ms()
    config = machine.config()

    def line() -> host_checks.Check:
        (found,) = newest_bars(config, now_ms)
        assert found.name == "bars BTC-5m"
        return found

    def put(closed_min_ago: int, provenance: Provenance = Provenance.REST) -> None:
        t = now_ms - closed_min_ago * 60_000 - BAR_MS
        with open_store(machine.data_dir) as store:
            store.put_bars(SLOT, [Bar(t - t % BAR_MS, 1, 1, 1, 1, 1)], provenance)

    assert line().note.startswith("no bar yet")
    put(60)
    assert ", 1 h " in line().problem
    assert "`hyperdrift status` says what the slot lacks" in line().problem
    put(5, Provenance.FILLED)  # no bar of record
    assert line().problem
    put(5)
    assert not line().problem
    assert "the first model needs 5000: 2 are stored and 288 come a day" in line().note


async def test_a_store_of_another_venue_is_a_problem_of_the_store(machine: Host) -> None:
    with open_store(machine.data_dir) as store:
        record_venue(store, "testnet")
    assert "bars of testnet, and [hyperliquid] names" in host_checks.store(machine.config()).problem


async def test_a_daemon_of_another_version_or_with_other_slots_is_to_be_restarted(
    machine: Host, venue: None, bus: MqttConnection
) -> None:
    bus.publish(TOPICS.status, online(version="0.0.1"), retain=True)
    await bus.flush()
    assert "it is version 0.0.1" in (await machine.check_up())["daemon"].problem
    bus.publish(TOPICS.status, online(slots=("SOL-1h",)), retain=True)
    await bus.flush()
    found = await machine.check_up()
    assert (
        "it does not follow BTC-5m and still follows SOL-1h: `systemctl reload"
        in found["daemon"].problem
    )


async def test_a_daemon_that_ended_is_no_good_news_and_one_that_starts_says_how_far_it_is(
    machine: Host, venue: None, bus: MqttConnection
) -> None:
    bus.publish(TOPICS.status, DaemonStatus(state="offline"), retain=True)
    await bus.flush()
    found = await machine.check_up()
    assert found["daemon"].problem.startswith("it is not running: `systemctl start")
    assert doctor.exit_code(list(found.values())) == 1
    bus.publish(TOPICS.status, online(doing="starting: scoring"), retain=True)
    await bus.flush()
    assert (await machine.check_up())["daemon"].note.endswith("starting: scoring")


async def test_a_bot_that_could_not_load_the_next_model_is_named(
    machine: Host, venue: None, bus: MqttConnection
) -> None:
    bot = BotPresence(online=True, bot_id="old", python="3.11.2", sklearn="0.9.1")
    bus.publish(TOPICS.bot(SLOT, bot.bot_id), bot, retain=True)
    await bus.flush()
    found = await machine.check_up()
    assert "bot old has scikit-learn 0.9.1" in found["bot"].problem
    bot = BotPresence(online=True, bot_id="lost")
    bus.publish(TOPICS.bot(SLOT, "old"), BotPresence(online=False, bot_id="old"), retain=True)
    bus.publish(TOPICS.bot(SlotName("SOL", "1h"), "lost"), bot, retain=True)
    await bus.flush()
    assert "no [[slots]]" in (await machine.check_up())["bot"].problem


@pytest.mark.parametrize(
    ("said", "known", "words"),
    [
        ({"waiting_for": "the disk is away"}, {}, "bot b waits for a version: the disk is away"),
        ({}, {"online": False}, "bot b is a ghost"),
        ({}, {"silent_since_ms": 1_750_000_000_000}, "no prediction since 2025-06-15"),
    ],
)
@pytest.mark.usefixtures("venue")
async def test_a_bot_that_waits_is_a_ghost_or_is_silent_is_told_of_by_name(
    machine: Host, bus: MqttConnection, said: dict[str, Any], known: dict[str, Any], words: str
) -> None:
    for bot_id in ("a", "b"):
        presence = BotPresence(online=True, bot_id=bot_id, **(said if bot_id == "b" else {}))
        bus.publish(TOPICS.bot(SLOT, bot_id), presence, retain=True)
    fine = {"online": True, "silent_since_ms": None}
    bots = [{"bot_id": "a", **fine}, {"bot_id": "b", **fine, **known}]
    bus.publish(TOPICS.status, online(), retain=True)
    bus.publish(TOPICS.state(SLOT), {"bots": bots}, retain=True)
    await bus.flush()
    checks = await doctor.check_up(machine.config(), SystemClock())
    (problem,) = [check.problem for check in checks if check.name == "bot" and check.problem]
    assert words in problem


@pytest.mark.usefixtures("venue")
async def test_a_bot_with_other_features_is_a_problem_of_its_slot_that_names_the_column(
    machine: Host, bus: MqttConnection
) -> None:
    differs = {"t": 1_750_000_200_000, "column": "mom_1", "theirs": 0.1, "ours": None, "others": 2}
    bus.publish(TOPICS.status, online(), retain=True)
    state = {"trouble": "", "mismatch": {**differs, "bars": 3, "clean": 0}}
    bus.publish(TOPICS.state(SLOT), state, retain=True)
    await bus.flush()
    problem = (await machine.check_up())["slot BTC-5m"].problem
    assert problem.startswith("the bot's features are not the daemon's: mom_1 and 2 more columns")
    bus.publish(TOPICS.state(SLOT), {"mismatch": {"column": 5}}, retain=True)  # of another version
    await bus.flush()
    assert "slot BTC-5m" not in await machine.check_up()


async def test_another_daemon_on_the_prefix_is_told_of(
    machine: Host, venue: None, bus: MqttConnection
) -> None:
    told = online(trouble="another daemon (on h, process 4)")
    bus.publish(TOPICS.status, told, retain=True)
    await bus.flush()
    assert (await machine.check_up())["daemon"].problem.startswith("another daemon (on h")


async def test_a_strange_broker_on_the_embedded_brokers_port_is_found(
    machine: Host, venue: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Embedded(tmp_path)
    await broker.start()
    monkeypatch.setenv("HYPERDRIFT_MQTT__PORT", broker.url.rpartition(":")[2])
    try:
        assert "another broker" in (await machine.check_up())["broker"].problem
    finally:
        await broker.stop()


async def test_a_wrong_password_is_told_from_a_broker_that_is_away(
    machine: Host, venue: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = SecuredMosquitto(tmp_path)
    await broker.start()
    machine.settings["mqtt.broker"] = broker.url
    monkeypatch.setenv("HYPERDRIFT_MQTT__CA_FILE", str(broker.ca_file))
    wrong = broker.password_file("bot")
    monkeypatch.setenv("HYPERDRIFT_MQTT__PASSWORD_FILE", str(wrong))
    try:
        found = await machine.check_up()
        assert "it refuses user 'hyperdrift'" in found["broker"].problem
        right = broker.password_file("hyperdrift")
        monkeypatch.setenv("HYPERDRIFT_MQTT__PASSWORD_FILE", str(right))
        assert problems(await machine.check_up()) == {"daemon"}  # there is none to ask
    finally:
        await broker.stop()
    found = await machine.check_up()
    assert found["broker"].unreachable
    assert "nothing listens there; start the broker" in found["broker"].problem
    assert doctor.exit_code(list(found.values())) == 4


async def test_a_clock_that_is_off_is_to_be_set(
    machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERDRIFT_MQTT__PORT", "9")
    async with exchange(late_ms=60_000) as urls:
        name_venue(monkeypatch, urls)
        found = await machine.check_up()
    assert problems(found) == {"clock", "daemon"}
    assert "60 s ahead of the venue: `timedatectl set-ntp true`" in found["clock"].problem
    assert doctor.exit_code(list(found.values())) == 1


async def test_a_coin_that_the_venue_does_not_know_is_named(machine: Host, venue: None) -> None:
    path = machine.write()
    path.write_text(path.read_text().replace("BTC", "BTX"))
    found = await doctor.check_up(configuration.load(path), SystemClock())
    assert any("no perp 'BTX'" in check.problem for check in found)


def test_the_command_ends_with_4_where_the_venue_is_away_and_2_for_a_wrong_key(
    machine: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERDRIFT_MQTT__PORT", "9")
    monkeypatch.setenv("HYPERDRIFT_HYPERLIQUID__REST_URL", NOWHERE)
    path = str(machine.write())
    monkeypatch.setattr(sys, "argv", ["hyperdrift", "doctor", "--config", path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert ended.value.code == 4
    assert lines["store"].startswith("ok (0 bars, schema")
    assert "127.0.0.1:9/info does not answer" in lines["venue"]
    monkeypatch.setenv("HYPERDRIFT_MQTT__PROT", "9")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "did you mean 'port'" in capsys.readouterr().err


def test_a_damaged_and_an_older_store_are_told_apart(machine: Host) -> None:
    with contextlib.closing(sqlite3.connect(machine.store)) as db:
        db.execute("PRAGMA user_version = 1")
    assert "schema 1 of" in host_checks.store(machine.config()).note
    machine.store.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    problem = host_checks.store(machine.config()).problem
    assert "begins a new one" in problem
    assert "\n" not in problem


def test_a_data_folder_that_cannot_be_made_is_named(
    machine: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HYPERDRIFT_DAEMON__DATA_DIR", str(tmp_path / "file" / "data"))
    assert "file is not a folder: write another" in host_checks.folders(machine.config()).problem


def test_a_data_folder_on_a_read_only_file_system_is_named(machine: Host) -> None:
    mount = ("mount", "-t", "tmpfs", "-o", "ro,mode=755", "tmpfs", str(machine.data_dir))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        assert "mounted read-only: `mount -o rem" in host_checks.folders(machine.config()).problem
    finally:
        subprocess.run(("umount", str(machine.data_dir)), check=True)


@pytest.mark.parametrize("name", ["lock", "models", "hyperdrift.sqlite"])
def test_what_everybody_may_write_is_named(machine: Host, name: str) -> None:
    path = machine.data_dir / name
    path.touch()
    assert host_checks.folders(machine.config()).problem == ""
    path.chmod(0o666)
    assert host_checks.folders(machine.config()).problem.endswith(f"`chmod o-w {path}`")


def test_a_password_that_everybody_may_read_is_named(machine: Host) -> None:
    own_passwords(machine.data_dir)
    assert host_checks.folders(machine.config()).problem == ""
    path = password_path(machine.data_dir, "operator")
    path.chmod(0o644)
    said = f"everybody may read {path}: remove it, and restart the daemon for a new one"
    assert host_checks.folders(machine.config()).problem == said


def test_a_broker_that_is_open_to_everybody_is_a_fault(machine: Host) -> None:
    config, address = machine.config(), BrokerAddress("127.0.0.1", 1883)
    assert doctor._broker_check(config, address).problem == ""
    mqtt = msgspec.structs.replace(config.mqtt, anonymous=True)
    found = doctor._broker_check(msgspec.structs.replace(config, mqtt=mqtt), address)
    assert found.problem.endswith("remove mqtt.anonymous once your bots log in")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_root_left_behind_is_named(machine: Host) -> None:
    os.chown(machine.data_dir, 12345, 12345)
    assert "is not 12345's: `chown -R 12345" in host_checks.folders(machine.config()).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_that_became_roots_is_given_back_and_not_its_files_to_root(machine: Host) -> None:
    for path in (machine.store, machine.data_dir / "keys", *(machine.data_dir / "keys").iterdir()):
        os.chown(path, 12345, 12345)
    problem = host_checks.folders(machine.config()).problem
    assert problem.endswith(f"`chown 12345 {machine.data_dir}`")


def test_a_private_key_that_others_may_read_is_named(machine: Host) -> None:
    assert host_checks.keys(machine.config()).problem == ""
    private = private_path(machine.data_dir)
    private.chmod(0o640)
    assert f"`chmod 600 {private}`" in host_checks.keys(machine.config()).problem


def test_a_public_key_of_another_pair_and_a_broken_one_are_found(
    machine: Host, tmp_path: Path
) -> None:
    public = public_path(machine.data_dir)
    generate_keys(tmp_path / "other.key", tmp_path / "other.pub")
    public.write_bytes((tmp_path / "other.pub").read_bytes())
    assert "is not the key of" in host_checks.keys(machine.config()).problem
    private_path(machine.data_dir).write_bytes(b"rubbish")
    assert "(it is no private key): put it back" in host_checks.keys(machine.config()).problem
    private_path(machine.data_dir).unlink()
    assert "is gone and hyperdrift.pub is not" in host_checks.keys(machine.config()).problem


def test_a_disk_without_room_is_found(machine: Host) -> None:
    assert host_checks.disk(machine.config()).problem == ""
    with machine.store.open("r+b") as store:
        store.truncate(1 << 43)  # sparse: a store that no disk could hold a copy of
    assert "make room" in host_checks.disk(machine.config()).problem
