import math

from daemon.web.metrics.catalogue import ENTRIES, PHASES
from daemon.web.metrics.families import DiskFigures, families
from monitor.phases import Phase
from tests.daemon.web.metrics.readings import EMPTY, reading

DISK = DiskFigures(store_bytes=10, free_bytes=20, size_bytes=30)


def samples(*slots: str, **how: object) -> dict[tuple[str, ...], float]:
    """Return the values by name and labels."""
    found = {}
    for family in families(reading(*slots, **how), DISK):  # type: ignore[arg-type]
        for sample in family.samples:
            key = (sample.name.removeprefix("hyperdrift_"), *sorted(sample.labels.values()))
            found[key] = sample.value
    return found


def test_the_figures_have_base_units() -> None:
    found = samples("BTC-5m")
    assert found["lag_seconds", "BTC-5m"] == 1.5
    assert found["last_bar_timestamp_seconds", "BTC-5m"] == 1.75e9
    assert found["retrain_progress_ratio", "BTC-5m"] == 0.4
    assert math.isclose(found["earning_mean_ratio", "BTC-5m", "signals"], 1.5e-4)
    assert found["earning_returns", "BTC-5m", "signals"] == 40
    assert found["profit_7d", "BTC-5m"] == -12.5
    assert found["disk_free_bytes",] == 20
    assert found["notifications_sent_total",] == 0


def test_the_phase_is_one_of_all_phases_of_the_engine() -> None:
    assert set(PHASES) == {phase.value for phase in Phase}
    found = samples("BTC-5m")
    phases = {
        key[-1] if key[-1] in PHASES else key[1]: v for key, v in found.items() if key[0] == "phase"
    }
    assert phases == {phase: float(phase == "retraining") for phase in PHASES}


def test_what_is_not_known_yet_is_left_out_and_not_0() -> None:
    names = {key[0] for key in samples("BTC-5m", state=EMPTY)}
    unknown = {"model_info", "model_age_seconds", "win_rate_ratio", "lag_seconds", "drift_evidence"}
    assert not names & unknown
    assert {"phase", "bots_online", "win_rate_trades"} <= names


def test_bots_are_counted_and_never_named() -> None:
    found = samples("BTC-5m")
    assert found["bots_online", "BTC-5m"] == 2
    assert found["bots_silent", "BTC-5m"] == 1
    assert not any(bot in key for key in found for bot in ("a", "b", "c"))


def test_every_metric_of_the_state_is_shown_and_no_name_is_given_twice() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))
    shown = {f"hyperdrift_{key[0]}" for key in samples("BTC-5m")}
    assert shown <= set(names)


def test_each_slot_has_its_own_series() -> None:
    one, two = len(samples("BTC-5m")), len(samples("BTC-5m", "ETH-5m"))
    alone = len(samples())
    assert two - one == one - alone > 40
