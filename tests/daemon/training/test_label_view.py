from pathlib import Path

import numpy as np
import pytest

from daemon.config.schema import Config, DaemonSection, SlotSection
from daemon.core.bars import Bar, Provenance
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.training.label_view import label_report
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import START_MS, certificate, write_version

SLOT = SlotName("BTC", "5m")


def config(folder: Path, **keys: object) -> Config:
    slots = (SlotSection(coin="BTC", **keys),)  # type: ignore[arg-type]  # keys of a section
    return Config(daemon=DaemonSection(data_dir=str(folder)), slots=slots)


def store_bars(folder: Path, count: int, *, move: float, slot: SlotName = SLOT) -> None:
    """Store a random walk whose bars move by `move`, a fraction."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, move, count)))
    store = open_store(folder)
    bars = [
        Bar(START_MS + k * slot.interval_ms, c, c * 1.01, c * 0.99, c, 1.0)
        for k, c in enumerate(close.tolist())
    ]
    store.put_bars(slot, bars, Provenance.REST)
    store.close()


def in_force(text: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if "<- in force" in line)
    return line.split()[:2]


def test_it_needs_bars(tmp_path: Path) -> None:
    store_bars(tmp_path, 50, move=0.001)
    with pytest.raises(BadInput, match=r"BTC-5m has 40 bars to learn from .* import some or run"):
        label_report(config(tmp_path), SLOT)


def test_the_row_that_a_retrain_would_take_is_marked_with_the_reason(tmp_path: Path) -> None:
    store_bars(tmp_path, 3_000, move=0.006)
    told = str(label_report(config(tmp_path), SLOT))
    assert in_force(told) == ["12", "0.02"]
    assert "BTC-5m: UP and DOWN are moves of more than 2% in 12 bars: the default of 0.5%" in told
    assert "NEUTRAL, not 55% to 92%" in told
    written = str(label_report(config(tmp_path, threshold=0.004, horizon_bars=6), SLOT))
    assert in_force(written) == ["6", "0.004"]
    assert "as configured" in written
    assert in_force(str(label_report(config(tmp_path, threshold="vol:0.8"), SLOT))) == [
        "12",
        "vol:0.8",
    ]


def test_for_json_it_has_the_same_rows_of_which_one_is_in_force(tmp_path: Path) -> None:
    store_bars(tmp_path, 3_000, move=0.006)
    document = label_report(config(tmp_path, threshold=0.004, horizon_bars=6), SLOT).document()
    assert (document["slot"], document["live"]) == ("BTC-5m", "")
    assert document["taken"].endswith("in 6 bars: as configured")
    (row,) = (row for row in document["rows"] if row["in_force"])
    assert (row["horizon_bars"], row["threshold"]) == (6, 0.004)
    assert row["down"] + row["neutral"] + row["up"] == pytest.approx(1.0)


def test_the_defaults_of_a_slot_that_is_not_configured_are_marked_too(tmp_path: Path) -> None:
    store_bars(tmp_path, 1_000, move=0.001, slot=SlotName("SOL", "5m"))
    assert in_force(str(label_report(config(tmp_path), SlotName("SOL", "5m")))) == ["12", "0.005"]
    store_bars(tmp_path, 1_000, move=0.001, slot=SlotName("SOL", "15m"))
    assert "in force" not in str(label_report(config(tmp_path), SlotName("SOL", "15m")))


def test_what_the_live_model_was_made_with_is_kept_while_it_fits(tmp_path: Path) -> None:
    store_bars(tmp_path, 3_000, move=0.006)
    settings = {"threshold": "default:0.005", "labels": "as the live model was made"}
    registry = Registry(tmp_path / "models")
    made = write_version(
        tmp_path / "made", 1, meta=certificate() | {"settings": settings}, threshold=0.025
    )
    registry.deploy(SLOT, registry.adopt(SLOT, made), reason="a test", by="test", at_ms=START_MS)
    told = str(label_report(config(tmp_path), SLOT))
    assert in_force(told) == ["12", "0.025"]
    assert "kept from the live model" in told
    assert told.endswith("live model: as the live model was made")
    assert "has changed" in str(label_report(config(tmp_path, threshold=0.01), SLOT))
