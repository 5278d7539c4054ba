"""The quick challenger says yes where newer bars teach something, no where they do not."""

import json
from pathlib import Path

import numpy as np
import pytest

from retrain import artifact, challenger, pipeline
from retrain.__main__ import main
from retrain.champion import ChampionModel
from retrain.judging.gate_limits import GateLimits
from tests.retrain.planted import job, planted

OLD_BARS, ALL_BARS = 3_500, 5_000


@pytest.mark.parametrize(
    ("losses", "helps"),
    [
        ((0.40, 0.39, 0.38), True),  # better than the live model, if only by its recipe
        ((0.40, 0.41, 0.43), True),  # its recipe is poorer, but newer bars make it less so
        ((0.40, 0.41, 0.40), False),
        ((0.40, 0.40, 0.40), False),
    ],
)
def test_it_must_beat_the_live_model_or_its_own_stale_twin(losses, helps: bool) -> None:
    answer = challenger._answer(500, *losses)
    assert answer.helps is helps
    for loss in losses:
        assert f"{loss:.4f}" in answer.text


def test_without_a_live_model_there_is_nothing_to_ask() -> None:
    answer = challenger.ask(job(planted(1_500, seed=3)))
    assert (answer.helps, answer.rows) == (None, 0)
    assert "no live model" in answer.text


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> ChampionModel:
    """A model of the older bars."""
    folder = tmp_path_factory.mktemp("champion")
    older = {name: column[:OLD_BARS] for name, column in planted(ALL_BARS, seed=7).items()}
    made = pipeline.run(
        job(older, backtest=True), folder, lambda *_: None, iter(range(100)).__next__
    )
    return artifact.read_champion(folder / artifact.manifest_name(made.manifest["model_id"]))


def test_a_market_that_turned_round_is_worth_learning_again(
    champion: ChampionModel,
) -> None:
    frame = planted(ALL_BARS, seed=7)
    frame["s_top"][OLD_BARS:] *= -1  # what showed the way now shows the opposite
    answer = challenger.ask(job(frame, champion=champion))
    assert answer.helps is True
    assert answer.fresh is not None
    assert answer.stale is not None
    assert answer.fresh < answer.stale
    assert answer.rows > 1_000  # all since its training, not the test block alone


def test_too_few_newer_bars_are_said_and_leave_the_retrain_to_decide(
    champion: ChampionModel,
) -> None:
    frame = {name: column[: OLD_BARS + 50] for name, column in planted(ALL_BARS, seed=7).items()}
    answer = challenger.ask(job(frame, champion=champion))
    assert answer.helps is None
    assert "the retrain decides" in answer.text


def test_gates_that_would_refuse_are_named_and_nothing_is_compared(
    champion: ChampionModel,
) -> None:
    frame = planted(ALL_BARS, seed=7)
    strict = GateLimits(test_accuracy=0.999)
    answer = challenger.ask(job(frame, champion=champion, limits=strict))
    assert (answer.helps, answer.rows) == (None, 0)
    assert answer.refused_by == ("test_accuracy",)
    assert "of the most probable class is not above 0.999" in answer.text


def test_the_child_answers_in_one_line_and_leaves_no_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = planted(1_500, seed=3)
    np.savez(tmp_path / "bars.npz", **frame)  # type: ignore[arg-type]  # arrays by name
    settings = {"slot": "TEST-5m", "interval": "5m", "horizon_bars": 6, "threshold": 0.005}
    (tmp_path / "job.json").write_text(json.dumps({**settings, "at_ms": 1_750_500_000_000}))
    assert main(tmp_path, challenge=True) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "event": "finished",
        "helps": None,
        "text": "there is no live model to challenge",
        "rows": 0,
        "champion": None,
        "fresh": None,
        "stale": None,
        "refused_by": [],
    }
    assert not (tmp_path / "candidate").exists()
