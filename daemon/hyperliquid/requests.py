"""Build the venue's requests and subscriptions, as the JSON that it takes."""

from typing import Final

import msgspec

from daemon.hyperliquid.frames import Channel, TradesOf
from hyperdrift.slot_name import SlotName

META_REQUEST: Final = b'{"type":"meta"}'
CONTEXTS: Final = b'{"type":"metaAndAssetCtxs"}'
DEXS_REQUEST: Final = b'{"type":"perpDexs"}'
STATUS_REQUEST: Final = b'{"type":"exchangeStatus"}'
PING: Final = '{"method":"ping"}'


def candles_request(slot: SlotName, start_ms: int, end_ms: int | None) -> bytes:
    """Ask for the bars from the one that contains `start_ms` to the one with `end_ms`, ms UTC."""
    wanted: dict[str, object] = {"coin": slot.coin, "interval": slot.interval}
    wanted |= {"startTime": start_ms} | ({} if end_ms is None else {"endTime": end_ms})
    return msgspec.json.encode({"type": "candleSnapshot", "req": wanted})


def funding_request(coin: str, start_ms: int, end_ms: int | None) -> bytes:
    """Ask for one page of the funding rates stamped `start_ms` (ms UTC) or later, oldest first."""
    wanted: dict[str, object] = {"type": "fundingHistory", "coin": coin, "startTime": start_ms}
    return msgspec.json.encode(wanted | ({} if end_ms is None else {"endTime": end_ms}))


def meta_request(dex: str) -> bytes:
    """Ask for the perps of a builder's dex; "" is the venue's own."""
    return msgspec.json.encode({"type": "meta", "dex": dex}) if dex else META_REQUEST


def subscription(wanted: Channel) -> dict[str, str]:
    """Name the candle channel of a slot, or the trades channel of a coin."""
    if isinstance(wanted, TradesOf):
        return {"type": "trades", "coin": wanted.coin}
    return {"type": "candle", "coin": wanted.coin, "interval": wanted.interval}


def subscribe(wanted: Channel) -> str:
    """Ask for a slot's candles, or a coin's trades."""
    return _of_subscription("subscribe", wanted)


def unsubscribe(held: Channel) -> str:
    """Ask to end a slot's candles, or a coin's trades."""
    return _of_subscription("unsubscribe", held)


def _of_subscription(method: str, channel: Channel) -> str:
    frame = {"method": method, "subscription": subscription(channel)}
    return msgspec.json.encode(frame).decode()
