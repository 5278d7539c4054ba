"""Trades that anybody may publish: a flood of them fills neither memory nor journal."""

import asyncio
import json
import shutil
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.address import BrokerAddress
from daemon.bars import SlotName
from daemon.clock import VenueClock
from daemon.intake import Intake
from daemon.topics import Topics
from daemon.trades import AT_ONCE, PER_BAR, TradeBook, TradeLimit
from monitor.events import TradeClosed
from tests.daemon.brokers import Iotcore, Mosquitto, connection, until
from tests.fakes import FakeClock

SLOT, OTHER, TOPICS = SlotName("BTC", "5m"), SlotName("ETH", "5m"), Topics()
BAR_MS = SLOT.interval_ms
FLOOD = 5000


def trade(trade_id: str) -> dict[str, Any]:
    times = {"opened_ms": 1, "closed_ms": 2}
    prices = {"entry": 1.0, "exit": 1.0, "size": 1.0, "fee": 0.0, "pnl": 1.0}
    return {"trade_id": trade_id, "side": "buy", **times, **prices}


class Inbox:
    """A keeper's, as far as trades go."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def put_nowait(self, item: TradeClosed) -> bool:
        self.taken.append(item.trade_id)
        return True


async def pour(port: int, slot: SlotName, ids: list[str]) -> None:
    """Publish a trade a line, as fast as the broker takes them."""
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_pub", "-p", str(port), "-q", "1", "-l", "-t", TOPICS.trade(slot)),
        stdin=asyncio.subprocess.PIPE,
    )
    text = "".join(json.dumps(trade(trade_id)) + "\n" for trade_id in ids)
    await process.communicate(text.encode())
    assert process.returncode == 0


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs mosquitto-clients")
async def test_of_a_flood_of_trades_a_bounded_number_is_taken_and_it_is_told_of_once(
    broker: Mosquitto | Iotcore,
) -> None:
    clock, port = FakeClock(), BrokerAddress.parse(broker.url).port
    venue, inboxes = VenueClock(clock), {SLOT: Inbox(), OTHER: Inbox()}
    taken = inboxes[SLOT].taken
    with capture_logs() as logs:
        async with connection(broker.url) as bus, connection(broker.url) as ear:
            alerts: list[dict[str, Any]] = []
            ear.subscribe(TOPICS.event(SLOT), lambda _t, body, _r: alerts.append(json.loads(body)))
            book = TradeBook(venue)
            nobody = cast("Any", None)
            Intake(
                cast("Any", inboxes), bus, TOPICS, clock=clock, venue=venue, audit=nobody, book=book
            ).listen()
            await asyncio.sleep(0.2)
            await pour(port, SLOT, [f"forged-{n}" for n in range(FLOOD)])
            await pour(port, OTHER, ["real"])
            await until(lambda: inboxes[OTHER].taken == ["real"])
            assert taken == [f"forged-{n}" for n in range(AT_ONCE)]
            assert len(book._taken) == AT_ONCE + 1
            clock.ms += BAR_MS
            await pour(port, SLOT, ["forged-0", *(f"more-{n}" for n in range(FLOOD))])
            await pour(port, OTHER, ["next"])
            await until(lambda: len(inboxes[OTHER].taken) == 2)
            assert len(taken) == len(set(taken)) == AT_ONCE + PER_BAR
            clock.ms += 3 * BAR_MS
            await pour(port, SLOT, ["real"])
            await until(lambda: taken[-1] == "real")
            await until(lambda: alerts)
    said = [entry for entry in logs if entry["event"].startswith("trades.")]
    assert [entry["event"] for entry in said] == ["trades.flooded", "trades.flood_over"]
    assert AT_ONCE < said[1]["refused"] < 2 * FLOOD  # the broker drops some itself
    assert [alert["kind"] for alert in alerts] == ["alert"]
    assert "see who may publish on the broker" in alerts[0]["text"]


def test_what_a_bot_could_not_send_for_an_hour_is_taken_at_once() -> None:
    clock, told = FakeClock(), list[str]()
    limit = TradeLimit(VenueClock(clock), lambda _slot, text: told.append(text))
    for _ in range(30):
        clock.ms += 12 * BAR_MS
        assert all(limit.take(SLOT) for _ in range(12 * PER_BAR))
    assert told == []
