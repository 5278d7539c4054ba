"""What a person asks for while the daemon has the folder goes through the daemon."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.admin.manual_deploy import DeployRequest, ManualDeploy
from daemon.config.schema import Config, DaemonSection, MqttSection
from daemon.core.errors import Declined
from daemon.mqtt.messages import Command, CommandReply, encode
from daemon.registry.keys import command_keys, own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.registry.signing import generate
from daemon.runtime.commands import CommandHandler
from daemon.store.folder_lock import folder_lock
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.daemon.brokers import Embedded
from tests.daemon.versions import write_version

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
NOW = 1_760_000_000_000
WISH = DeployRequest(slot=SLOT, by="alice", reason="I know why")


@dataclass
class Daemon:
    """As much of a daemon as an operator sees: it owns the folder, checks, moves, replies."""

    config: Config
    registry: Registry
    ids: list[str]
    declines: str = ""
    heard: tuple[str, str, str] | None = None


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    broker = Embedded(tmp_path)
    await broker.start()
    data_dir, clock = tmp_path / "data", SystemClock()
    generate(tmp_path / "alice.key", tmp_path / "alice.pub")
    config = Config(
        daemon=DaemonSection(data_dir=str(data_dir)),
        mqtt=MqttSection(broker=broker.url, command_keys=(str(tmp_path / "alice.pub"),)),
    )
    registry = Registry(data_dir / "models", own_signer(data_dir), ring=trusted_keys(data_dir))
    ids = [registry.adopt(SLOT, write_version(tmp_path / str(n), n)) for n in (1, 2)]
    registry.deploy(SLOT, ids[0], reason="first", by="hyperdrift", at_ms=NOW)
    made = Daemon(config, registry, ids)
    bus = MqttConnection(BrokerAddress.parse(broker.url), clock, encode=encode)

    def answer(_slot: SlotName, reply: CommandReply) -> None:
        bus.publish(TOPICS.reply(SLOT), reply)

    def submit(_slot: SlotName, command: Command, by: str) -> bool:
        made.heard = (command.command, command.reason, by)
        if not made.declines:
            registry.deploy(SLOT, command.model_id, reason=command.reason, by=by, at_ms=NOW)
        request_id, accepted = command.request_id, not made.declines
        detail = made.declines or "promoting it"
        answer(SLOT, CommandReply(request_id=request_id, accepted=accepted, detail=detail))
        return True

    desk = CommandHandler([SLOT], clock, submit, answer, keys=command_keys(config))
    bus.subscribe(TOPICS.command(SLOT), lambda _t, body, kept: desk.take(SLOT, body, retained=kept))
    task = asyncio.create_task(bus.run())
    await bus.wait_connected()
    with folder_lock(data_dir):
        yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await broker.stop()


async def test_a_promotion_is_asked_for_signed_and_done_when_the_pointer_has_moved(
    daemon: Daemon, tmp_path: Path
) -> None:
    bench = ManualDeploy(daemon.config, SystemClock(), tmp_path / "alice.key")
    moved = await bench.promote(WISH, daemon.ids[1])
    assert (moved.model_id, moved.previous_id) == (daemon.ids[1], daemon.ids[0])
    assert moved.through == "the daemon"
    assert daemon.heard == ("promote", "I know why", "alice")


async def test_without_a_key_of_their_own_those_who_may_read_the_daemons_sign_with_that(
    daemon: Daemon,
) -> None:
    await ManualDeploy(daemon.config, SystemClock()).promote(WISH, daemon.ids[1])
    assert daemon.heard == ("promote", "I know why", "hyperdrift")


async def test_a_strangers_key_and_a_daemon_that_declines_change_nothing(
    daemon: Daemon, tmp_path: Path
) -> None:
    generate(tmp_path / "mallory.key", tmp_path / "mallory.pub")
    bench = ManualDeploy(daemon.config, SystemClock(), tmp_path / "mallory.key")
    with pytest.raises(Declined, match=r"not of a key in mqtt\.command_keys"):
        await bench.promote(WISH, daemon.ids[1])
    daemon.declines = "a deploy is under way"
    with pytest.raises(Declined, match="a deploy is under way"):
        await ManualDeploy(daemon.config, SystemClock()).promote(WISH, daemon.ids[1])
    live = daemon.registry.live(SLOT)
    assert live is not None
    assert live.model_id == daemon.ids[0]
