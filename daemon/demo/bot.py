"""A paper bot in its own process: the reference for everybody who connects a real one.

It does what a bot has to do and nothing else: follow the closed bars, compute the
features with the function that trained the model, ask the slot, trade on paper, and
tell the daemon what it predicted and what came of it.

    python -m daemon.demo.bot --venue-url URL --ws-url URL --broker mqtt://... --slot BTC-5m

With `--slot` again it trades several slots, each with a model of its own.
"""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from daemon.core import logs
from daemon.core.bars import Bar
from daemon.core.clock import VenueClock
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.store.async_store import AsyncStore, ThreadedStore
from daemon.store.store import Store
from hyperdrift.clock import Clock, SystemClock
from hyperdrift.errors import HyperdriftError
from hyperdrift.mqtt.messages import Side, TradeReport
from hyperdrift.mqtt.password_file import read_password
from hyperdrift.slot import ModelSlot, Prediction
from hyperdrift.slot_name import SlotName
from retrain import features
from retrain.deciding.decision import DOWN, NEUTRAL, UP

FEE = 4.5 / 10_000  # the venue's taker fee, a fraction of the notional of each order
NOTIONAL = 1000.0  # quote units per trade
CLOCK_S = 30.0
SIDES: dict[int, Side] = {UP: "buy", DOWN: "sell"}

log = structlog.get_logger()


@dataclass(slots=True)
class Position:
    """An open paper trade; `opened_ms` is in ms UTC, `entry` in quote units."""

    side: Side
    opened_ms: int
    entry: float
    bars_left: int


class PaperTrader:
    """Holds one position at a time: it opens on a signal and closes `horizon` bars later."""

    def __init__(self, slot: SlotName, horizon: int) -> None:
        self._slot, self._horizon = slot, horizon
        self._open: Position | None = None

    def take(self, bar: Bar, prediction: Prediction | None) -> TradeReport | None:
        """Take a closed bar and its prediction; return the trade that closed with it."""
        closed = None
        now_ms = bar.t + self._slot.interval_ms
        if self._open is not None:
            self._open.bars_left -= 1
            if self._open.bars_left <= 0:
                closed, self._open = self._close(self._open, bar.close, now_ms), None
        if self._open is None and prediction is not None and prediction.decision != NEUTRAL:
            side = SIDES[prediction.decision]
            self._open = Position(side, now_ms, bar.close, self._horizon)
        return closed

    def _close(self, position: Position, price: float, now_ms: int) -> TradeReport:
        size = NOTIONAL / position.entry
        fee = FEE * size * (position.entry + price)
        move = price - position.entry if position.side == "buy" else position.entry - price
        return TradeReport(
            trade_id=f"{self._slot}-{position.opened_ms}",
            side=position.side,
            opened_ms=position.opened_ms,
            closed_ms=now_ms,
            entry=position.entry,
            exit=price,
            size=size,
            fee=fee,
            pnl=move * size - fee,
        )


class Bot:
    """Handles one slot's bars, and asks the model for a prediction on each."""

    def __init__(self, slot: ModelSlot, store: AsyncStore, trader: PaperTrader) -> None:
        self._slot, self._store, self._trader = slot, store, trader

    async def take(self, name: SlotName, bar: Bar) -> None:
        """Handle a closed bar."""
        prediction = await self._predict(name, bar)
        if (trade := self._trader.take(bar, prediction)) is not None:
            self._slot.publish_trade(trade)
            log.info("trade.closed", side=trade.side, entry=trade.entry, pnl=round(trade.pnl, 4))

    async def _predict(self, name: SlotName, bar: Bar) -> Prediction | None:
        """Predict one bar and tell the daemon; return None without enough bars or a model."""
        frame = await self._store.call(Store.frame, name, last=features.LIVE_BARS, to_t=bar.t)
        row = (await asyncio.to_thread(features.compute, frame))[-1]
        if self._slot.model_id is None or not np.isfinite(row).all():
            return None
        prediction = await asyncio.to_thread(self._slot.predict, row.tolist())
        self._slot.publish_prediction(bar.t, prediction, row.tolist())
        return prediction


async def run(options: argparse.Namespace) -> None:
    """Run the bot until cancelled."""
    clock = SystemClock()
    venue, names = VenueClock(clock, options.speed), [SlotName.parse(one) for one in options.slot]
    slots = {name: _model_slot(options, name) for name in names}
    with Store(":memory:") as memory:
        store = ThreadedStore(memory)
        bots = {n: Bot(slots[n], store, PaperTrader(n, options.horizon)) for n in names}
        try:
            async with RestClient(options.venue_url, clock, venue) as rest:
                await _learn_clock(rest, clock)
                feed = Feed(rest, CandleStream(options.ws_url, clock, names), store, venue, names)
                now_ms = venue.now_ms()
                since = {n: now_ms - 2 * features.LIVE_BARS * n.interval_ms for n in names}
                await feed.backfill(since)
                for slot in slots.values():
                    await slot.start()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(feed.run(), name="feed")
                    tasks.create_task(_follow(feed, bots), name="bots")
                    tasks.create_task(_keep_time(rest, clock), name="clock")
        finally:
            for slot in slots.values():
                await slot.stop()
            store.close()


async def _follow(feed: Feed, bots: Mapping[SlotName, Bot]) -> None:
    """Hand every closed bar to its bot, until cancelled."""
    async for name, bar in feed.bars():
        await bots[name].take(name, bar)


def _model_slot(options: argparse.Namespace, name: SlotName) -> ModelSlot:
    return ModelSlot(
        options.broker,
        str(name),
        bot_id="paper",
        prefix=options.prefix,
        password=read_password(options.password_file) if options.password_file else None,
        ca_file=options.ca_file,
        public_key=options.public_key,
    )


async def _learn_clock(rest: RestClient, clock: Clock) -> None:
    """Learn the venue's time; wait until the venue answers."""
    while True:
        try:
            return await rest.learn_clock()
        except HyperdriftError as e:
            log.warning("venue.unreachable", why=str(e))
            await clock.sleep(1.0)


async def _keep_time(rest: RestClient, clock: Clock) -> None:
    while True:
        await clock.sleep(CLOCK_S)
        with contextlib.suppress(HyperdriftError):  # the feed logs it
            await rest.learn_clock()


async def _until_terminated(options: argparse.Namespace) -> None:
    task = asyncio.ensure_future(run(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run the bot."""
    parser = argparse.ArgumentParser(prog="python -m daemon.demo.bot", description=__doc__)
    parser.add_argument("--venue-url", required=True, help="the exchange's REST address")
    parser.add_argument("--ws-url", required=True, help="the exchange's WebSocket address")
    parser.add_argument("--speed", type=float, default=1.0, help="venue seconds per second")
    parser.add_argument("--broker", required=True, help="mqtt://user@host:1883")
    parser.add_argument("--slot", required=True, action="append", help="for example BTC-5m")
    parser.add_argument("--prefix", default="hyperdrift", help="first level of the topics")
    parser.add_argument("--horizon", type=int, default=12, help="bars to hold a position")
    parser.add_argument("--password-file", type=Path, help="password of the broker's user")
    parser.add_argument("--ca-file", type=Path, help="certificates that vouch for the broker")
    parser.add_argument("--public-key", type=Path, help="load only what this key signed")
    options = parser.parse_args(arguments)
    logs.configure()
    try:
        asyncio.run(_until_terminated(options))
    except HyperdriftError as e:
        parser.exit(e.exit_code, f"{e}\n")


if __name__ == "__main__":
    main()
