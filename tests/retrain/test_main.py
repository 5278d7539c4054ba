import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyperdrift.loaded_model import load_version
from retrain import pipeline
from retrain.__main__ import FitFolder, main, serve
from retrain.forms import job_bars
from tests.daemon import small_retrain
from tests.retrain.planted import HORIZON, SMALL, THRESHOLD, planted

ROOT = Path(__file__).parents[2]


def prepare(folder: Path, n_bars: int, **changes: object) -> Path:
    frame = planted(n_bars, seed=1)
    job_bars.write(folder, frame)
    settings: dict[str, object] = {
        "slot": "TEST-5m",
        "interval": "5m",
        "horizon_bars": HORIZON,
        "threshold": THRESHOLD,
        "at_ms": 1_760_000_000_000,
        "champion": None,
        "gates": {"train_accuracy": 0.5},
    }
    (folder / "job.json").write_text(json.dumps(settings | changes))
    return folder


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_child_process_tells_its_progress_and_leaves_a_candidate(tmp_path: Path) -> None:
    prepare(tmp_path, 3_000)
    done = subprocess.run(
        [sys.executable, "-W", "error", small_retrain.__file__, "-m", "retrain", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = lines(done.stdout)
    assert {line["event"] for line in told} == {"progress", "note", "gate", "finished"}
    labelled, few, *_ = (line["text"] for line in told if line["event"] == "note")
    assert labelled == "UP and DOWN are moves of more than 0.5% in 6 bars: as configured"
    assert "few bars: of 3,000" in few
    finished = told[-1]
    loaded = load_version(tmp_path / finished["manifest"])
    assert loaded.model_id == finished["model_id"] == "20251009_085320_" + loaded.model_id[-12:]
    refused = [line["name"] for line in told if line["event"] == "gate" and not line["passed"]]
    assert finished["refused_by"] == refused
    assert finished["passed"] is (not refused)


def test_kept_fits_serve_another_job_over_the_same_bars(tmp_path: Path) -> None:
    fits = FitFolder(tmp_path / "fits")
    fits.put("a", {"weights": [1.0]})
    assert fits.get("a") == {"weights": [1.0]}
    assert fits.get("b") is None
    (tmp_path / "fits" / "c").write_bytes(b"\x80\x04half of a pickl")
    assert fits.get("c") is None, "half of a model is fitted again"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"horizon": 12}, "unknown key 'horizon'"),
        ({"horizon_bars": "12"}, "horizon_bars"),
        ({"horizon_bars": 0}, "at least 1"),
        ({"min_signal_rate": 0.6}, "min_signal_rate must be above 0 and at most 0.2"),
        ({"gates": {"sharpe": 1}}, "gates.sharpe"),
        ({"champion": "nowhere/LATEST.json"}, "cannot be read"),
        ({"threshold": "much"}, "threshold"),
    ],
)
def test_a_bad_job_ends_with_one_sentence_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    assert main(prepare(tmp_path, 400, **changes)) == 2
    (failed,) = [line for line in lines(capsys.readouterr().out) if line["event"] == "failed"]
    assert sentence in failed["error"]


def test_too_few_bars_are_named_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(prepare(tmp_path, 400)) == 2
    assert lines(capsys.readouterr().out)[-1]["kind"] == "TooFewBars"


@pytest.mark.parametrize("broken", ["job.json", "bars.npz", "bars.arrow"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_missing_or_damaged_file_is_a_bad_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, content: bytes | None
) -> None:
    prepare(tmp_path, 400)
    if broken == job_bars.ARROW:
        (tmp_path / "bars.npz").rename(tmp_path / broken)
    (tmp_path / broken).unlink()
    if content is not None:
        (tmp_path / broken).write_bytes(content)
    assert main(tmp_path) == 2
    assert lines(capsys.readouterr().out)[-1]["kind"] == "BadJob"


def test_a_bar_column_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, 400)
    job_bars.write(tmp_path, {"t": np.arange(400)})
    assert main(tmp_path) == 2
    assert "the bars lack the array open" in lines(capsys.readouterr().out)[-1]["error"]


def test_a_surprise_is_reported_too_and_its_traceback_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pipeline.run
    monkeypatch.setattr(
        pipeline, "run", lambda job, *rest: whole(replace(job, recipe=SMALL), *rest)
    )
    prepare(tmp_path, 1_000)
    (tmp_path / "candidate").write_text("a file where the folder should be")
    assert main(tmp_path) == 1
    captured = capsys.readouterr()
    assert lines(captured.out)[-1]["kind"] == "FileExistsError"
    assert "Traceback" in captured.err


def test_one_process_serves_job_after_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name, changes in (("a", {"horizon_bars": 0}), ("b", {"threshold": "much"})):
        (tmp_path / name).mkdir()
        asked.append({"folder": str(prepare(tmp_path / name, 400, **changes)), "challenge": False})
    given = io.StringIO("".join(json.dumps(one) + "\n" for one in asked))
    monkeypatch.setattr(sys, "stdin", given)
    assert serve() == 0
    told = [line["error"] for line in lines(capsys.readouterr().out) if line["event"] == "failed"]
    assert len(told) == 2
    assert "at least 1" in told[0]
    assert "threshold" in told[1]
