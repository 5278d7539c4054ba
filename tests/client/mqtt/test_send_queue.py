"""What waits for the broker, while connections end in the worst moments."""

from hyperdrift.mqtt.send_queue import SOON_S, SendQueue

SOON, LATER = SOON_S / 2, SOON_S * 2


async def test_an_order_to_forget_a_topic_is_sent_again_if_the_connection_ends_under_it() -> None:
    queue = SendQueue()
    queue.put("a/ghost", b"", retain=True)
    assert queue.take() == ("a/ghost", "a/ghost", b"")
    queue.lost(LATER)
    queue.renew()
    assert not queue.idle.is_set()
    assert queue.take() == ("a/ghost", "a/ghost", b"")
    queue.sent("a/ghost")
    assert queue.take() is None
    assert queue.idle.is_set()


async def test_a_topic_that_is_put_aside_while_a_newer_value_waits_holds_up_no_other() -> None:
    queue = SendQueue()
    queue.put("a/state", b"1", retain=True)
    for _ in range(6):  # three connections that ended soon, then three with it alone
        queue.renew()
        assert queue.take() is not None
        queue.put("a/state", b"2", retain=True)
        queue.lost(SOON)
    queue.put("a/event", b"3", retain=False)
    queue.renew()
    message = queue.take()
    assert message is not None
    assert message[1:] == ("a/event", b"3")
