"""A whole cycle on one machine: replay exchange, broker, daemon and paper bot, all real.

The daemon and the bot are processes of their own and know nothing of a demo: they talk
to the exchange in Hyperliquid's protocol and to each other over MQTT. This module only
sets the stage, watches the bus and, where the market gives no reason to retrain, asks
for one as an operator would.
"""

import asyncio
import contextlib
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from daemon.bars import Bar, Funding, Provenance, SlotName
from daemon.bus import BrokerAddress, Bus
from daemon.clock import Clock
from daemon.demo.cast import Actor
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate, load
from daemon.demo.recording import Recording
from daemon.demo.screen import Screen
from daemon.demo.story import Story
from daemon.errors import BadInput, DaemonError
from daemon.imports import open_store
from daemon.messages import Command
from daemon.registry import Registry
from daemon.signing import generate as generate_keys
from daemon.topics import Topics

SEED: Final = 10
START_MS: Final = 1_748_736_000_000
HISTORY_BARS: Final = 17_280  # 60 days of 5m, made up
STREAM_BARS: Final = 6_000
HISTORY_SHARE: Final = 0.7  # of a recording: the more past, the better the models
# The venue serves the newest 5000 bars; older ones come from a file, and both overlap.
IMPORT_OVERLAP: Final = 4_000
# Long enough for the first model to be trained and watched in the old regime.
CHANGE_AFTER: Final = 400
PATIENCE_BARS: Final = 400
SHORTEST: Final = 8_000
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose; `data` None is a made-up market, `timeout_s` 0 is for ever."""

    data: Path | None = None
    speed: float = 3000.0
    until_swap: bool = False
    timeout_s: float = 0.0
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went."""

    ended: str
    slot: str
    story: Story
    models: tuple[dict[str, Any], ...]
    checked_bars: int
    store_equal: bool
    elapsed_s: float

    @property
    def exit_code(self) -> int:
        """0 after what was asked for, 1 if it was not reached."""
        return 0 if self.ended in {"swap", "interrupted"} else 1

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "ended": self.ended,
            "slot": self.slot,
            "bars": self.story.bars,
            "predictions": self.story.predictions,
            "trades": self.story.trades,
            "retrains": [asdict(retrain) for retrain in self.story.retrains],
            "swaps": [asdict(swap) for swap in self.story.swaps],
            "models": list(self.models),
            "store": {"checked_bars": self.checked_bars, "equal_to_recording": self.store_equal},
            "elapsed_s": round(self.elapsed_s, 1),
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything stands."""

    folder: Path
    recording: Recording
    first_t: int
    options: Options
    mqtt_port: int

    @property
    def slot(self) -> SlotName:
        """The slot that is traded."""
        return SlotName(self.recording.coin, self.recording.interval)

    @property
    def data_dir(self) -> Path:
        """The daemon's data folder."""
        return self.folder / "data"

    @property
    def broker_url(self) -> str:
        """The daemon's embedded broker."""
        return f"mqtt://127.0.0.1:{self.mqtt_port}"


def load_recording(data: Path | None) -> Recording:
    """Read a recording, or make up the market of the demo.

    Raises:
        BadInput: If the file cannot be used.
    """
    if data is not None:
        return load(data)
    bars = HISTORY_BARS + STREAM_BARS
    change_at = HISTORY_BARS + CHANGE_AFTER
    return generate(bars, 300_000, SEED, start_ms=START_MS, change_at=change_at)


async def serve_exchange(
    recording: Recording, clock: Clock, *, port: int, speed: float, history: int
) -> None:
    """Replay a recording until cancelled, and say where.

    Raises:
        BadInput: If the port is taken or the speed is not positive.
    """
    start_ms = int(recording.t[history])
    async with ReplayExchange(
        (recording,), clock, speed=speed, start_ms=start_ms, port=port
    ) as exchange:
        screen = Screen(quiet=False)
        screen.tell(f"exchange of {recording.coin} {recording.interval} at {speed:g} x")
        screen.tell(f'rest_url = "{exchange.url}"')
        screen.tell(f'ws_url = "{exchange.ws_url}"')
        await asyncio.Event().wait()


async def run_demo(options: Options, clock: Clock) -> Summary:
    """Run until what was asked for happened; leave nothing behind.

    Raises:
        BadInput: If the recording cannot be used.
    """
    recording = await asyncio.to_thread(load_recording, options.data)
    if len(recording) < SHORTEST:
        msg = f"{options.data} has {len(recording)} bars; the demo needs {SHORTEST}"
        raise BadInput(msg)
    history = round(len(recording) * HISTORY_SHARE) if options.data else HISTORY_BARS
    folder = Path(tempfile.mkdtemp(prefix="hyperdrift-demo-"))
    try:
        stage = Stage(folder, recording, int(recording.t[history]), options, _free_port())
        return await _play(stage, clock)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _play(stage: Stage, clock: Clock) -> Summary:
    began = clock.monotonic()
    topics = Topics()
    with Screen(quiet=stage.options.quiet) as screen:
        screen.tell(_opening(stage))
        await asyncio.to_thread(_fill_store, stage)
        generate_keys(stage.data_dir / "keys" / "hyperdrift.key", _public_key(stage))
        story = Story(stage.slot, topics, screen.tell)
        async with contextlib.AsyncExitStack() as stack:
            exchange = ReplayExchange(
                (stage.recording,), clock, speed=stage.options.speed, start_ms=stage.first_t
            )
            await stack.enter_async_context(exchange)
            actors = _actors(stage, exchange)
            for actor in actors:
                await stack.enter_async_context(actor)
            bus = await stack.enter_async_context(_observer(stage, clock))
            story.listen(bus)
            operator = Operator(stage, story, bus, clock, screen)
            scene = _Scene(stage.options, story, screen, actors, exchange, operator, clock)
            ended = await scene.watch()
            checked, equal = await asyncio.to_thread(_compare_store, stage)
            models = await asyncio.to_thread(_models, stage)
        summary = Summary(
            ended, str(stage.slot), story, models, checked, equal, clock.monotonic() - began
        )
        screen.close(summary)
    return summary


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything that is watched while the demo plays."""

    options: Options
    story: Story
    screen: Screen
    actors: tuple[Actor, ...]
    exchange: ReplayExchange
    operator: "Operator"
    clock: Clock

    async def watch(self) -> str:
        """Follow the story until its end; return what ended it."""
        began = self.clock.monotonic()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self.story.changed.wait()
                self.story.changed.clear()
                self.screen.show(self.story)
                for actor in self.actors:
                    actor.check()
                self.operator.consider()
                if end := self._end(self.clock.monotonic() - began):
                    return end
        except asyncio.CancelledError:  # Ctrl-C: tell how far it came, then leave
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            return "interrupted"

    def _end(self, elapsed_s: float) -> str:
        caused = (swap.trigger not in {"", "first"} for swap in self.story.swaps)
        if self.options.until_swap and any(caused):
            return "swap"
        if 0 < self.options.timeout_s < elapsed_s:
            return "timeout"
        return "the recording is over" if self.exchange.finished else ""


class Operator:
    """Asks for a retrain where the market gives no reason for one."""

    def __init__(self, stage: Stage, story: Story, bus: Bus, clock: Clock, screen: Screen) -> None:
        self._stage, self._story, self._bus = stage, story, bus
        self._clock, self._screen = clock, screen
        # A made-up market changes; a recorded one may stay as it is for weeks.
        self._patience = PATIENCE_BARS + (CHANGE_AFTER if stage.options.data is None else 0)
        self._asked_at = 0

    def consider(self) -> None:
        """Send a command if nothing happened for long enough."""
        story = self._story
        idle = story.swaps and story.state.get("phase") in {"serving", "probation"}
        if not idle or story.bars - self._asked_at < self._patience:
            return
        self._asked_at = story.bars
        self._screen.tell(f"{'operator':>9}  no swap for a while: asking for a retrain over MQTT")
        request = Command(
            command="retrain",
            request_id=secrets.token_hex(8),
            reason="the demo's operator asked",
            issued_ms=self._clock.now_ms(),
        )
        self._bus.publish(Topics().command(self._stage.slot), request)


def _opening(stage: Stage) -> str:
    source = stage.options.data.name if stage.options.data else "a made-up market"
    return (
        f"{'demo':>9}  {stage.slot} from {source}: {_past(stage)} bars of history, "
        f"then {stage.options.speed:g} x real time"
    )


def _past(stage: Stage) -> int:
    return int((stage.recording.t < stage.first_t).sum())


def _fill_store(stage: Stage) -> None:
    """Import what lies beyond the venue's reach, as an owner with a file would."""
    rec, past = stage.recording, _past(stage)
    columns = (rec.t, rec.open, rec.high, rec.low, rec.close, rec.volume)
    rows = zip(*(c[: max(0, past - IMPORT_OVERLAP)].tolist() for c in columns), strict=True)
    known = rec.funding_t < stage.first_t
    rates = zip(rec.funding_t[known].tolist(), rec.funding_rate[known].tolist(), strict=True)
    with open_store(stage.data_dir) as store:
        store.put_bars(stage.slot, [Bar(*row) for row in rows], Provenance.IMPORT)
        store.put_funding(stage.slot.coin, [Funding(*rate) for rate in rates])


def _public_key(stage: Stage) -> Path:
    return stage.data_dir / "keys" / "hyperdrift.pub"


def _actors(stage: Stage, exchange: ReplayExchange) -> tuple[Actor, ...]:
    config = stage.folder / "hyperdrift.toml"
    config.write_text(_config(stage, exchange))
    daemon = Actor("daemon", ("-m", "daemon.cli", "run", "--config", str(config)), stage.folder)
    bot = Actor(
        "bot",
        (
            *("-m", "daemon.demo.bot", "--slot", str(stage.slot)),
            *("--venue-url", exchange.url, "--ws-url", exchange.ws_url),
            *("--speed", str(stage.options.speed), "--broker", stage.broker_url),
            *("--public-key", str(_public_key(stage))),
        ),
        stage.folder,
    )
    return daemon, bot


def _config(stage: Stage, exchange: ReplayExchange) -> str:
    """Write the settings; the limits of the policy are short, for a story of a few days."""
    threshold = '"auto"' if stage.options.data else "0.005"
    return f"""\
[daemon]
data_dir = "{stage.data_dir}"
[[slots]]
coin = "{stage.slot.coin}"
interval = "{stage.slot.interval}"
horizon_bars = 12
threshold = {threshold}
history_days = 180
[hyperliquid]
rest_url = "{exchange.url}"
ws_url = "{exchange.ws_url}"
speed = {stage.options.speed}
[mqtt]
port = {stage.mqtt_port}
[policy]
cooldown_hours = 6
max_retrains_per_day = 4
min_new_bars = 144
retry_bars = 144
probation_hours = 24
"""


@contextlib.asynccontextmanager
async def _observer(stage: Stage, clock: Clock) -> AsyncIterator[Bus]:
    bus = Bus(BrokerAddress.parse(stage.broker_url), clock, name="demo")
    task = asyncio.create_task(bus.run(), name="observer")
    try:
        yield bus
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _compare_store(stage: Stage) -> tuple[int, bool]:
    """Hold the streamed bars in the store against the recording, value for value."""
    rec = stage.recording
    with open_store(stage.data_dir, read_only=True) as store:
        stored = store.bars(stage.slot, from_t=stage.first_t)
    past, count = _past(stage), len(stored["t"])
    equal = all(
        (stored[name] == getattr(rec, name)[past : past + count]).all()
        for name in ("t", "open", "high", "low", "close", "volume")
    )
    return count, bool(equal)


def _models(stage: Stage) -> tuple[dict[str, Any], ...]:
    """Describe the versions, oldest first, for a look side by side."""
    try:
        versions = Registry(stage.data_dir / "models").versions(stage.slot)
    except DaemonError:
        return ()
    return tuple(asdict(version) for version in reversed(versions))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
