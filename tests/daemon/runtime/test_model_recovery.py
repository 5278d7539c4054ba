"""What becomes, at a start, of a retrain that the last daemon left: it waited, or it ran."""

from dataclasses import replace
from typing import Any, cast

import pytest

from daemon.core.clock import VenueClock
from daemon.runtime.model_recovery import ModelRecovery
from daemon.runtime.serving import Serving
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from monitor.engine import Engine
from monitor.policy import PolicySettings
from tests.fakes import FakeClock

SLOT = SlotName("BTC", "5m")
NOW: dict[str, Any] = {"slot": "BTC-5m", "at_ms": 1_750_000_000_000}


class Now:
    """The slot's time."""

    def now(self) -> dict[str, Any]:
        return NOW


def left(*after: type[events.Event]) -> Engine:
    """An engine whose first model was ordered, and what was heard of it before the end."""
    engine = Engine(
        "BTC-5m", PolicySettings(), interval_ms=300_000, names=("a",), history_bars=9999
    )
    (order,) = (
        one for one in engine.handle(events.Ticked(**NOW)) if isinstance(one, actions.StartRetrain)
    )
    for kind in after:
        engine.handle(kind(**NOW, job_id=order.job_id))  # type: ignore[call-arg]
    return engine


@pytest.mark.parametrize(
    ("after", "told_to_stop", "stopped"),
    [
        ((), False, True),
        ((events.TurnCame,), False, False),
        ((events.TurnCame,), True, True),
        ((events.TurnCame, events.JudgingBegan), False, False),
    ],
)
async def test_only_a_retrain_that_had_begun_has_failed_when_the_daemon_was_killed(
    after: tuple[type[events.Event], ...], told_to_stop: bool, stopped: bool
) -> None:
    engine, store, ordered = left(*after), ThreadedStore(Store(":memory:")), list[Any]()

    async def act(_: actions.Action) -> None: ...

    async def handle(event: events.Event) -> None:
        ordered.extend(engine.handle(event))

    recovery = ModelRecovery(
        SLOT, cast("Serving", Now()), store, VenueClock(FakeClock()), handle=handle, act=act
    )
    was = engine.snapshot()
    if told_to_stop:
        await recovery.note_stop(was.job_id or "")
    await recovery.reconcile(was, None, None)
    store.close()
    again = [one for one in ordered if isinstance(one, actions.StartRetrain)]
    alerts = [one for one in ordered if isinstance(one, actions.Alert)]
    assert (len(again), len(alerts)) == ((1, 0) if stopped else (0, 1))


async def test_a_question_that_waited_is_asked_again_and_its_wait_goes_on() -> None:
    store, acted = ThreadedStore(Store(":memory:")), list[actions.Action]()

    async def act(order: actions.Action) -> None:
        acted.append(order)

    async def handle(_: events.Event) -> None: ...

    clock = FakeClock()
    recovery = ModelRecovery(
        SLOT, cast("Serving", Now()), store, VenueClock(clock), handle=handle, act=act
    )
    was = replace(left().snapshot(), job_id=None, challenge_id="c1")
    asked = actions.AskChallenger(slot="BTC-5m", at_ms=5, job_id="c1", reason="x", since_ms=5)
    await recovery.reconcile(was, None, asked)
    store.close()
    assert acted == [replace(asked, at_ms=clock.now_ms())]


@pytest.mark.parametrize(
    ("known", "found", "ends"),
    [
        ({}, {"job_id": "one"}, events.RetrainFailed),
        ({}, {"challenge_id": "one"}, events.ChallengerJudged),
        ({"job_id": "one"}, {"job_id": "one"}, None),
        ({"challenge_id": "one"}, {"challenge_id": "one"}, None),
    ],
)
async def test_what_a_rebuilt_engine_ordered_ends_and_what_was_under_way_goes_on(
    known: dict[str, Any], found: dict[str, Any], ends: type[events.Event] | None
) -> None:
    store, handled = ThreadedStore(Store(":memory:")), list[events.Event]()

    async def act(_: actions.Action) -> None: ...

    async def handle(event: events.Event) -> None:
        handled.append(event)

    recovery = ModelRecovery(
        SLOT, cast("Serving", Now()), store, VenueClock(FakeClock()), handle=handle, act=act
    )
    none = replace(left().snapshot(), job_id=None, challenge_id=None)
    await recovery.end_replayed(replace(none, **known), replace(none, **found))
    store.close()
    assert [type(one) for one in handled] == ([ends] if ends else [])
