"""A slot of any thread: started from the words of a configuration, stopped, started again."""

import asyncio
import dataclasses
import json
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyperdrift import (
    BlockingModelSlot,
    ConfigError,
    ModelSlot,
    NoModel,
    PointerSlot,
    Prediction,
    TradeReport,
    open_slot,
)
from hyperdrift.clock import as_ms
from hyperdrift.errors import BadInput
from hyperdrift.mqtt.messages import decode, encode
from tests.client.trades import TRADE


def test_a_folder_alone_gives_a_slot_that_watches_it(tmp_path: Path) -> None:
    slot = open_slot("BTC-5m", models_dir=str(tmp_path))
    assert isinstance(slot, PointerSlot)
    with pytest.raises(NoModel):
        slot.predict([0.0] * 17)
    slot.stop()


def test_a_broker_gives_a_slot_that_follows_orders_also_while_the_broker_is_away() -> None:
    slot = open_slot("BTC-5m", broker_url="mqtt://127.0.0.1:9", bot_id="mine")
    assert isinstance(slot, BlockingModelSlot)
    assert slot.model_id is None
    slot.stop()


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"broker_url": "mqtt://127.0.0.1"},
        {"bot_id": "mine"},
        {"broker_url": "mqtt://127.0.0.1", "models_dir": "/models"},
    ],
)
def test_neither_broker_nor_folder_is_told_by_the_names_to_set(words: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="broker_url and bot_id, or models_dir"):
        open_slot("BTC-5m", **words)


Made = Callable[[Path], BlockingModelSlot | PointerSlot]


def on_a_broker_that_is_away(_folder: Path) -> BlockingModelSlot:
    return BlockingModelSlot(ModelSlot("mqtt://127.0.0.1:9", "BTC-5m", bot_id="mine"))


def in_a_folder(folder: Path) -> PointerSlot:
    return PointerSlot(str(folder), "BTC-5m")


@pytest.mark.parametrize("make", [on_a_broker_that_is_away, in_a_folder])
def test_a_slot_may_be_stopped_and_started_in_any_order(make: Made, tmp_path: Path) -> None:
    others = set(threading.enumerate())

    def threads() -> list[str]:
        names = [one.name for one in threading.enumerate() if one not in others]
        return [name for name in names if name in {"slot", "pointer-slot"}]

    slot = make(tmp_path)
    slot.stop()
    for _ in range(2):
        slot.start()
        slot.start()
        assert len(threads()) == 1
        slot.stop()
        slot.stop()
        assert not threads()
    with pytest.raises(NoModel):
        slot.predict([0.0] * 17)


def test_a_thread_that_waits_for_a_model_goes_on_when_the_slot_is_stopped(tmp_path: Path) -> None:
    slot, ends = on_a_broker_that_is_away(tmp_path), list[BaseException]()
    slot.start()

    def wait() -> None:
        try:
            slot.start(600)
        except NoModel as e:
            ends.append(e)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(0.2)
    for _ in range(60):  # it may have begun to wait only then
        slot.stop()
        thread.join(1)
        if not thread.is_alive():
            break
    assert [str(end) for end in ends] == [str(NoModel("BTC-5m"))]


def test_a_slot_that_is_started_while_another_thread_still_stops_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, stops, goes_on = on_a_broker_that_is_away(tmp_path), threading.Event(), threading.Event()
    slot.start()
    stop = slot._slot.stop

    async def slow() -> None:
        stops.set()
        await asyncio.to_thread(goes_on.wait, 60)
        await stop()

    thread = threading.Thread(target=slot.stop)
    with monkeypatch.context() as patch:
        patch.setattr(slot._slot, "stop", slow)
        thread.start()
        assert stops.wait(60)
    slot.start()
    goes_on.set()
    thread.join(60)
    slot.publish_trade(TRADE)  # refused by a slot that does not run
    slot.stop()
    assert not thread.is_alive()


def test_what_is_sent_by_a_slot_that_is_not_started_is_one_sentence(tmp_path: Path) -> None:
    slot = on_a_broker_that_is_away(tmp_path)
    with pytest.raises(BadInput, match=r"not started, so nothing can be sent; call start\(\)"):
        slot.publish_trade(TRADE)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"entry": "67000.5"}, "TradeReport: entry is a text, must be a number"),
        ({"pnl": math.nan}, "TradeReport: pnl is null, must be a number"),
        ({"trade_id": 7}, "TradeReport: trade_id is a number out of range or kind"),
        ({"closed_ms": datetime(2026, 1, 1, tzinfo=UTC)}, "datetime is not JSON serializable"),
    ],
)
def test_a_trade_that_the_daemon_cannot_read_is_told_to_the_bot(
    fields: dict[str, Any], text: str, tmp_path: Path
) -> None:
    bad = dataclasses.replace(TRADE, **fields)
    slot = on_a_broker_that_is_away(tmp_path)
    slot.start()
    with pytest.raises(BadInput, match=text):
        slot.publish_trade(bad)
    slot.stop()
    with pytest.raises(BadInput, match=text):
        slot._slot.publish_trade(bad)


def test_a_trade_may_have_decimals_and_numbers_of_numpy(tmp_path: Path) -> None:
    slot = on_a_broker_that_is_away(tmp_path)._slot
    price: Any = Decimal("67000.5")
    closed: Any = np.int64(2)
    slot.publish_trade(dataclasses.replace(TRADE, entry=price, closed_ms=closed))
    (event,) = slot._bus.queue.events
    assert decode(event.body, TradeReport) == dataclasses.replace(TRADE, entry=67000.5)


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (1_760_000_000, "1760000000, which is not in milliseconds"),
        (1_760_000_000_000_000, "1760000000000000, which is not in milliseconds"),
        (1_760_000_000_000_000_000, "which is not in milliseconds"),
        (1.5e12 + 0.5, "give the bar's open time as an integer, ms UTC"),
        (datetime(2026, 1, 1, tzinfo=UTC), "give the bar's open time as an integer, ms UTC"),
        ("1760000000000", "give the bar's open time as an integer, ms UTC"),
        (None, "give the bar's open time as an integer, ms UTC"),
    ],
)
def test_a_time_of_a_bar_that_is_none_is_one_sentence(t: Any, text: str, tmp_path: Path) -> None:
    slot = on_a_broker_that_is_away(tmp_path)
    said = Prediction("m", 0.2, 0.6, 0.2, 1)
    with pytest.raises(BadInput, match=text):
        slot.publish_prediction(t, said)


@pytest.mark.parametrize("t", [1_760_000_000_000, np.int64(1_760_000_000_000), 1.76e12])
def test_a_time_of_numpy_or_a_whole_float_is_a_time(t: Any) -> None:
    assert json.loads(encode({"t": as_ms(t)})) == {"t": 1_760_000_000_000}


def test_paths_may_be_texts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.pub"):
        ModelSlot("mqtt://127.0.0.1", "BTC-5m", bot_id="mine", public_key=f"{tmp_path}/no.pub")
    slot = ModelSlot("mqtt://127.0.0.1", "BTC-5m", bot_id="mine", models_dir=str(tmp_path))
    assert slot.model_id is None
