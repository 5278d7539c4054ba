"""A bot's own feature class: what it is fed, and what becomes of what it gives."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hyperdrift.version_files import read_manifest
from retrain import artifact, computers, computing, dataset, features, pipeline
from retrain.errors import ComputerFailed
from tests import botcode
from tests.retrain.market import made_up
from tests.retrain.planted import job, planted


class Recorder:
    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.fed: list[tuple[dict[str, float], dict[str, float], float]] = []

    def update_and_build(
        self, bar_row: dict[str, float], cohort: dict[str, float], funding: float
    ) -> list[float]:
        self.fed.append((bar_row, cohort, funding))
        return [bar_row["close"], *[0.0] * 16]


class Counter(Recorder):
    def update_and_build(self, *given: object) -> list[float]:
        self.columns.append("")
        return [float(len(self.columns)), *[0.0] * 16]


def run(make: type, n_bars: int = 3_000, **changes: np.ndarray) -> computers.Computed:
    frame = made_up(n_bars, seed=1) | changes
    return computers.run("bot:Class", b"source", make, frame)


def test_an_instance_is_told_the_columns_and_fed_bar_cohort_and_funding() -> None:
    frame = made_up(400, seed=1)
    instance = computers.Instance("bot:Class", Recorder)
    for row in computers.inputs(frame):
        instance.feed(row)
    made = instance._object
    assert made.columns == list(features.NAMES)
    bar, cohort, funding = made.fed[-1]
    assert bar == {name: frame[name][-1] for name in ("open", "high", "low", "close", "volume")}
    ours = dict(zip(features.NAMES, features.compute(frame)[-1], strict=True))
    assert (cohort["pros"], cohort["amateurs"]) == (ours["S_top"], ours["S_bot"])
    assert cohort["mood"] == pytest.approx(ours["flow_diff"])
    assert funding == frame["funding"][-1]


def test_rows_are_what_the_class_gave_and_the_first_ones_are_not_known() -> None:
    frame = made_up(3_000, seed=1)
    made = run(Recorder)
    assert np.isnan(made.rows[: features.WARMUP_BARS]).all()
    assert np.array_equal(made.rows[features.WARMUP_BARS :, 0], frame["close"][299:])
    assert made.served.shape == (500, 17)


def test_a_bar_whose_funding_is_unknown_has_no_features() -> None:
    funding = np.zeros(3_000)
    funding[1_000] = np.nan
    made = run(Recorder, funding=funding)
    assert np.isnan(made.rows[1_000]).all()
    assert np.isfinite(made.rows[1_001]).all()


@pytest.mark.parametrize(("make", "same"), [(Recorder, True), (Counter, False)])
def test_a_class_that_remembers_for_ever_does_not_pass_the_parity_of_a_restart(
    make: type, same: bool
) -> None:
    frame = made_up(3_000, seed=1)
    computed = run(make)
    rows = dataset.build(frame, 6, 0.001, None, lambda _step: None, computed=computed)
    assert rows.features.shape[1] == 17
    worst = dataset.parity(rows, frame, computed)
    assert (worst == 0) if same else (worst > 0.1)


class Twelve(Recorder):
    def update_and_build(self, *given: object) -> list[float]:
        return [0.0] * 12


class Broken(Recorder):
    def update_and_build(self, *given: object) -> list[float]:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("make", "says"), [(Twelve, "gave 12 features for a bar, must give 17"), (Broken, "SystemExit")]
)
def test_a_class_that_fails_is_refused_by_name(make: type, says: str) -> None:
    with pytest.raises(ComputerFailed, match=f"features.computer bot:Class .*{says}"):
        run(make, 400)


def test_the_hash_names_class_and_source() -> None:
    one = computers.schema_hash("bot:Class", b"source")
    assert len(one) == 12
    assert one != features.schema_hash()
    others = [("bot:Other", b"source"), ("bot:Class", b"sauce")]
    assert one not in [computers.schema_hash(*other) for other in others]


def test_a_model_of_a_bots_features_says_so_and_passes_parity(tmp_path: Path) -> None:
    """The class is imported from a folder here, as the retrain process does it."""
    name = "paperbot.features:Honest"
    make, source = computing.load(name, botcode.write(tmp_path))
    frame = planted(1_500, seed=3)
    computed = computers.run(name, source, make, frame)
    made = pipeline.run(
        job(frame, computed=computed), tmp_path, lambda _step, _percent: None, time.perf_counter
    )
    assert made.manifest["computer"] == name
    assert made.manifest["schema_hash"] == computed.schema_hash
    assert made.manifest["feature_dim"] == 17
    verdicts = {gate.name: gate.passed for gate in made.gates}
    assert (verdicts["parity"], verdicts["loads"]) == (True, True)
    manifest = read_manifest(tmp_path / artifact.manifest_name(made.manifest["model_id"]))
    assert manifest.computer == name


def test_the_child_answers_lines_whatever_the_bot_prints(tmp_path: Path) -> None:
    path = botcode.write(tmp_path)
    asked = '{"inputs": [[1, 1, 1, 1, 2, 0, 0, 0]]}\n'
    done = subprocess.run(
        [sys.executable, "-m", "retrain.computing", "paperbot.features:Honest", path],
        input=asked + asked, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    first, *answers = done.stdout.splitlines()
    assert "schema_hash" in first
    assert [answer.startswith('{"rows": [[0.0, 0.') for answer in answers] == [True, True]
    assert "prints what it likes" in done.stderr


def test_a_class_that_is_not_there_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "retrain.computing", "no.such:Class", ""],
        input="", capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 2
    assert "features.computer no.such:Class cannot be imported" in done.stdout
