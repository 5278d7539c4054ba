import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from daemon.notify.delivery import PAUSES_S, ROOM, Delivery, DeliveryCounts
from daemon.notify.notice import Notice
from daemon.notify.services import Outcome
from hyperdrift.slot_name import DAY_MS
from tests.captured import capture_logs
from tests.daemon.brokers import until
from tests.fakes import FakeClock

DEAD = Outcome("it refuses the connection", "with a secret")


class Phone:
    """A service that answers what it is told to, and then takes everything."""

    name = "1 (json://127.0.0.1)"

    def __init__(self, *answers: Outcome) -> None:
        self._answers, self.got = iter(answers), list[Notice]()
        self.tries, self.troubles = 0, list[str]()
        self.look: Callable[[], str] = str

    def send(self, message: Notice) -> Outcome:
        self.tries += 1
        self.troubles.append(self.look())
        outcome = next(self._answers, Outcome(""))
        if outcome.sent:
            self.got.append(message)
        return outcome


def news(clock: FakeClock, number: int = 0) -> Notice:
    return Notice(title=f"news {number}", text="words", at_ms=clock.now_ms())


@asynccontextmanager
async def running(box: Delivery) -> AsyncIterator[None]:
    task = asyncio.create_task(box.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_message_is_delivered_once() -> None:
    clock, phone, changes = FakeClock(), Phone(), list[int]()
    box = Delivery(phone, clock, lambda: changes.append(1))
    async with running(box):
        box.put([news(clock)])
        await until(lambda: not box.waiting)
        await asyncio.sleep(0.05)  # nothing more is sent
    assert [one.title for one in phone.got] == ["news 0"]
    assert (changes, box.trouble) == ([1], "")


async def test_a_dead_service_is_told_once_and_when_it_is_back_what_waited_is_one_message() -> None:
    clock, phone, counts = FakeClock(), Phone(*[DEAD] * 4), DeliveryCounts()
    box = Delivery(phone, clock, counts=counts)
    with capture_logs() as lines:
        phone.look = lambda: box.trouble
        box.put(news(clock, n) for n in range(3))
        async with running(box):
            await until(lambda: not box.waiting)
    assert phone.troubles[:2] == ["", ""]
    assert "takes no messages: it refuses the connection" in phone.troubles[2]
    assert [one.title for one in phone.got] == ["3 messages that could not be sent before"]
    assert [line["event"] for line in lines] == ["notify.failed", "notify.back"]
    assert box.trouble == ""
    assert clock.slept == list(PAUSES_S[:4])
    assert counts == DeliveryCounts(sent=1, failed=4)
    assert "secret" not in str(lines) + box.trouble


async def test_after_the_last_attempt_a_message_is_given_up_and_the_trouble_stays() -> None:
    clock, phone, counts = FakeClock(), Phone(*[DEAD] * 100), DeliveryCounts()
    box = Delivery(phone, clock, counts=counts)
    with capture_logs() as lines:
        box.put([news(clock)])
        async with running(box):
            await until(lambda: not box.waiting)
    assert phone.tries == len(PAUSES_S) + 1
    assert lines[-1]["event"] == "notify.given_up"
    assert lines[-1]["titles"] == ["news 0"]
    assert counts == DeliveryCounts(failed=phone.tries, given_up=1)
    assert box.trouble


async def test_what_waits_is_bounded_and_old_news_is_dropped() -> None:
    clock, phone = FakeClock(), Phone()
    box = Delivery(phone, clock)
    with capture_logs() as lines:
        box.put(news(clock, n) for n in range(ROOM + 5))
        assert len(box.waiting) == ROOM
        clock.ms += DAY_MS + 1
        async with running(box):
            await until(lambda: not box.waiting)
    assert phone.tries == 0
    assert sum(line["count"] for line in lines if line["event"] == "notify.given_up") == ROOM + 5


async def test_a_service_that_hangs_holds_up_nothing_and_has_one_thread() -> None:
    clock, release = FakeClock(), threading.Event()

    class Hanging(Phone):
        def send(self, message: Notice) -> Outcome:
            release.wait(60)
            return super().send(message)

    phone, ticks = Hanging(), 0
    box = Delivery(phone, clock, timeout_s=0.05)
    before = set(threading.enumerate())
    box.put([news(clock)])
    async with running(box), asyncio.timeout(60):
        while not box.trouble or ticks < 4:
            ticks += 1
            await asyncio.sleep(0.01)
        assert len(set(threading.enumerate()) - before) == 1
        assert "it hangs since" in box.trouble
        assert phone.got == []
        release.set()


async def test_a_fault_of_a_plugin_is_a_failed_attempt() -> None:
    clock = FakeClock()

    class Faulty(Phone):
        def send(self, message: Notice) -> Outcome:
            if not self.tries:
                self.tries += 1
                raise ValueError("tgram://secret")
            return super().send(message)

    box = Delivery(Faulty(), clock)
    with capture_logs() as lines:
        box.put([news(clock)])
        async with running(box):
            await until(lambda: not box.waiting)
    assert lines[0]["why"] == "it failed with ValueError"


def test_nothing_is_put_without_a_message() -> None:
    take: Callable[[], None] = lambda: None  # noqa: E731
    assert Delivery(Phone(), FakeClock(), take).waiting == []
