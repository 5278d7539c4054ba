"""Run a whole cycle on one machine: a replay exchange, the broker, the daemon and a paper bot.

The daemon and the bot are processes of their own. They run as they would without the demo:
they use the exchange by Hyperliquid's protocol, and talk to each other over MQTT. This module
prepares the folder and follows the events. If nothing triggers a retrain for long, it sends
the command for one, as an operator would.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.core.tasks import running
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Fault, Touched
from daemon.demo.fleet.cycle import INTERRUPTED, DemoSlot, DemoSummary, FleetLog, has_swapped
from daemon.demo.fleet.planned_change import PlannedChange
from daemon.demo.fleet.sources import start_of
from daemon.demo.processes import DemoProcess
from daemon.demo.recording import Recording
from daemon.demo.screen import Screen
from daemon.demo.setup import (
    DemoSetup,
    Options,
    compare_store,
    describe_models,
    prepare,
    write_config,
)
from daemon.mqtt.messages import Command, encode
from hyperdrift.clock import Clock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

PATIENCE_BARS: Final = 400
_LOOK_S: Final = 0.5
_OPEN: Final = "   broker  {} is open to every user of this host, as a service's is not"


async def serve_exchange(
    recordings: Sequence[Recording],
    clock: Clock,
    *,
    port: int,
    speed: float,
    history: int,
    faults: Sequence[Fault] = (),
) -> None:
    """Replay recordings until cancelled, with the faults of a script, and print the addresses.

    Args:
        recordings: The recordings.
        clock: Real time.
        port: The TCP port; 0 takes any free one.
        speed: Venue seconds per wall second.
        history: How many bars of the shortest recorded ones are past when it starts.
        faults: The faults.

    Raises:
        BadInput: If the port is taken, the speed is not positive, a fault names another coin or
            there are not so many bars.
    """
    start_ms = start_of(recordings, history)
    async with ReplayExchange(
        recordings, clock, speed=speed, start_ms=start_ms, faults=faults, port=port
    ) as exchange:
        screen = Screen(quiet=False)
        of = ", ".join(f"{recording.coin} {recording.interval}" for recording in recordings)
        screen.tell(f"exchange of {of} at {speed:g} x")
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
    """Return a line that says how much a fault changed for clients."""
    kind, begin = fault.__struct_config__.tag, fault.span[0]
    when = f"{begin:g} s" if fault.of_wall else f"{begin:.0f} ms"
    return f"{kind} at {when} changed {touched.times} frames, answers, sockets or bars"


async def run_demo(options: Options, clock: Clock) -> DemoSummary:
    """Run the demo until it has reached its end; then stop its processes and remove its files.

    Raises:
        BadInput: If the recording cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        setup = await asyncio.to_thread(stack.enter_context, prepare(options))
        with Screen(quiet=options.quiet) as screen:
            screen.tell(f"{'page':>9}  {setup.page_url}  sign in with {setup.page_token} to act")
            screen.tell(_opening(setup))
            screen.tell(_OPEN.format(setup.broker_url))
            return await _play(setup, screen, clock)


async def _play(setup: DemoSetup, screen: Screen, clock: Clock) -> DemoSummary:
    """Run exchange, daemon, bot and observer until the demo ends, and hold them if asked to."""
    began = clock.monotonic()
    options, fleet = setup.options, FleetLog(setup.slots, screen.tell)
    async with contextlib.AsyncExitStack() as stack:
        exchange = ReplayExchange(
            setup.recordings, clock, speed=setup.speed, start_ms=setup.first_t
        )
        await stack.enter_async_context(exchange)
        await asyncio.to_thread(write_config, setup, exchange.url, exchange.ws_url)
        processes = _processes(setup, exchange)
        for actor in processes:
            await stack.enter_async_context(actor)
        bus = await stack.enter_async_context(_observer(setup, clock))
        for log in fleet.logs:
            log.listen(bus)
        operator = Operator(setup, fleet, bus, clock, screen)
        change = PlannedChange(setup, fleet, exchange, screen)
        demo = _Demo(options, fleet, screen, processes, exchange, change, operator, clock)
        ended = await demo.watch()
        elapsed_s = clock.monotonic() - began
        if options.hold and ended != INTERRUPTED:
            summary = await _summary(setup, exchange, fleet, ended, elapsed_s)
            screen.close(summary)
            screen.tell(f"{'hold':>9}  {setup.page_url} stays; Ctrl-C ends the demo")
            await demo.hold()
            return summary
    summary = await _summary(setup, exchange, fleet, ended, elapsed_s)  # the store is at rest now
    screen.close(summary)
    return summary


async def _summary(
    setup: DemoSetup, exchange: ReplayExchange, fleet: FleetLog, ended: str, elapsed_s: float
) -> DemoSummary:
    slots = []
    for log, recording in zip(fleet.logs, exchange.recordings, strict=True):
        checked, equal = await asyncio.to_thread(compare_store, setup, recording)
        models = await asyncio.to_thread(describe_models, setup, log.slot)
        slots.append(DemoSlot(str(log.slot), log, models, checked, equal))
    return DemoSummary(
        ended=ended,
        until_swap=setup.options.until_swap,
        slots=tuple(slots),
        order=tuple(fleet.order),
        elapsed_s=elapsed_s,
    )


@dataclass(frozen=True, slots=True)
class _Demo:
    """Everything that is watched while the demo runs."""

    options: Options
    fleet: FleetLog
    screen: Screen
    processes: tuple[DemoProcess, ...]
    exchange: ReplayExchange
    change: PlannedChange
    operator: "Operator"
    clock: Clock

    async def watch(self) -> str:
        """Follow the events until the demo ends; return what ended it."""
        began = self.clock.monotonic()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self.fleet.changed.wait()
                self.fleet.changed.clear()
                self.fleet.look()
                self.screen.show(self.fleet.logs)
                for actor in self.processes:
                    actor.check()
                await self.change.consider()
                self.operator.consider(self.change.after)
                if end := self._end(self.clock.monotonic() - began):
                    return end
        except asyncio.CancelledError:  # Ctrl-C: print the summary so far, then end
            _go_on()
            return INTERRUPTED

    async def hold(self) -> None:
        """Keep everything as it is until Ctrl-C, as long as the processes run."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await self.clock.sleep(_LOOK_S)
                for actor in self.processes:
                    actor.check()
        _go_on()

    def _end(self, elapsed_s: float) -> str:
        if self.options.until_swap and self.fleet.cycle_is_done():
            return "swap"
        if 0 < self.options.timeout_s < elapsed_s:
            return "timeout"
        return "the recording is over" if self.exchange.finished else ""


def _go_on() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


class Operator:
    """Asks for a retrain of a slot if nothing triggers one for long."""

    def __init__(
        self, setup: DemoSetup, fleet: FleetLog, bus: MqttConnection, clock: Clock, screen: Screen
    ) -> None:
        self._fleet, self._bus, self._clock, self._screen = fleet, bus, clock, screen
        self._until_swap = setup.options.until_swap
        self._asked_at = dict.fromkeys(setup.slots, 0)

    def consider(self, change_after: int | None) -> None:
        """Send the command to retrain for each slot without a retrain or swap for long enough.

        A slot that has swapped for a cause is done, if that is the end of the run.

        Args:
            change_after: Bars from the start to the change of the market, which is waited for;
                None while it is not known.
        """
        if change_after is None or not self._fleet.first_models_are_done():
            return  # the command would go before first models
        for log in self._fleet.logs:
            if self._until_swap and has_swapped(log):
                continue
            idle = log.state.get("phase") in {"serving", "probation"}
            since = max(change_after, self._asked_at[log.slot])
            if idle and log.bars - since >= PATIENCE_BARS:
                self._asked_at[log.slot] = log.bars
                self._ask(log.slot)

    def _ask(self, slot: SlotName) -> None:
        why = f"no swap of {slot} for a while: asking for a retrain over MQTT"
        self._screen.tell(f"{'operator':>9}  {why}")
        request = Command(
            command="retrain",
            request_id=secrets.token_hex(8),
            reason="the demo's operator asked",
            issued_ms=self._clock.now_ms(),
        )
        self._bus.publish(Topics().command(slot), request)


def _processes(setup: DemoSetup, exchange: ReplayExchange) -> tuple[DemoProcess, ...]:
    command = ("-m", "daemon.cli", "run", "--config", str(setup.config_path))
    direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # the exchange is on this machine
    daemon = DemoProcess("daemon", command, setup.folder, direct)
    bot = DemoProcess(
        "bot",
        (
            *("-m", "daemon.demo.bot", *(word for s in setup.slots for word in ("--slot", str(s)))),
            *("--venue-url", exchange.url, "--ws-url", exchange.ws_url),
            *("--speed", str(setup.speed), "--broker", setup.broker_url),
            *("--public-key", str(setup.public_key)),
        ),
        setup.folder,
        direct,
    )
    return daemon, bot


@contextlib.asynccontextmanager
async def _observer(setup: DemoSetup, clock: Clock) -> AsyncIterator[MqttConnection]:
    bus = MqttConnection(BrokerAddress.parse(setup.broker_url), clock, name="demo", encode=encode)
    async with running(bus.run(), "observer"):
        yield bus


def _opening(setup: DemoSetup) -> str:
    source = setup.options.data.name if setup.options.data else "a made-up market"
    return (
        f"{'demo':>9}  {', '.join(map(str, setup.slots))} from {source}: {setup.past_bars} bars of "
        f"history, then {setup.speed:g} x real time"
    )
