from daemon.web.metrics.event_tally import EventTally
from hyperdrift.slot_name import SlotName
from tests.daemon.web.metrics.readings import told
from tests.fakes import FakeClock


def value(tally: EventTally, name: str, **labels: str) -> float:
    """Return the value of one series; it fails if there is none."""
    return next(
        sample.value
        for family in tally.collect()
        for sample in family.samples
        if sample.name == f"hyperdrift_{name}" and labels.items() <= sample.labels.items()
    )


def series(tally: EventTally) -> int:
    return sum(len(family.samples) for family in tally.collect())


def test_what_has_not_happened_yet_is_shown_as_0() -> None:
    tally = EventTally([SlotName("BTC", "5m")], FakeClock())
    for result in ("passed", "refused", "failed", "stopped"):
        assert value(tally, "retrains_total", slot="BTC-5m", result=result) == 0
    assert value(tally, "rollbacks_total", slot="BTC-5m") == 0
    assert value(tally, "alerts_total", slot="BTC-5m", severity="critical") == 0


def test_a_retrain_is_counted_by_its_result_and_timed_from_its_start() -> None:
    clock = FakeClock()
    tally = EventTally([SlotName("BTC", "5m")], clock)
    tally.take(told("retrain_started", job="j1"))
    clock.ms += 40_000
    gates = ["direction", "overfit"]
    tally.take(told("retrain_finished", job="j1", passed=False, refused_by=gates))
    assert value(tally, "retrains_total", result="refused") == 1
    assert value(tally, "refusals_total", gate="direction") == 1
    assert value(tally, "refusals_total", gate="overfit") == 1
    assert value(tally, "retrain_duration_seconds_sum", result="refused") == 40
    tally.take(told("retrain_started", job="j2"))
    tally.take(told("retrain_finished", job="j2", passed=True, refused_by=[]))
    tally.take(told("retrain_failed", job="j3", error="killed"))
    tally.take(told("retrain_stopped", job="j4"))
    for result in ("passed", "failed", "stopped"):
        assert value(tally, "retrains_total", result=result) == 1


def test_a_retrain_whose_start_was_not_heard_is_counted_and_not_timed() -> None:
    tally = EventTally([SlotName("BTC", "5m")], FakeClock())
    tally.take(told("retrain_finished", job="of before", passed=True))
    assert value(tally, "retrains_total", result="passed") == 1
    names = {s.name for family in tally.collect() for s in family.samples}
    assert "hyperdrift_retrain_duration_seconds_sum" not in names


def test_swaps_rollbacks_alerts_and_answers_are_counted() -> None:
    tally = EventTally([SlotName("BTC", "5m")], FakeClock())
    for kind in ("swapped", "swapped", "swap_refused", "rolled_back"):
        tally.take(told(kind))
    tally.take(told("acknowledged", status="loaded", order_to_ack_ms=250.0))
    tally.take(told("acknowledged", status="<script>", order_to_ack_ms=50.0))
    tally.take(told("gap", severity="critical"))
    assert value(tally, "swaps_total", result="live") == 2
    assert value(tally, "swaps_total", result="refused") == 1
    assert value(tally, "rollbacks_total") == 1
    assert value(tally, "swap_ack_seconds_sum", status="loaded") == 0.25
    assert value(tally, "swap_ack_seconds_count", status="refused") == 1
    assert value(tally, "alerts_total", kind="gap", severity="critical") == 1
    assert value(tally, "events_total", kind="swapped") == 2


def test_an_alert_of_the_whole_daemon_has_no_slot() -> None:
    tally = EventTally([SlotName("BTC", "5m")], FakeClock())
    tally.take(told("alert", slot="", severity="critical"))
    assert value(tally, "alerts_total", slot="", severity="critical") == 1


def test_a_slot_that_is_removed_has_no_series_and_goes_on_where_it_was_when_it_is_back() -> None:
    btc = SlotName("BTC", "5m")
    slots = {btc: None, SlotName("ETH", "5m"): None}
    tally = EventTally(slots, FakeClock())
    tally.take(told("swapped"))
    before = series(tally)
    del slots[btc]
    shown = {s.labels.get("slot") for family in tally.collect() for s in family.samples}
    assert shown == {"ETH-5m"}
    slots[btc] = None
    assert series(tally) == before
    assert value(tally, "swaps_total", slot="BTC-5m", result="live") == 1


def test_slots_and_names_that_somebody_invents_make_no_series_without_end() -> None:
    tally = EventTally([SlotName("BTC", "5m")], FakeClock())
    before = series(tally)
    tally.take(told("alert", slot="EVIL-5m", severity="critical"))
    assert series(tally) == before
    for number in range(500):
        gates = [f"gate {number}"]
        tally.take(told("retrain_finished", job="j", passed=False, refused_by=gates))
    assert series(tally) < before + 100
    assert value(tally, "refusals_total", gate="other") > 400
    assert value(tally, "retrains_total", result="refused") == 500
