"""A changed configuration is taken while the daemon runs, whole, or refused with the key."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from structlog.typing import EventDict

from daemon.config.reload import LIVE, SLOTS, Reload, changes
from daemon.config.schema import Config
from daemon.config.slot_entries import SlotEntry, with_followed
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings
from tests.captured import capture_logs

SLOT = SlotName("BTC", "5m")
OLD = Config()


@dataclass
class FakeRunner:
    """Writes down what it is given."""

    slot: SlotName = SLOT
    adopted: list[tuple[Config, PolicySettings]] = field(default_factory=list)

    def adopt(self, config: Config, settings: PolicySettings) -> None:
        self.adopted.append((config, settings))


@dataclass
class FakeSlots:
    """Writes down which slots it is to run; `fault` is why it cannot."""

    fault: str = ""
    carried_out: list[list[str]] = field(default_factory=list)

    def plan(self, config: Config) -> Config:
        if self.fault:
            raise ConfigError(self.fault)
        return config

    async def carry_out(self, plan: Config) -> None:
        self.carried_out.append([str(slot.name) for slot in plan.slots])


def changed(**sections: object) -> Config:
    return msgspec.convert({**msgspec.to_builtins(OLD), **sections}, Config)


async def reloaded(
    new: Config | ConfigError, runner: FakeRunner, slots: FakeSlots | None = None
) -> EventDict:
    """Ask once, by the real signal; return the line that answers."""

    def read() -> Config:
        if isinstance(new, ConfigError):
            raise new
        return new

    reload = Reload(OLD, read)
    if slots:
        reload.follow_slots(slots)
    with capture_logs() as logs, reload.listening():
        running = asyncio.create_task(reload.run({SLOT: runner}))
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    [line] = logs
    return line


async def test_limits_of_policy_gates_retrains_and_the_hook_change_at_once() -> None:
    runner = FakeRunner()
    new = changed(
        policy={"cooldown_hours": 3},
        gates={"calibrated": 0.1},
        swap={"on_deploy": ["true"]},
        retrain={**msgspec.to_builtins(OLD.retrain), "nice": 19},
    )
    line = await reloaded(new, runner)
    keys = ["gates.calibrated", "policy.cooldown_hours", "retrain.nice", "swap.on_deploy"]
    assert (line["event"], line["changed"]) == ("config.reloaded", keys)
    [(config, settings)] = runner.adopted
    assert config is new
    assert settings.cooldown_hours == 3.0


@pytest.mark.parametrize(
    ("new", "key"),
    [
        (changed(mqtt={"port": 1884}), "mqtt.port"),
        (changed(policy={"probation_hours": 1}), "policy.probation_hours"),
        (changed(retrain={"python": "/opt/bot/bin/python"}), "retrain.python"),
        (changed(daemon={"data_dir": "/x"}, policy={"min_bars": 1}), "daemon.data_dir"),
    ],
)
async def test_a_key_that_needs_a_restart_refuses_all_and_is_named(new: Config, key: str) -> None:
    runner = FakeRunner()
    line = await reloaded(new, runner)
    why = f"{key}: needs a restart; nothing of the file is used until then"
    assert (line["event"], line["why"]) == ("config.reload_refused", why)
    assert runner.adopted == []


async def test_slots_come_and_go_and_those_that_stay_are_told() -> None:
    runner, slots = FakeRunner(), FakeSlots()
    new = changed(slots=[{"coin": "ETH"}, {"coin": "BTC", "history_days": 30}])
    line = await reloaded(new, runner, slots)
    assert (line["event"], line["changed"]) == ("config.reloaded", ["[[slots]]"])
    assert slots.carried_out == [["ETH-5m", "BTC-5m"]]
    assert [config for config, _ in runner.adopted] == [new]


async def test_what_may_be_meant_otherwise_is_said_of_slots_that_a_reload_changes() -> None:
    entries = (SlotEntry(coin="ETH"), SlotEntry(coin=("ETH", "BTC"), interval="1h"))
    new = with_followed(msgspec.structs.replace(OLD, entries=entries), {})
    reload, slots = Reload(OLD, lambda: new), FakeSlots()
    reload.follow_slots(slots)
    with capture_logs() as logs:
        running = asyncio.create_task(reload.run({}))
        reload.ask()
        async with asyncio.timeout(60):
            while len(logs) < 2:
                await asyncio.sleep(0)
        running.cancel()
    assert [line["event"] for line in logs] == ["config.doubt", "config.reloaded"]
    assert 'coin = "ETH" without interval is ETH-5m' in logs[0]["why"]


async def test_slots_that_cannot_be_built_leave_everything_as_it_was() -> None:
    runner, slots = FakeRunner(), FakeSlots("[[slots]] take 1002 subscriptions")
    new = changed(slots=[{"coin": "ETH"}], policy={"min_bars": 1})
    line = await reloaded(new, runner, slots)
    assert (line["event"], line["why"]) == ("config.reload_refused", slots.fault)
    assert (runner.adopted, slots.carried_out) == ([], [])


async def test_a_change_of_slots_during_the_start_is_made_when_the_start_is_over() -> None:
    runner, slots = FakeRunner(), FakeSlots()
    reload = Reload(OLD, lambda: changed(slots=[{"coin": "BTC"}, {"coin": "ETH"}]))
    with capture_logs() as logs:
        running = asyncio.create_task(reload.run({SLOT: runner}))
        reload.ask()
        async with asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.01)
            assert runner.adopted == []
            reload.follow_slots(slots)
            while len(logs) == 1:
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert [line["event"] for line in logs] == ["config.reload_waits", "config.reloaded"]
    assert slots.carried_out == [["BTC-5m", "ETH-5m"]]


@pytest.mark.parametrize(
    "new",
    [
        ConfigError("hyperdrift.toml: is not TOML"),
        changed(gates={"calibratedd": 0.1}),
        changed(policy={"min_bars": -1}),
    ],
)
async def test_a_file_with_a_mistake_changes_nothing(new: Config | ConfigError) -> None:
    runner = FakeRunner()
    line = await reloaded(new, runner)
    assert line["event"] == "config.reload_refused"
    assert runner.adopted == []


def test_every_key_that_may_change_is_a_key() -> None:
    whole = msgspec.to_builtins(OLD)
    known = {
        f"{name}.{key}" for name in ("costs", "notify", "retrain", "swap") for key in whole[name]
    }
    known |= {f"policy.{key}" for key in PolicySettings.__dataclass_fields__}
    assert known | {SLOTS} >= LIVE


def test_the_page_on_the_service_names_the_keys_of_the_policy_that_take_a_restart() -> None:
    page = Path(__file__).parents[3] / "docs" / "howto" / "run-as-a-service.md"
    told = page.read_text().partition("of `[policy]` all but ")[2].partition(" change at once")[0]
    fixed = {key for key in PolicySettings.__dataclass_fields__ if f"policy.{key}" not in LIVE}
    assert set(re.findall(r"`(\w+)`", told)) == fixed


def test_no_key_differs_between_equal_configurations() -> None:
    assert changes(OLD, Config()) == []


HANGUP_WHILE_STARTING = """
import os, signal, sys
from daemon import cli
from daemon.config import loader as config
from hyperdrift.errors import ConfigError
def load(_path):
    os.kill(os.getpid(), signal.SIGHUP)
    raise ConfigError("still here")
config.load = load
sys.argv = ["hyperdrift", "run"]
cli.main()
"""


def test_a_reload_that_comes_while_the_daemon_starts_does_not_end_it() -> None:
    command = (sys.executable, "-c", HANGUP_WHILE_STARTING)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "still here" in done.stderr) == (2, True)
