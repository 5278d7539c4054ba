"""A whole cycle on one machine: replay exchange, broker, daemon and paper bot, all real.

The daemon and the bot are processes of their own and know nothing of a demo: they talk
to the exchange in Hyperliquid's protocol and to each other over MQTT. This module only
sets the stage, watches the bus and, where the market gives no reason to retrain, asks
for one as an operator would.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.core.tasks import running
from daemon.demo.event_log import DemoSummary, EventLog
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Fault, Touched
from daemon.demo.processes import DemoProcess
from daemon.demo.recording import Recording
from daemon.demo.screen import Screen
from daemon.demo.setup import (
    CHANGE_AFTER,
    DemoSetup,
    Options,
    compare_store,
    describe_models,
    set_stage,
    write_config,
)
from daemon.mqtt.messages import Command, encode
from hyperdrift.clock import Clock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics

PATIENCE_BARS: Final = 400
_LOOK_S: Final = 0.5


async def serve_exchange(
    recording: Recording,
    clock: Clock,
    *,
    port: int,
    speed: float,
    history: int,
    faults: Sequence[Fault] = (),
) -> None:
    """Replay a recording until cancelled, with the faults of a script, and say where.

    Raises:
        BadInput: If the port is taken, the speed is not positive or a fault names another coin.
    """
    start_ms = int(recording.t[history])
    async with ReplayExchange(
        (recording,), clock, speed=speed, start_ms=start_ms, faults=faults, port=port
    ) as exchange:
        screen = Screen(quiet=False)
        screen.tell(f"exchange of {recording.coin} {recording.interval} at {speed:g} x")
        screen.tell(f'rest_url = "{exchange.url}"')
        screen.tell(f'ws_url = "{exchange.ws_url}"')
        if faults:
            screen.tell(f"{len(faults)} faults to come")
        try:
            await asyncio.Event().wait()
        finally:
            for fault, touched in exchange.touched():
                screen.tell(what_it_did(fault, touched))


def what_it_did(fault: Fault, touched: Touched) -> str:
    """Say in a line how often a client met a fault."""
    kind, begin = fault.__struct_config__.tag, fault.span[0]
    when = f"{begin:g} s" if fault.of_wall else f"{begin:.0f} ms"
    return f"{kind} at {when} changed {touched.times} frames, answers, sockets or bars"


async def run_demo(options: Options, clock: Clock) -> DemoSummary:
    """Run until what was asked for happened; leave nothing behind.

    Raises:
        BadInput: If the recording cannot be used.
    """
    began = clock.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        stage = await asyncio.to_thread(stack.enter_context, set_stage(options))
        with Screen(quiet=options.quiet) as screen:
            screen.tell(_opening(stage))
            ended, story = await _play(stage, screen, clock)
            checked, equal = await asyncio.to_thread(compare_store, stage)
            summary = DemoSummary(
                ended=ended,
                until_swap=options.until_swap,
                slot=str(stage.slot),
                story=story,
                models=await asyncio.to_thread(describe_models, stage),
                checked_bars=checked,
                store_equal=equal,
                elapsed_s=clock.monotonic() - began,
            )
            screen.close(summary)
    return summary


async def _play(stage: DemoSetup, screen: Screen, clock: Clock) -> tuple[str, EventLog]:
    """Hold exchange, daemon, bot and observer while the story lasts."""
    options, story = stage.options, EventLog(stage.slot, Topics(), screen.tell)
    async with contextlib.AsyncExitStack() as stack:
        exchange = ReplayExchange(
            (stage.recording,), clock, speed=stage.speed, start_ms=stage.first_t
        )
        await stack.enter_async_context(exchange)
        await asyncio.to_thread(write_config, stage, exchange.url, exchange.ws_url)
        actors = _actors(stage, exchange)
        for actor in actors:
            await stack.enter_async_context(actor)
        bus = await stack.enter_async_context(_observer(stage, clock))
        story.listen(bus)
        operator = Operator(stage, story, bus, clock, screen)
        scene = _Scene(options, story, screen, actors, exchange, operator, clock)
        return await scene.watch(), story


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything that is watched while the demo plays."""

    options: Options
    story: EventLog
    screen: Screen
    actors: tuple[DemoProcess, ...]
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

    def __init__(
        self, stage: DemoSetup, story: EventLog, bus: MqttConnection, clock: Clock, screen: Screen
    ) -> None:
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


def _actors(stage: DemoSetup, exchange: ReplayExchange) -> tuple[DemoProcess, ...]:
    command = ("-m", "daemon.cli", "run", "--config", str(stage.config_path))
    daemon = DemoProcess("daemon", command, stage.folder)
    bot = DemoProcess(
        "bot",
        (
            *("-m", "daemon.demo.bot", "--slot", str(stage.slot)),
            *("--venue-url", exchange.url, "--ws-url", exchange.ws_url),
            *("--speed", str(stage.speed), "--broker", stage.broker_url),
            *("--public-key", str(stage.public_key)),
        ),
        stage.folder,
    )
    return daemon, bot


@contextlib.asynccontextmanager
async def _observer(stage: DemoSetup, clock: Clock) -> AsyncIterator[MqttConnection]:
    bus = MqttConnection(BrokerAddress.parse(stage.broker_url), clock, name="demo", encode=encode)
    async with running(bus.run(), "observer"):
        yield bus


def _opening(stage: DemoSetup) -> str:
    source = stage.options.data.name if stage.options.data else "a made-up market"
    return (
        f"{'demo':>9}  {stage.slot} from {source}: {stage.past_bars} bars of history, "
        f"then {stage.speed:g} x real time"
    )
