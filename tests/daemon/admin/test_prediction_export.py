"""Predictions are exported with the decision of then, and none that looks back in time."""

from pathlib import Path

import pandas as pd
import pytest

from daemon.admin.prediction_export import export
from daemon.runtime import event_codec
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from monitor import events

SLOT, STEP = SlotName("BTC", "5m"), 300_000
START = 1_760_000_100_000


def scored(k: int, model_id: str | None, down: float = 0.2, up: float = 0.2) -> events.BarScored:
    """Return the score of bar `k`, as the daemon journals it."""
    t = START + k * STEP
    p = None if model_id is None else (down, 1 - down - up, up)
    return events.BarScored(
        slot=str(SLOT), at_ms=t + STEP, t=t, close=1.0, row=(0.0,) * 17, model_id=model_id, p=p
    )


def served(at_ms: int, model_id: str, down: float, up: float) -> events.ModelServed:
    """Return that a version went live at `at_ms`."""
    return events.ModelServed(
        slot=str(SLOT),
        at_ms=at_ms,
        model_id=model_id,
        previous_id=None,
        reason="drift",
        trained_to_ms=START,
        horizon_bars=12,
        threshold=0.005,
        up=up,
        down=down,
    )


def journal(store: Store, *happened: events.Event) -> None:
    for event in happened:
        store.append_journal(SLOT, event.at_ms, *event_codec.body(event))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather", "json"])
def test_each_decision_is_that_of_the_version_that_was_live(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"BTC-5m.{suffix}"
    with open_store(tmp_path / "data") as store:
        journal(
            store,
            scored(0, None),
            served(START + STEP, "a", down=0.3, up=0.4),
            scored(1, "a", down=0.35, up=0.35),
            served(START + 2 * STEP + 1, "b", down=0.4, up=0.3),
            scored(2, "b", down=0.35, up=0.35),
            scored(3, "b"),
        )
        done = export(store, SLOT, file)
    table = getattr(pd, f"read_{suffix}")(file)
    assert list(table) == ["t", "model_id", "p_down", "p_neutral", "p_up", "decision"]
    assert table["t"].astype("int64").tolist() == [START + k * STEP for k in (1, 2, 3)]
    assert table["model_id"].tolist() == ["a", "b", "b"]
    assert table["decision"].tolist() == [0, 2, 1]
    assert (done.predictions, done.left_out, done.models) == (3, 0, 2)


def test_bars_scored_in_hindsight_by_a_later_version_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    with open_store(tmp_path / "data") as store:
        journal(
            store,
            served(START, "a", down=0.3, up=0.3),
            scored(0, "a"),
            # The daemon stopped, somebody deployed b, and the start scored what was missed.
            served(START + 9 * STEP + 1, "b", down=0.3, up=0.3),
            *(scored(k, "b", up=0.9) for k in range(1, 9)),
            scored(9, "b", up=0.5),
        )
        done = export(store, SLOT, file)
    assert pd.read_csv(file)["t"].tolist() == [START, START + 9 * STEP]
    assert (done.predictions, done.left_out) == (2, 8)


def test_bars_missed_by_the_daemon_and_scored_by_the_version_of_then_are_kept(
    tmp_path: Path,
) -> None:
    with open_store(tmp_path / "data") as store:
        journal(store, served(START, "a", down=0.3, up=0.3), *(scored(k, "a") for k in range(5)))
        assert export(store, SLOT, tmp_path / "p.csv").predictions == 5


def test_without_predictions_nothing_is_written_and_the_reason_said(tmp_path: Path) -> None:
    with open_store(tmp_path / "data") as store:
        journal(store, scored(0, None), scored(1, "never served"))
        with pytest.raises(BadInput, match="BTC-5m has no predictions"):
            export(store, SLOT, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
