from daemon.hyperliquid.frames import Acknowledged, TradesOf
from daemon.hyperliquid.held_channels import LEFT_S, HeldChannels, acknowledges
from daemon.hyperliquid.requests import subscription
from hyperdrift.slot_name import SlotName

BTC, HOUR, TRADES = SlotName("BTC", "5m"), SlotName("BTC", "1h"), TradesOf("BTC")
ENDED = Acknowledged(subscription(BTC) | {"fast": False}, ends=True)


def held(*channels: SlotName | TradesOf) -> HeldChannels:
    one = HeldChannels()
    one.asked.update(channels)
    return one


def test_what_is_left_is_due_after_a_minute_and_at_once_where_there_is_no_room() -> None:
    channels = held(BTC, TRADES)
    channels.leave(BTC, 10.0)
    channels.leave(HOUR, 10.0)  # it was never asked for
    assert channels.due(10.0 + LEFT_S, at_once=False) == []
    assert channels.due(10.1 + LEFT_S, at_once=False) == [BTC]
    assert channels.due(10.0, at_once=True) == [BTC]


def test_what_is_taken_back_within_the_minute_is_not_ended() -> None:
    channels = held(BTC)
    channels.leave(BTC, 0.0)
    assert channels.take_back(BTC)
    assert channels.due(1000.0, at_once=True) == []
    assert not channels.end(BTC)


def test_what_is_ending_is_there_until_the_end_is_confirmed_and_is_not_taken_back() -> None:
    channels = held(BTC, HOUR)
    channels.leave(BTC, 0.0)
    assert channels.end(BTC)
    assert not channels.take_back(BTC)
    assert channels.asked == {BTC, HOUR}
    assert channels.ended(ENDED)
    assert channels.asked == {HOUR}
    assert not channels.ended(ENDED), "nobody asked for a second one"


def test_another_socket_and_a_forgotten_channel_begin_without_anything() -> None:
    channels = held(BTC, HOUR)
    channels.confirm(Acknowledged(subscription(BTC)))
    assert channels.is_confirmed(BTC)
    assert not channels.is_confirmed(HOUR)
    channels.forget(BTC)
    assert not channels.is_confirmed(BTC)
    channels.leave(HOUR, 0.0)
    channels.renew()
    assert channels.due(1000.0, at_once=True) == []
    assert not channels.take_back(HOUR)


def test_a_trades_channel_is_acknowledged_by_coin() -> None:
    wanted: dict[str, object] = {"type": "trades", "coin": "BTC"}
    assert acknowledges(Acknowledged(wanted | {"more": 1}), TRADES)
    assert not acknowledges(Acknowledged(wanted), TradesOf("ETH"))
    assert not acknowledges(Acknowledged(wanted), BTC)
