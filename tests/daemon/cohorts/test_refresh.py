"""Cohorts of the trades heard: learnt from earlier bars only, and in force for later ones."""

import numpy as np
import pytest

from daemon.cohorts.learning import TakenVolumes, before, heard, learn
from daemon.cohorts.refresh import refresh
from daemon.core.bars import Bar, Provenance
from daemon.store import taker_table
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, SlotName
from retrain.cohorts.ranking import TakerFlows
from tests.retrain.cohorts.planted_takers import HORIZON, takers

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
DAYS = 30
SKILLED = 20
ADDRESSES = tuple(f"0x{number:040x}" for number in range(60))


def taken(days: int = DAYS) -> TakenVolumes:
    flows, close = takers(3, right=0.8, days=days, addresses=len(ADDRESSES))
    return TakenVolumes(ADDRESSES, flows, np.arange(len(close)) * STEP, close)


def test_at_first_each_piece_has_cohorts_of_the_bars_before_it() -> None:
    whole, end = taken(), DAYS * DAY_MS + STEP
    found = refresh(SLOT, whole, HORIZON, end, is_first=True)
    assert [one.from_t for one in found.lists] == [
        *(int(whole.t[int(cut * len(whole.t))]) for cut in (0.4, 0.6, 0.8)),
        end,
    ]
    for one in found.lists:
        again = learn(SLOT, before(whole, one.from_t), HORIZON)
        assert one.top == {m.address for m in again.members if m.cohort == "top"}
    assert found.lists[-1].top == set(ADDRESSES[:10])
    assert found.lists[-1].bottom == set(ADDRESSES[10:SKILLED])
    assert len(found.members) == SKILLED


def test_later_only_the_newest_list_is_learnt() -> None:
    found = refresh(SLOT, taken(), HORIZON, DAYS * DAY_MS, is_first=False)
    assert [one.from_t for one in found.lists] == [DAYS * DAY_MS]


def test_no_list_knows_a_bar_that_it_is_in_force_for() -> None:
    """What comes after a list's first bar may be anything: the list stays as it is."""
    whole, end = taken(), DAYS * DAY_MS
    rng = np.random.default_rng(9)
    for one in refresh(SLOT, whole, HORIZON, end, is_first=True).lists[:-1]:
        later = whole.t >= one.from_t
        close = np.where(later, whole.close * rng.lognormal(0, 0.01, len(later)), whole.close)
        other = later[whole.flows.bar]
        signed = np.where(other, rng.normal(size=len(other)), whole.flows.signed)
        address = np.where(other, rng.permutation(whole.flows.address), whole.flows.address)
        changed = whole._replace(flows=TakerFlows(address, whole.flows.bar, signed), close=close)
        told = refresh(SLOT, changed, HORIZON, end, is_first=True).lists
        assert one in told


def test_pieces_without_enough_bars_have_nobody_in_force() -> None:
    found = refresh(SLOT, taken(2), HORIZON, 2 * DAY_MS, is_first=True)
    assert next(one.from_t for one in found.lists) > 300 * STEP
    with pytest.raises(BadInput, match="too few"):
        refresh(SLOT, taken(1), HORIZON, DAY_MS, is_first=True)


def test_what_was_heard_is_read_with_its_closes() -> None:
    with Store(":memory:") as store:
        with pytest.raises(BadInput, match="learn_cohorts = true"):
            heard(store, SLOT)
        one, two = ADDRESSES[:2]
        kept = {STEP: {two: 1.0}, 3 * STEP: {one: -1.0, two: 2.0}}
        taker_table.put(store.database, SLOT, kept, DAY_MS)
        bars = [Bar(k * STEP, 7.0, 9.0, 6.0, 8.0 + k / 10, 1.0) for k in (0, 1, 3, 4)]
        store.put_bars(SLOT, bars, Provenance.REST)
        found = heard(store, SLOT)
    assert found.t.tolist() == [STEP, 2 * STEP, 3 * STEP]
    assert np.array_equal(found.close, [8.1, np.nan, 8.3], equal_nan=True)
    rows = {(found.addresses[a], int(b)): s for a, b, s in zip(*found.flows, strict=True)}
    assert rows == {(two, 0): 1.0, (one, 2): -1.0, (two, 2): 2.0}
