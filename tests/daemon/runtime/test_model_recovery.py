"""What becomes, at a start, of a retrain that the last daemon left: it waited, or it ran."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.core.clock import VenueClock
from daemon.runtime.model_recovery import ModelRecovery
from daemon.runtime.serving import Serving
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.manifest import Manifest
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
    ("after", "told_to_stop", "failed"),
    [
        ((), "", False),
        ((events.TurnCame,), "", True),
        ((events.TurnCame,), "1", False),
        ((events.TurnCame,), "7", False),  # as an older daemon counted
        ((events.TurnCame, events.JudgingBegan), "", True),
    ],
)
async def test_only_a_retrain_that_had_begun_has_failed_when_the_daemon_was_killed(
    after: tuple[type[events.Event], ...], told_to_stop: str, failed: bool
) -> None:
    engine, store, ordered = left(*after), ThreadedStore(Store(":memory:")), list[Any]()
    ends = list[Any]()

    async def act(_: actions.Action) -> None: ...

    async def handle(event: events.Event) -> None:
        ends.append(event)
        ordered.extend(engine.handle(event))

    recovery = ModelRecovery(
        SLOT, cast("Serving", Now()), store, VenueClock(FakeClock()), handle=handle, act=act
    )
    was = engine.snapshot()
    if told_to_stop:
        await recovery.note_stop(f"BTC-5m-{NOW['at_ms']}-{told_to_stop}")
    await recovery.reconcile(was, None, None)
    store.close()
    again = [one for one in ordered if isinstance(one, actions.StartRetrain)]
    alerts = [one for one in ordered if isinstance(one, actions.Alert)]
    assert (len(again), len(alerts)) == (1, int(failed)), "a first model is tried again at once"
    assert [(end.stopped, end.cut_off) for end in ends] == [(not failed, failed)]


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


class Found(Now):
    """A version is live that the journal does not know; its files are lost at times."""

    def __init__(self) -> None:
        self.lost, self.is_intact, self.pointer, self.left_by_hand = "", True, None, False

    async def found(self, _: object, was_id: str | None) -> events.ModelServed:
        fields: dict[str, Any] = {"horizon_bars": 12, "threshold": 0.005, "up": 0.4, "down": 0.4}
        return events.ModelServed(
            **NOW, model_id="m9", previous_id=was_id, reason="r", trained_to_ms=NOW["at_ms"],
            **fields,
        )  # fmt: skip

    async def is_whole(self) -> bool:
        return self.is_intact

    async def resume(self, *_: object) -> Any:
        self.lost = "LATEST.json was missing"
        return SimpleNamespace(model_id="m9")


async def test_no_first_model_is_trained_beside_one_that_a_start_finds() -> None:
    engine, store, ordered = left(), ThreadedStore(Store(":memory:")), list[actions.Action]()

    async def act(_: actions.Action) -> None: ...

    async def handle(event: events.Event) -> None:
        ordered.extend(engine.handle(event))

    recovery = ModelRecovery(
        SLOT, cast("Serving", Found()), store, VenueClock(FakeClock()), handle=handle, act=act
    )
    live = cast("Manifest", SimpleNamespace(model_id="m9"))
    await recovery.reconcile(engine.snapshot(), live, None)
    store.close()
    assert [one for one in ordered if isinstance(one, actions.StartRetrain)] == []
    assert (engine.snapshot().model_id, engine.snapshot().job_id) == ("m9", None)


async def test_each_loss_of_the_live_model_is_told_also_if_it_is_lost_as_before() -> None:
    store, told, serving = ThreadedStore(Store(":memory:")), list[actions.Action](), Found()

    async def act(order: actions.Action) -> None:
        told.append(order)

    async def handle(_: events.Event) -> None: ...

    recovery = ModelRecovery(
        SLOT, cast("Serving", serving), store, VenueClock(FakeClock()), handle=handle, act=act
    )
    was = replace(left().snapshot(), model_id="m9")
    for is_intact in (False, False, True, False):
        serving.is_intact = is_intact
        await recovery.mend(was)
    store.close()
    assert [isinstance(one, actions.Alert) for one in told] == [True, True]


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
