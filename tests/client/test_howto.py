"""The code of the how-tos is run as it stands there, with this test's addresses put in."""

import ast
import asyncio
import contextlib
import inspect
import re
import types
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.config import loader as configuration
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.deploy_hook import run_hook
from daemon.runtime.swap import SwapCoordinator
from hyperdrift.clock import SystemClock
from hyperdrift.loaded_model import load_version
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import PredictionMade
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_manifest
from tests.daemon.brokers import Embedded, until
from tests.daemon.versions import rows, write_version

PAGES = Path(__file__).parents[2] / "docs" / "howto"
SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
ROW = rows()[0].tolist()
T = 1_760_000_000_000
MOST_LINES = 10


def block(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def lines(code: str) -> int:
    """Count what a bot's author has to write: neither imports nor blank lines."""
    return sum(
        bool(line) and not line.startswith(("import ", "from ")) for line in code.split("\n")
    )


@dataclass
class Host:
    """The machine that a page speaks of: a broker, the models, the public key."""

    url: str
    root: Path
    heard: list[PredictionMade]

    @property
    def pointer(self) -> Path:
        return self.root / "models" / str(SLOT) / "LATEST.json"

    def here(self, code: str) -> str:
        for there, ours in (
            ("mqtt://127.0.0.1:1883", self.url),
            ("/etc/my-bot/hyperdrift.pub", str(self.root / "public.pem")),
            ("/var/lib/hyperdrift/models", str(self.root / "models")),
        ):
            code = code.replace(there, ours)
        return code

    def run(self, page: str) -> tuple[dict[str, Any], Any]:
        """Execute a page's code; return its names, and what to await if it awaits."""
        names: dict[str, Any] = {"features": ROW, "t": T}
        tree = compile(
            self.here(block(page, "python")), page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        function = types.FunctionType(tree, names)
        result = function()
        return names, result if inspect.iscoroutine(result) else None


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    broker = Embedded(tmp_path)
    await broker.start()
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    signer = Signer.load(tmp_path / "private.pem")
    registry = Registry(tmp_path / "models", signer)
    model_id = registry.adopt(SLOT, write_version(tmp_path / "candidate", 1))
    live = registry.deploy(SLOT, model_id, reason="t", by="t", at_ms=1_760_000_000_000)
    bus, heard = (
        MqttConnection(BrokerAddress.parse(broker.url), SystemClock()),
        list[PredictionMade](),
    )
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731 - said shortest so
    swap = SwapCoordinator(
        bus, TOPICS, SystemClock(), on_ack=nothing, on_silence=nothing, signer=signer
    )
    swap.order(SLOT, live, registry.pointer(SLOT), "test")
    made = Host(broker.url, tmp_path, heard)

    def hear(_topic: str, payload: bytes, _retained: bool) -> None:
        import msgspec

        heard.append(msgspec.json.decode(payload, type=PredictionMade))

    bus.subscribe(TOPICS.prediction(SLOT), hear)
    task = asyncio.create_task(bus.run())
    await bus.flush()
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await broker.stop()


def expected(host: Host) -> Any:
    return load_version(host.pointer).predict([ROW])[0]


@pytest.mark.parametrize("page", ["bot-asyncio.md", "bot-blocking.md", "bot-watcher.md"])
async def test_a_slot_put_into_a_bot_as_its_page_says_gives_the_models_probabilities(
    host: Host, page: str
) -> None:
    if page == "bot-asyncio.md":
        names, rest = host.run(page)
        await rest
    else:
        names, _ = await asyncio.to_thread(host.run, page)
    got = names["prediction"]
    np.testing.assert_allclose((got.p_down, got.p_neutral, got.p_up), expected(host), atol=1e-12)
    assert got.model_id == read_manifest(host.pointer).model_id
    if "publish_prediction" in block(page, "python"):
        await until(lambda: host.heard)
        assert (host.heard[0].t, host.heard[0].features) == (T, tuple(ROW))


async def test_a_loader_that_knows_four_keys_and_nothing_of_ours_gives_what_the_slots_give(
    host: Host,
) -> None:
    names, _ = await asyncio.to_thread(host.run, "bot-plain-loader.md")
    latest = names["latest"]
    assert {"meta_classifier", "calibrator", "feature_columns", "training_meta"} < set(latest)
    assert latest["calibrator"] is None
    plain = (names["p_down"], names["p_neutral"], names["p_up"])
    slot, _ = await asyncio.to_thread(host.run, "bot-watcher.md")
    got = slot["prediction"]
    assert plain == (got.p_down, got.p_neutral, got.p_up)
    ours = {name for name in names if getattr(names[name], "__module__", "").startswith("daemon")}
    assert ours == set()


def test_the_plain_page_loads_the_portable_form_too(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    model_id = registry.adopt(SLOT, write_version(tmp_path / "candidate", 1, portable=True))
    registry.deploy(SLOT, model_id, reason="t", by="t", at_ms=1_760_000_000_000)
    found = re.findall(
        r"```python\n(.*?)```", (PAGES / "bot-plain-loader.md").read_text(), re.DOTALL
    )
    said = []
    for code in found:
        names: dict[str, Any] = {"features": ROW}
        exec(code.replace("/var/lib/hyperdrift", str(tmp_path)), names)
        said.append((names["p_down"], names["p_neutral"], names["p_up"]))
    assert len(said) == 2
    assert said[0] == pytest.approx(said[1], abs=1e-12)


@pytest.mark.parametrize(
    "page",
    sorted({path.name for path in PAGES.glob("bot-*.md")} - {"bot-other-languages.md"}),
)
def test_no_page_asks_for_ten_lines(page: str) -> None:
    language = "toml" if page == "bot-on-deploy.md" else "python"
    assert lines(block(page, language)) < MOST_LINES


async def test_the_command_of_the_restart_page_is_what_runs_after_a_deploy(tmp_path: Path) -> None:
    text = block("bot-on-deploy.md", "toml").replace('"systemctl", "restart"', '"touch"')
    (tmp_path / "hyperdrift.toml").write_text(text.replace("bot-5m", str(tmp_path / "bot-5m")))
    command = configuration.load(tmp_path / "hyperdrift.toml", {}).swap.on_deploy
    assert await run_hook(command)
    assert (tmp_path / "bot-5m.service").exists()


def test_the_setting_of_the_keys_page_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "hyperdrift.toml").write_text(block("keys.md", "toml"))
    config = configuration.load(tmp_path / "hyperdrift.toml", {})
    assert config.mqtt.command_keys == ("/etc/hyperdrift/alice.pub",)
