"""The turns of retrains: few at a time, in order, and none is lost when somebody leaves."""

import asyncio
from functools import partial

import msgspec
import pytest

from daemon.config.schema import Config, RetrainSection
from daemon.training.retrain_order import LONGEST_WAIT_S
from daemon.training.retrain_queue import Place, RetrainQueue, Ticket
from tests.virtual_time import in_virtual_time


def _count(told: list[int], number: int, _: str) -> None:
    told.append(number)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_slot_alone_never_waits_and_may_use_the_whole_host() -> None:
    queue = RetrainQueue()
    ticket = queue.enter("drift")
    assert ticket.place is None
    assert await ticket.turn() == 1
    ticket.leave()


async def test_so_many_run_at_a_time_and_the_others_know_their_place() -> None:
    queue = RetrainQueue(2)
    tickets = [queue.enter(kind) for kind in ("schedule", "schedule", "age", "drift", "first")]
    assert [ticket.place for ticket in tickets] == [
        *(None, None), Place(3, 3), Place(2, 3), Place(1, 3)
    ]  # fmt: skip
    assert [await ticket.turn() for ticket in tickets[:2]] == [1, 2]
    tickets[0].leave()
    assert [ticket.place for ticket in tickets[2:]] == [Place(2, 2), Place(1, 2), None]
    assert await tickets[4].turn() == 2
    tickets[1].leave()
    tickets[4].leave()
    assert [ticket.place for ticket in tickets[2:4]] == [None, None]


async def test_an_order_of_an_operator_for_one_that_waits_moves_it_to_the_front() -> None:
    queue = RetrainQueue()
    runs, first, drift, age = (queue.enter(kind) for kind in ("age", "first", "drift", "age"))
    age.hurry()
    assert [one.place for one in (age, first, drift)] == [Place(1, 3), Place(2, 3), Place(3, 3)]
    runs.leave()
    assert await age.turn() == 1


async def test_whoever_leaves_frees_its_place_once_also_if_it_is_cancelled_at_its_turn() -> None:
    queue = RetrainQueue()
    runs, waits, after = (queue.enter("drift") for _ in range(3))

    async def work(ticket: Ticket) -> None:
        try:
            await ticket.turn()
        finally:
            ticket.leave()

    task = asyncio.create_task(work(waits))
    await settled()
    runs.leave()  # its turn is granted, and it is cancelled before it hears of that
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert after.place is None
    waits.leave()
    runs.leave()
    assert queue.enter("drift").place == Place(1, 1)


async def test_one_that_leaves_while_it_waits_is_never_given_a_turn() -> None:
    queue = RetrainQueue()
    runs, waits, after = (queue.enter("drift") for _ in range(3))
    waits.leave()
    assert after.place == Place(1, 1)
    runs.leave()
    assert after.place is None


async def test_a_reload_changes_how_many_run_and_what_runs_goes_on() -> None:
    def configured(parallel: int) -> Config:
        return msgspec.structs.replace(Config(), retrain=RetrainSection(parallel=parallel))

    queue = RetrainQueue()
    tickets = [queue.enter("drift") for _ in range(4)]
    queue.adopt(configured(3))
    assert [ticket.place for ticket in tickets] == [None, None, None, Place(1, 1)]
    queue.adopt(configured(1))
    tickets[0].leave()
    tickets[1].leave()
    assert tickets[3].place == Place(1, 1)
    tickets[2].leave()
    assert tickets[3].place is None


async def test_a_backend_says_how_many_run_and_leaves_it_to_the_host_when_it_is_away() -> None:
    workers = 3
    queue = RetrainQueue(1)
    queue.follow(lambda: workers)
    tickets = [queue.enter("drift") for _ in range(5)]
    assert sum(ticket.place is None for ticket in tickets) == 3
    workers = 4
    queue.look()
    assert sum(ticket.place is None for ticket in tickets) == 4
    workers = 0
    assert queue.places == 1


@in_virtual_time
async def test_the_first_ten_hear_of_a_new_place_once_a_second_however_much_happens() -> None:
    queue, heard = RetrainQueue(), list[int]()
    tickets = [queue.enter("drift", moved=partial(heard.append, n)) for n in range(200)]
    await asyncio.sleep(1.1)
    assert heard == list(range(1, 11))
    heard.clear()
    for ticket in tickets[:50]:
        ticket.leave()
    assert heard == []
    await asyncio.sleep(60)
    assert heard == list(range(51, 61))
    await asyncio.sleep(600)
    assert len(heard) == 10, "nobody hears of a place that is the same"


@in_virtual_time
async def test_a_wait_that_is_too_long_is_told_once_with_what_helps() -> None:
    queue, told = RetrainQueue(), list[str]()
    queue.enter("drift", late=told.append)
    waits = queue.enter("challenge", late=told.append)
    gone = queue.enter("drift", late=told.append)
    await asyncio.sleep(LONGEST_WAIT_S - 1)
    gone.leave()
    assert told == []
    await asyncio.sleep(5 * LONGEST_WAIT_S)
    remedy = "raise retrain.parallel, add workers, or follow fewer slots"
    assert told == [
        f"a quick challenger has waited 1 h for its turn, it is 1 of 1 in the queue: {remedy}"
    ]
    assert waits.place == Place(1, 1)


@in_virtual_time
async def test_many_that_wait_too_long_are_told_once_until_an_hour_passed_without_one() -> None:
    queue, told = RetrainQueue(), list[int]()
    runs = queue.enter("drift")
    waits = []
    for n in range(50):
        waits.append(queue.enter("age", late=partial(_count, told, n)))
        await asyncio.sleep(60)
    await asyncio.sleep(LONGEST_WAIT_S)
    assert told == [0]
    for ticket in waits:
        ticket.leave()
    queue.enter("age", late=lambda _: told.append(99))
    await asyncio.sleep(LONGEST_WAIT_S + 1)
    assert told == [0, 99]
    runs.leave()


@in_virtual_time
async def test_a_wait_goes_on_where_it_was_before_a_restart() -> None:
    queue, told = RetrainQueue(), list[str]()
    queue.enter("drift")
    new = queue.enter("drift")
    old = queue.enter("drift", late=told.append, waited_ms=3_000_000)
    assert (old.place, new.place) == (Place(1, 2), Place(2, 2))
    await asyncio.sleep(599)
    assert told == []
    await asyncio.sleep(2)
    assert len(told) == 1


@in_virtual_time
async def test_the_wait_before_a_restart_is_of_the_venues_time() -> None:
    faster = msgspec.structs.replace(Config().hyperliquid, speed=500.0)
    queue, told = RetrainQueue(), list[str]()
    queue.adopt(msgspec.structs.replace(Config(), hyperliquid=faster))
    queue.enter("drift")
    queue.enter("drift", late=told.append, waited_ms=3_600_000)  # 7.2 s
    await asyncio.sleep(LONGEST_WAIT_S - 10)
    assert told == []
    await asyncio.sleep(5)
    assert len(told) == 1


@pytest.mark.parametrize("parallel", [0, -1])
def test_there_is_always_room_for_one(parallel: int) -> None:
    assert RetrainQueue(parallel).places == 1
