import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from hyperdrift.loaded_model import LoadedModel, load_version
from retrain import artifact, dataset, features, pipeline
from retrain.champion import ChampionModel
from retrain.deciding.expectation import RuleSettings
from retrain.job import Job
from retrain.judging import comparison
from retrain.judging.gate_limits import GateLimits
from retrain.judging.gates import beats_champion
from retrain.stacking.stack import Trainer
from retrain.stacking.twin import fit_twin
from tests.retrain.market import FIVE_MINUTES_MS
from tests.retrain.planted import HORIZON, SMALL, THRESHOLD, job, planted, well_known


def run(made: Job, folder: Path) -> pipeline.Candidate:
    return pipeline.run(made, folder, lambda _step, _percent: None, time.perf_counter)


def load(candidate: pipeline.Candidate, folder: Path) -> LoadedModel:
    return load_version(folder / artifact.manifest_name(candidate.manifest["model_id"]))


def champion_of(candidate: pipeline.Candidate, folder: Path) -> ChampionModel:
    name = artifact.manifest_name(candidate.manifest["model_id"])
    return artifact.read_champion(folder / name)


def test_a_market_with_a_signal_gives_a_model_that_passes(candidate: pipeline.Candidate) -> None:
    assert candidate.refused_by == ()
    assert candidate.meta["scores"]["test"]["skill"] > 0.05
    assert candidate.meta["scores"]["test"]["ic"] > 0.1


def test_a_model_that_knows_nearly_everything_passes_where_a_third_is_neutral(
    tmp_path: Path,
) -> None:
    made = run(job(well_known(2_000, seed=2), horizon_bars=12, backtest=True), tmp_path)
    assert made.refused_by == ()
    test = made.meta["scores"]["test"]
    assert test["ic"] > 0.85
    assert max(made.meta["class_shares"]["test"]) < 0.5
    assert test["argmax"]["accuracy"] > 0.7


@dataclasses.dataclass
class Refused:
    """A whole run whose candidate is refused, with the steps that it told."""

    folder: Path
    made: pipeline.Candidate
    told: list[tuple[str, float]]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    folder, told = tmp_path_factory.mktemp("refused"), list[tuple[str, float]]()
    asked = job(
        well_known(1_200, seed=2),
        horizon_bars=12,
        threshold="default:0.005",
        limits=GateLimits(test_accuracy=0.999),
    )
    timer = iter(range(100)).__next__
    return Refused(
        folder, pipeline.run(asked, folder, lambda *step: told.append(step), timer), told
    )


def test_what_a_default_gave_way_to_stands_in_pointer_certificate_and_report(
    refused: Refused,
) -> None:
    made = refused.made
    assert made.manifest["threshold"] == made.meta["settings"]["threshold_in_force"] == 0.01
    told = made.meta["settings"]["labels"]
    assert "the default of 0.5% leaves" in told
    assert f'<p class="soft">{told}.</p>' in next(refused.folder.glob("report_*")).read_text()


def test_the_certificate_names_every_gate_of_the_table(candidate: pipeline.Candidate) -> None:
    names = [gate["name"] for gate in candidate.meta["gates"]]
    expected = "train_accuracy test_accuracy all_classes overfit beats_prior direction calibrated"
    assert names == [
        *expected.split(),
        *("earns", "beats_champion", "parity", "same_bars", "refit_agrees", "loads", "budget"),
    ]
    assert candidate.meta["passed"] is True


def test_what_ships_is_trained_to_the_newest_bar(candidate: pipeline.Candidate) -> None:
    assert candidate.manifest["trained_to_ms"] == candidate.meta["settings"]["to_ms"]


def test_steps_come_in_order_with_rising_percentages(refused: Refused) -> None:
    made, steps = refused.made, [name for name, _ in refused.told]
    assert steps[:5] == ["features", "labels", "out-of-fold", "judge", "champion"]
    assert "refit" not in steps  # a refused twin is not worth one
    assert [percent for _, percent in refused.told] == sorted(p for _, p in refused.told)
    assert "test_accuracy" in made.refused_by
    assert made.manifest["trained_to_ms"] < made.meta["settings"]["to_ms"]
    assert load(made, refused.folder).check_golden() < 1e-12


def test_the_same_bars_and_seed_give_the_same_model_bytes(tmp_path: Path) -> None:
    frame = planted(1_500, seed=3)
    digests = []
    for name in "ab":
        made = run(job(frame, backtest=True), tmp_path / name)
        digests.append(made.manifest["sha256"][made.manifest["meta_classifier"]])
    assert digests[0] == digests[1]


def test_a_market_about_which_nothing_can_be_known_gives_no_model(tmp_path: Path) -> None:
    refused = run(job(planted(2_000, seed=5, strength=0.0), backtest=True), tmp_path)
    assert "beats_prior" in refused.refused_by


@pytest.fixture(scope="module")
def market() -> dict[str, np.ndarray]:
    return planted(5_000, seed=7)


@pytest.fixture(scope="module")
def champion(
    market: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> ChampionModel:
    """Train on the older bars, so that the newest 700 are new to it."""
    folder = tmp_path_factory.mktemp("champion")
    older = {name: column[:4_300] for name, column in market.items()}
    return champion_of(run(job(older, backtest=True), folder), folder)


def test_only_bars_newer_than_the_champions_training_are_compared(
    market: dict[str, np.ndarray], champion: ChampionModel
) -> None:
    rows = dataset.build(market, HORIZON, THRESHOLD, None, lambda _step: None)
    close_ms = market["t"].astype(np.int64) + FIVE_MINUTES_MS
    fresh = comparison.champion_rows(champion, rows, close_ms, features.schema_hash())
    assert isinstance(fresh, range)
    assert close_ms[rows.bars[fresh.start]] > champion.trained_to_ms
    assert close_ms[rows.bars[fresh.start - 1]] <= champion.trained_to_ms


def test_a_champion_that_answers_another_question_or_saw_all_bars_is_left_to_probation(
    market: dict[str, np.ndarray], champion: ChampionModel
) -> None:
    close_ms = market["t"].astype(np.int64) + FIVE_MINUTES_MS
    other = dataset.build(market, HORIZON, 0.004, None, lambda _step: None)
    assert "another question" in str(
        comparison.champion_rows(champion, other, close_ms, features.schema_hash())
    )
    older = {name: column[:4_400] for name, column in market.items()}
    rows = dataset.build(older, HORIZON, THRESHOLD, None, lambda _step: None)
    answer = comparison.champion_rows(champion, rows, close_ms, features.schema_hash())
    assert "only 94 judged bars" in str(answer)


def test_an_equal_challenger_is_not_worse_and_a_champion_that_knows_more_stays(
    market: dict[str, np.ndarray], champion: ChampionModel
) -> None:
    rows = dataset.build(market, HORIZON, THRESHOLD, None, lambda _step: None)
    fresh = range(rows.test.stop - 690, rows.test.stop)
    trainer = Trainer(SMALL, features.NAMES, 1)
    given, _ = fit_twin(rows, trainer, RuleSettings())

    def knowing(asked: np.ndarray) -> np.ndarray:
        """Give what happened a little more than its due."""
        return 0.8 * champion.predict(asked) + 0.2 * np.eye(3)[rows.labels[-len(asked) :]]

    equal = comparison.compare(champion.predict, rows, fresh, given, trainer)
    worse = comparison.compare(knowing, rows, fresh, given, trainer)
    limits = GateLimits()
    verdicts = [beats_champion(one, limits.beats_champion) for one in (equal, worse)]
    assert [verdict.passed for verdict in verdicts] == [True, False]


def test_a_champion_is_scored_on_the_rows_that_are_compared(
    market: dict[str, np.ndarray], champion: ChampionModel, tmp_path: Path
) -> None:
    made = run(job(market, champion=champion, backtest=True), tmp_path)
    gate = next(gate for gate in made.gates if gate.name == "beats_champion")
    assert gate.value is not None
    assert f"on {made.meta['scores']['champion']['rows']} rows" in gate.verdict


def test_a_relative_threshold_is_told_as_the_fraction_that_it_was_at_the_newest_bar() -> None:
    frame = planted(2_000, seed=1)
    made = job(frame, threshold="vol:0.8")
    rows = dataset.build(frame, HORIZON, "vol:0.8", None, lambda _step: None)
    told = pipeline._settings(made, rows, made.recipe)["threshold_in_force"]
    returns = frame["close"][1:] / frame["close"][:-1] - 1
    assert told == pytest.approx(0.8 * np.sqrt(HORIZON) * returns[-288:].std(ddof=1))


def test_a_backtest_leaves_out_report_and_proofs_and_changes_no_verdict(
    tmp_path: Path, candidate: pipeline.Candidate, candidate_dir: Path
) -> None:
    live = champion_of(candidate, candidate_dir)
    made = run(job(planted(4_000, seed=1), champion=live, backtest=True), tmp_path)
    gates = {gate.name: gate for gate in made.gates}
    for before in candidate.gates:
        assert gates[before.name].passed == before.passed
        if before.name not in {"beats_champion", "same_bars", "loads", "budget"}:
            assert gates[before.name] == before
    assert gates["loads"].verdict.startswith("left out in a backtest")
    assert set(made.manifest["forms"]) == {"joblib"}
    assert (tmp_path / made.manifest["report"]).read_text() == pipeline.NO_REPORT
    rows, expected = load(made, tmp_path).golden
    assert champion_of(made, tmp_path).predict(rows) == pytest.approx(expected, abs=1e-9)


def test_only_the_first_model_of_a_backtest_is_proved(candidate: pipeline.Candidate) -> None:
    first = job(planted(300, seed=1), backtest=True)
    assert pipeline._proof_needed(first, candidate.gates)
    refused = (dataclasses.replace(candidate.gates[0], passed=False), *candidate.gates[1:])
    assert not pipeline._proof_needed(first, refused)
    assert pipeline._proof_needed(dataclasses.replace(first, backtest=False), refused)
